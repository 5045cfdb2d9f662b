-- Training jobs, what a challenger says beside the champion, and the readings that count as healthy.

create table training_job (
    training_job_id int4 primary key generated always as identity,
    class_id        int4 not null references machine_class,
    reason          text not null,
    requested_by    text not null,
    requested_at    timestamptz not null,
    period_from     timestamptz not null,        -- readings captured from here on
    period_to       timestamptz not null,        -- and up to here, this excluded
    state           text not null check (state in ('queued', 'running', 'done', 'failed')),
    leased_until    timestamptz,                 -- running: whose lease it is ends here; queued: not before
    attempts        int4 not null default 0 check (attempts >= 0), -- times it was taken: also names who holds the lease
    progress        float4 not null default 0 check (progress between 0 and 1),
    bundle_id       int4 references bundle,      -- what came of it
    error           text not null default '',    -- of the newest attempt that failed
    finished_at     timestamptz,
    check (period_from < period_to),
    check ((state = 'done') = (bundle_id is not null)),
    check ((state in ('done', 'failed')) = (finished_at is not null)),
    check (state <> 'running' or leased_until is not null)
);
create unique index training_job_one_unfinished on training_job (class_id) where state in ('queued', 'running');
create index training_job_by_class on training_job (class_id, requested_at desc);

-- What the challenger of a class says of a reading the champion has judged. Kept for some days; judges nothing. The
-- detectors that compare with a baseline say the same under every bundle and are not here.
create table shadow_score (
    sensor_id     int4 not null,
    captured_at   timestamptz not null,
    bundle_id     int4 not null,
    scored_at     timestamptz not null,
    residual      real not null,
    overall_level real,
    isolation     real,
    pca           real,
    mahalanobis   real,
    primary key (bundle_id, sensor_id, captured_at)
);
create index shadow_score_by_age on shadow_score (scored_at);

-- What a model may learn from, and be compared on: not a machine that stood still, no reading that was judged page, and
-- none of an incident that became a page, nor of the day before it: what failed had begun to. An alert leaves nothing
-- out, as in 0009: when a class drifts as one, all of it alerts, and that is what a model is fitted anew for.
create view healthy_reading as
select r.sensor_id, r.captured_at, r.bundle_id, r.residual, r.spectrum
from sensor s join reading r using (sensor_id)
where (r.rpm is null or r.rpm <> 0) and r.verdict & 255 <> 2
  and not exists (select 1 from incident i where i.machine_id = s.machine_id and i.paged_at is not null
                  and r.captured_at >= i.opened_at - interval '1 day'
                  and (i.closed_at is null or r.captured_at < i.closed_at));
