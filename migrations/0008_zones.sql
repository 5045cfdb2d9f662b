-- Severity zones of overall levels, the score they give, and sensors that are refused because of them.

-- What a class says of its overall levels: the highest version is in force, the others are the history.
create table class_severity_zones (
    class_id   int4 not null references machine_class,
    version    int4 not null check (version > 0),
    definition jsonb not null,                   -- a list; empty: the class says nothing any more
    changed_at timestamptz not null,
    changed_by text not null,
    reason     text not null,
    primary key (class_id, version)
);

-- The level of the reading's overall levels in those zones; null in rows from before, and where there are none.
alter table reading add column severity real;

-- new_reading with the new column. The old type stays for replicas that don't know it yet.
create type new_reading_2 as (
    captured_at       timestamptz,
    received_at       timestamptz,
    content_hash      int8,
    commit_seq        int8,
    predecessors_from timestamptz,
    sensor_id         int4,
    threshold_set_id  int4,
    bundle_id         int4,
    baseline_id       int4,
    residual          real,
    overall_level     real,
    isolation         real,
    growth            real,
    shift             real,
    narrowband        real,
    pca               real,
    mahalanobis       real,
    severity          real,
    rpm               real,
    load              real,
    flags             int2,
    verdict           int2,
    condition_cell    int2,
    detector_mask     int2,
    predecessor_count int2,
    overall           real[],
    latent            bytea,
    spectrum          bytea
);

-- A sensor whose commissioning readings stand in zone C or D is refused, until a person accepts that or its class gets
-- other zones. What was refused stays on record when it is accepted.
alter table commissioning
    add column refused_at           timestamptz,
    add column refused_reason       text,
    add column zone_accepted_at     timestamptz,
    add column zone_accepted_by     text,
    add column zone_accepted_reason text,
    add check ((refused_at is null) = (refused_reason is null)),
    add check ((zone_accepted_at is null) = (zone_accepted_by is null)),
    add check ((zone_accepted_at is null) = (zone_accepted_reason is null)),
    add check (zone_accepted_at is null or refused_at is not null);

-- An incident that severity decided (detector 8) takes no reading away: whether a sensor may be commissioned at such
-- levels is for the zones to say, and then for a person.
create or replace view commissioning_reading as
select r.sensor_id, r.captured_at, r.spectrum, r.overall, r.severity
from commissioning k join sensor s using (sensor_id)
join reading r on r.sensor_id = k.sensor_id and r.captured_at >= k.since
where r.spectrum is not null and (r.rpm is null or r.rpm <> 0)
  and not exists (select 1 from incident i where i.machine_id = s.machine_id and r.captured_at >= i.opened_at
                  and (i.closed_at is null or r.captured_at < i.closed_at) and i.deciding_detector <> 8);
