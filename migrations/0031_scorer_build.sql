-- Which build of the scorer, on which kernels, gave a reading its network's score: named once here, by a number in the rows.

create table scorer_build (
    scorer_build_id int4 primary key generated always as identity,
    build           text not null unique,        -- version+kernels, as the scorer says it
    first_used_at   timestamptz not null
);

-- 0: the network did not judge, or the row is from before builds were named.
alter table reading add column scorer_build_id int4 not null default 0;
alter table reading_rescored add column scorer_build_id int4 not null default 0;

-- new_reading_2 with the new column. The old types stay for replicas that don't know it yet.
create type new_reading_3 as (
    captured_at       timestamptz,
    received_at       timestamptz,
    content_hash      int8,
    commit_seq        int8,
    predecessors_from timestamptz,
    sensor_id         int4,
    threshold_set_id  int4,
    bundle_id         int4,
    baseline_id       int4,
    scorer_build_id   int4,
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
