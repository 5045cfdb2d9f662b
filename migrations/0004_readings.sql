-- One row per reading, in daily partitions by capture time. No text, uuid or jsonb: this is the table that grows.
-- Scores stay null where a detector did not judge; detector_mask says the same in two bytes. The verdict holds its kind
-- in the low byte and the deciding detector (or the reason it is unjudged) in the high one.

create sequence reading_commit_seq as int8 cache 1;

create table reading (
    captured_at       timestamptz not null,
    received_at       timestamptz not null,
    content_hash      int8 not null,
    commit_seq        int8 not null,
    predecessors_from timestamptz,               -- oldest spectrum a smoothing or temporal detector used
    sensor_id         int4 not null,
    threshold_set_id  int4 not null,             -- 0: unjudged, no limits were in force
    bundle_id         int4 not null,             -- 0: unjudged, no model was in force
    baseline_id       int4 not null,             -- 0: none was used
    residual          real,
    overall_level     real,
    isolation         real,
    growth            real,
    shift             real,
    narrowband        real,
    pca               real,
    mahalanobis       real,
    rpm               real,
    load              real,
    flags             int2 not null,
    verdict           int2 not null,
    condition_cell    int2 not null,
    detector_mask     int2 not null,
    predecessor_count int2 not null,
    overall           real[],
    latent            bytea,                     -- half floats, little-endian
    spectrum          bytea,                     -- one code per bin; null once thinned away by the archive
    primary key (sensor_id, captured_at)
) partition by range (captured_at);
-- The rows a scorer still owes a score: empty in a healthy fleet, so it costs the hot path one comparison.
create index reading_degraded on reading (captured_at, sensor_id) where flags & 2 <> 0;

-- One row of a batch on its way into reading. A type of its own, so that a column added to the table doesn't turn away
-- the batches of replicas that don't know it yet.
create type new_reading as (
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

-- Scores the network gave later to readings that were judged without it. Never pages.
create table reading_rescored (
    sensor_id   int4 not null,
    captured_at timestamptz not null,
    bundle_id   int4 not null,
    residual    real not null,
    latent      bytea not null,
    rescored_at timestamptz not null,
    primary key (sensor_id, captured_at, bundle_id)
);
