-- Alarm limits that a second person has to approve before they come into force by hand, where a site asks for it.
alter table site add column second_approval bool not null default false;

-- The persons who stand for a threshold set, in the order in which they came: the first asked for it (proposed it, or was the
-- first to agree to one that no person proposed), the others approved it. Never changed, never taken away.
create table threshold_agreement (
    threshold_set_id int4 not null references threshold_set,
    place            int2 not null check (place > 0),
    by               text not null,
    at               timestamptz not null,
    reason           text not null,
    site_ids         int4[],                     -- the sites that the person saw then; null: all
    primary key (threshold_set_id, place),
    unique (threshold_set_id, by)
);
