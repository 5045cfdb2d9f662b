-- A page that waits for the day shift, because its machine gets worse slowly: its level when that was decided. One that has
-- risen by a level since then waits no longer.
alter table delivery add column deferred_level real;
alter table delivery add column deferred_until timestamptz;
create index delivery_deferred on delivery (outbox_id) where deferred_level is not null and state = 'waiting';
