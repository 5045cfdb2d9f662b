-- A delivery that was given up may be sent again: its attempts are counted from there.
alter table delivery add column attempts_before int4 not null default 0; -- made before it was last sent again
create index delivery_dead on delivery (delivery_id) where state = 'dead';
