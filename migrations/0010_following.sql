-- A baseline may follow its sensor between commissionings, by a rule: every version is a baseline of its own, counted
-- within its epoch, and says which commissioned one it follows.

alter table baseline
    add column version int4 not null default 1 check (version > 0),
    add column follows int4 references baseline; -- null: this one was commissioned, or accepted by a person
alter table baseline drop constraint baseline_sensor_id_epoch_condition_cell_key;
alter table baseline add constraint baseline_version unique (sensor_id, epoch, condition_cell, version);

-- What the bounds of the rule are counted from.
alter table commissioning add column commissioned_baseline_id int4 references baseline;
update commissioning set commissioned_baseline_id = baseline_id;
alter table commissioning add check ((baseline_id is null) = (commissioned_baseline_id is null));

-- Sensors of one class and spec follow together. One row each, leased for a round.
create table following_group (
    class_id     int4 not null references machine_class,
    spec_id      int4 not null references spectrum_spec,
    followed_at  timestamptz not null,
    leased_until timestamptz,
    primary key (class_id, spec_id)
);

-- What each round made of each sensor. The newest of an epoch continues.
create table following_round (
    sensor_id   int4 not null references sensor,
    at          timestamptz not null,
    epoch       int4 not null,
    until       timestamptz not null,            -- readings captured up to here have been looked at
    readings    int4 not null check (readings >= 0), -- healthy ones of the period; 0: too few, or an incident was open
    finding     text not null check (finding in ('steady', 'drift', 'suspicion')),
    standing    float8 not null,                 -- above its peers, in robust standard deviations
    cusum       float8 not null check (cusum >= 0),
    held        bool not null,                   -- may not move up
    recent      bytea,                           -- the period's median of ln(1 + s/s0), float4 per bin; null: not told
    recent_db   float4 not null,                 -- the period's median above what was commissioned, root mean square of rises
    active_db   float4 not null,                 -- the same of the version active after the round
    baseline_id int4 not null references baseline, -- active after the round
    primary key (sensor_id, at)
);
