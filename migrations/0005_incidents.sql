-- The journal of each machine, what follows from it, and the pages that leave the house.

-- The row that is locked while a machine's steps are folded.
create table machine_state (
    machine_id       int4 primary key references machine,
    newest_step      timestamptz,                -- start of the newest step with a flagged reading or an open incident
    last_seq         int8 not null default 0,    -- of machine_event: dense per machine
    open_incident_id int8
);

create table incident (
    incident_id       int8 primary key generated always as identity,
    machine_id        int4 not null references machine,
    severity          int2 not null check (severity in (1, 2)),
    state             text not null,
    opened_at         timestamptz not null,      -- step times: capture clock
    paged_at          timestamptz,
    closed_at         timestamptz,
    acknowledged_at   timestamptz,
    acknowledged_by   text,
    deciding_sensor_id int4 not null references sensor,
    deciding_detector int2 not null,
    peak_level        real not null,
    latest_level      real not null,
    threshold_set_id  int4 not null,
    bundle_id         int4 not null,
    evidence_count    int4 not null default 0,
    last_evidence_at  timestamptz,
    replay            bool not null
);
create unique index incident_one_open on incident (machine_id) where closed_at is null;
create index incident_by_machine on incident (machine_id, incident_id desc);

create table machine_event (
    machine_id  int4 not null references machine,
    seq         int8 not null check (seq > 0),
    incident_id int8 references incident,
    at          timestamptz not null,            -- capture clock for steps, the event's own time otherwise
    kind        text not null check (kind in ('step', 'opened', 'escalated', 'acknowledged', 'cleared')),
    payload     jsonb not null,
    primary key (machine_id, seq)
);
create index machine_event_by_incident on machine_event (incident_id, seq);

-- Squared error of each bin of flagged readings, as half floats.
create table evidence (
    sensor_id   int4 not null references sensor,
    captured_at timestamptz not null,
    machine_id  int4 not null references machine,
    incident_id int8 references incident,
    bin_error   bytea,
    primary key (sensor_id, captured_at)
);
create index evidence_by_incident on evidence (incident_id, captured_at);

-- Pages to send, written in the transaction that decided them.
create table outbox (
    outbox_id    int8 primary key generated always as identity,
    page_key     text not null,
    incident_id  int8 not null references incident,
    action       text not null check (action in ('trigger', 'acknowledge', 'resolve')),
    payload      jsonb not null,
    created_at   timestamptz not null,
    unique (page_key, action)
);
create index outbox_by_incident on outbox (incident_id, outbox_id);
create index outbox_by_created on outbox (created_at);

-- One row per page and destination: what is still owed to whom.
create table delivery (
    delivery_id   int8 primary key generated always as identity,
    outbox_id     int8 not null references outbox,
    destination   text not null,
    state         text not null check (state in ('waiting', 'delivered', 'dead')),
    next_at       timestamptz not null,
    leased_until  timestamptz,
    attempt_count int4 not null default 0,
    unique (outbox_id, destination)
);
create index delivery_waiting on delivery (next_at) where state = 'waiting';

create table delivery_attempt (
    delivery_id int8 not null references delivery,
    attempt     int4 not null,
    at          timestamptz not null,
    outcome     text not null check (outcome in ('delivered', 'refused', 'unknown')),
    answer      text not null,
    primary key (delivery_id, attempt)
);
