-- What keeps a machine's pages from people for a time, and what was kept from them.

-- Shelved by an operator, or out of service for maintenance. Ended once, never changed otherwise.
create table suppression (
    suppression_id int8 primary key generated always as identity,
    machine_id     int4 not null references machine,
    kind           text not null check (kind in ('shelved', 'out_of_service')),
    from_at        timestamptz not null,
    until          timestamptz not null,         -- it ends by itself
    one_shot       bool not null,                -- with the incident that is open, or the next, where that is sooner
    by             text not null,
    reason         text not null,
    ended_at       timestamptz,
    ended_by       text,                         -- who, or what: `time`, `incident`, `renewed`
    check (from_at < until),
    check ((ended_at is null) = (ended_by is null))
);
create unique index suppression_one_in_force on suppression (machine_id) where ended_at is null;
create index suppression_due on suppression (until) where ended_at is null;
create index suppression_by_machine on suppression (machine_id, suppression_id desc);

-- The one in force, read with the machine's lock.
alter table machine_state add column suppression_id int8 references suppression;

-- Pages that were decided and not sent, as the outbox would have had them.
create table suppressed_page (
    suppressed_page_id int8 primary key generated always as identity,
    suppression_id     int8 not null references suppression,
    incident_id        int8 not null references incident,
    page_key           text not null,
    action             text not null check (action in ('trigger', 'acknowledge', 'resolve')),
    payload            jsonb not null,
    decided_at         timestamptz not null,
    released_at        timestamptz,              -- into the outbox, when the suppression ended and it was still so
    unique (page_key, action)
);
create index suppressed_page_by_suppression on suppressed_page (suppression_id, suppressed_page_id);
create index suppressed_page_by_incident on suppressed_page (incident_id, suppressed_page_id);

alter table machine_event drop constraint machine_event_kind_check;
alter table machine_event add constraint machine_event_kind_check
    check (kind in ('step', 'opened', 'escalated', 're_alarmed', 'acknowledged', 'cleared', 'suppressed', 'page_suppressed',
                    'restored', 'commented', 'handed_over'));

-- The longest that people of a site may shelve a machine at once: by default a day.
alter table site add column longest_shelf_s int8 not null default 86400 check (longest_shelf_s > 0);

-- As in 0012, and no reading of a machine out of service says anything about health.
create or replace view machine_unhealthy as
select machine_id, from_at, to_at, label_id, null::int8 as incident_id, true as paged, false as by_severity
from machine_label_in_force where label in ('true_failure', 'missed_failure', 'sensor_fault')
union all
select i.machine_id, i.opened_at, coalesce(i.closed_at, 'infinity'), null::int8, i.incident_id, i.paged_at is not null,
       i.deciding_detector = 8
from incident i
where not exists (select 1 from machine_label_in_force l where l.machine_id = i.machine_id and l.label = 'false_alarm'
                  and l.from_at <= i.opened_at and l.to_at >= coalesce(i.closed_at, 'infinity'))
union all
select machine_id, from_at, coalesce(ended_at, until), null::int8, null::int8, true, false
from suppression where kind = 'out_of_service';
