-- Instruments that say nothing, or nothing new, and the watch over Tocsin itself.

-- What was heard of each sensor on the wall clock, written every few seconds by whoever commits readings. Replays and
-- history are not among it.
create table sensor_signal (
    sensor_id       int4 primary key references sensor,
    token_id        int4 references gateway_token, -- by which the newest reading came
    received_at     timestamptz not null,
    captured_at     timestamptz not null,
    arrival_gaps_ms int8[] not null,               -- newest last
    capture_gaps_ms int8[] not null,
    spectrum_hash   int8 not null,
    same_since      timestamptz not null,          -- capture time of the first of the newest readings with that spectrum
    same_count      int4 not null check (same_count > 0),
    stopped         bool                           -- null: the newest reading does not tell
) with (fillfactor = 60);

-- The one row that whoever watches for silence holds while it does.
create table silence_watch (
    one             bool primary key default true check (one),
    watched_at      timestamptz,
    listening_since timestamptz                    -- without a break
);
insert into silence_watch default values;

-- Alarms about instruments. One per subject is open: active, or returned and not acknowledged.
create table sensor_alarm (
    alarm_id        int8 primary key generated always as identity,
    kind            text not null check (kind in ('silent_sensor', 'stuck_sensor', 'silent_gateway')),
    site_id         int4 not null references site,
    sensor_id       int4 references sensor,
    token_id        int4 references gateway_token, -- the gateway; of a sensor, the one it last came by
    since           timestamptz not null,          -- the last reading; of a stuck sensor, the first of those that are the same
    raised_at       timestamptz not null,
    returned_at     timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text,
    check ((kind = 'silent_gateway') = (sensor_id is null)),
    check (sensor_id is not null or token_id is not null),
    check ((acknowledged_at is null) = (acknowledged_by is null))
);
create unique index sensor_alarm_open_sensor on sensor_alarm (sensor_id, kind)
    where sensor_id is not null and (returned_at is null or acknowledged_at is null);
create unique index sensor_alarm_open_gateway on sensor_alarm (token_id)
    where sensor_id is null and (returned_at is null or acknowledged_at is null);

-- What happened to them: appended to, and never changed.
create table sensor_alarm_event (
    event_id int8 primary key generated always as identity,
    alarm_id int8 not null references sensor_alarm,
    at       timestamptz not null,
    kind     text not null check (kind in ('raised', 'returned', 'acknowledged')),
    by       text,                                 -- the person who acknowledged
    note     text not null default '',
    check ((kind = 'acknowledged') = (by is not null))
);
create index sensor_alarm_event_by_alarm on sensor_alarm_event (alarm_id, event_id);
create function sensor_alarm_event_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'table sensor_alarm_event is append-only: nothing in it is changed or taken away';
end
$$;
create trigger sensor_alarm_event_append_only before update or delete on sensor_alarm_event
    for each row execute function sensor_alarm_event_is_append_only();

-- The watch over Tocsin itself. A class of canaries, which is in no list, is commissioned in a hundred years, and judges by severity
-- alone: what its sensors say is zone A.
insert into machine_class (class_id, name, step_ms, created_at, commissioning_readings, commissioning_span_s, run_in_readings)
    overriding system value values (-1, 'tocsin-canary', 10000, now(), 100, 3155760000, 10);
insert into spectrum_spec (spec_id, name, definition, created_at) overriding system value values (-1, 'tocsin-canary',
    '{"axis": "hertz", "f_min": 0.0, "f_max": 1000.0, "bins": 32, "quantity": "acceleration", "unit": "g", "amplitude": "peak",
      "aggregation": "mean", "window": "hann", "averages": 1, "full_scale": 10.0, "s0": 0.001,
      "overall": [{"name": "canary", "quantity": "velocity_rms", "unit": "millimetre_per_second",
                   "band": {"low_hz": 10.0, "high_hz": 1000.0}}]}', now());
insert into class_severity_zones (class_id, version, definition, changed_at, changed_by, reason) values (-1, 1,
    '[{"quantity": "velocity_rms", "boundaries": {"ab": 1.0, "bc": 2.0, "cd": 4.0}}]', now(), 'tocsin',
    'a canary is judged by severity');

-- A mark that a canary's reading was judged and stored goes the way of a page, and is about no incident.
alter table outbox alter column incident_id drop not null;
alter table outbox add constraint outbox_is_of_an_incident_or_a_canary
    check (incident_id is not null or page_key like 'tocsin-canary-%');
create index outbox_canary on outbox (created_at) where incident_id is null;
