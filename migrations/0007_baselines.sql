-- What each sensor looked like when it was commissioned, and where it stands in that.

alter table machine_class
    add column commissioning_readings int4 not null default 100 check (commissioning_readings >= 20),
    add column commissioning_span_s   int8 not null default 86400 check (commissioning_span_s >= 0),
    add column run_in_readings        int4 not null default 10 check (run_in_readings >= 0);

-- Never changed once there. Arrays are little-endian float4, one per bin.
create table baseline (
    baseline_id     int4 primary key generated always as identity,
    sensor_id       int4 not null references sensor,
    epoch           int4 not null check (epoch > 0),
    condition_cell  int2 not null,
    median          bytea not null,              -- of ln(1 + s/s0)
    spread          bytea not null,              -- the sensor's own
    scale           bytea not null,              -- pooled with the fleet's: what deviations are counted in
    log_energy_mean float8 not null,
    log_energy_sd   float8 not null,
    pooled_machines int4 not null check (pooled_machines >= 0), -- behind the fleet's spread; 0: its own stood alone
    readings        int4 not null,
    first_at        timestamptz not null,
    last_at         timestamptz not null,
    created_at      timestamptz not null,
    created_by      text not null,
    reason          text not null,
    unique (sensor_id, epoch, condition_cell),
    check (octet_length(median) > 0 and octet_length(median) % 4 = 0 and octet_length(spread) = octet_length(median)
           and octet_length(scale) = octet_length(median))
);

-- One row per sensor: its present epoch.
create table commissioning (
    sensor_id       int4 primary key references sensor,
    epoch           int4 not null check (epoch > 0),
    state           text not null check (state in ('commissioning', 'commissioned')),
    since           timestamptz not null,        -- readings captured from here on belong to the epoch
    started_at      timestamptz not null,
    started_by      text not null,
    reason          text not null,
    baseline_id     int4 references baseline,    -- the active one
    commissioned_at timestamptz,
    leased_until    timestamptz,
    check ((state = 'commissioned') = (baseline_id is not null)),
    check ((state = 'commissioned') = (commissioned_at is not null))
);
create index commissioning_waiting on commissioning (sensor_id) where state = 'commissioning';

insert into commissioning (sensor_id, epoch, state, since, started_at, started_by, reason)
select sensor_id, 1, 'commissioning', '0001-01-01 00:00:00+00', created_at, 'migration', 'first epoch' from sensor;

-- What a sensor may be commissioned on: its readings of this epoch, without those of a machine that stood still or had an
-- incident open.
create view commissioning_reading as
select r.sensor_id, r.captured_at, r.spectrum
from commissioning k join sensor s using (sensor_id)
join reading r on r.sensor_id = k.sensor_id and r.captured_at >= k.since
where r.spectrum is not null and (r.rpm is null or r.rpm <> 0)
  and not exists (select 1 from incident i where i.machine_id = s.machine_id and r.captured_at >= i.opened_at
                  and (i.closed_at is null or r.captured_at < i.closed_at));
