-- What people found a machine to have had, and what that says about which readings are healthy; baselines that a person
-- took back; and alarm limits that are proposed on a schedule.

-- Appended to, never changed. A later label of the same window stands for the earlier one; `withdrawn` for none.
create table machine_label (
    label_id    int8 primary key generated always as identity,
    machine_id  int4 not null references machine,
    incident_id int8 references incident,        -- its window is the incident's, up to its end; null: a free window
    from_at     timestamptz,                     -- capture times: from, up to but without to
    to_at       timestamptz,
    label       text not null check (label in ('true_failure', 'missed_failure', 'false_alarm', 'sensor_fault',
                                               'process_change', 'withdrawn')),
    mode        text not null,                   -- of a failure; empty: not said
    note        text not null,
    labelled_at timestamptz not null,
    labelled_by text not null,
    check ((incident_id is null) = (from_at is not null)),
    check ((from_at is null) = (to_at is null)),
    check (from_at < to_at),
    check (mode = '' or label in ('true_failure', 'missed_failure'))
);
create index machine_label_by_machine on machine_label (machine_id, label_id);

-- The newest label of each window. That of an incident that is still open has no end yet.
create view machine_label_in_force as
select l.label_id, l.machine_id, l.incident_id, coalesce(l.from_at, i.opened_at) as from_at,
       coalesce(l.to_at, i.closed_at, 'infinity') as to_at, l.label, l.mode
from (select distinct on (machine_id, incident_id, from_at, to_at) * from machine_label
      order by machine_id, incident_id, from_at, to_at, label_id desc) l
left join incident i using (incident_id)
where l.label <> 'withdrawn';

-- When a machine's readings say nothing about health. Every filter of healthy data asks here.
--   - A window labelled as a failure, or as that of a broken sensor, always: `paged` and in no epoch's past.
--   - An incident, unless it lies within a window labelled false alarm. Where labels disagree, failure goes before.
create view machine_unhealthy as
select machine_id, from_at, to_at, label_id, null::int8 as incident_id, true as paged, false as by_severity
from machine_label_in_force where label in ('true_failure', 'missed_failure', 'sensor_fault')
union all
select i.machine_id, i.opened_at, coalesce(i.closed_at, 'infinity'), null::int8, i.incident_id, i.paged_at is not null,
       i.deciding_detector = 8
from incident i
where not exists (select 1 from machine_label_in_force l where l.machine_id = i.machine_id and l.label = 'false_alarm'
                  and l.from_at <= i.opened_at and l.to_at >= coalesce(i.closed_at, 'infinity'));

-- Readings something may be learned from: with a spectrum, of a machine that turns. Whether one was judged page counts
-- unless that was labelled a false alarm; it counts for readings of a spool and of history too, which open no incident.
create view learnable_reading as
select r.sensor_id, s.machine_id, r.captured_at, r.spectrum, r.overall, r.severity, r.verdict >> 8 = 8 as by_severity,
       r.verdict & 255 = 2 and not exists (
           select 1 from machine_label_in_force l where l.machine_id = s.machine_id and l.label = 'false_alarm'
           and r.captured_at >= l.from_at and r.captured_at < l.to_at) as judged_page
from reading r join sensor s using (sensor_id)
where r.spectrum is not null and (r.rpm is null or r.rpm <> 0);

-- As in 0009, and without what was labelled a failure, in whatever epoch.
create or replace view commissioning_reading as
select r.sensor_id, r.captured_at, r.spectrum, r.overall, r.severity
from commissioning k
join learnable_reading r on r.sensor_id = k.sensor_id and r.captured_at >= k.since
where (not r.judged_page or r.by_severity)
  and not exists (select 1 from machine_unhealthy u where u.machine_id = r.machine_id and u.paged and not u.by_severity
                  and (u.label_id is not null or u.from_at >= k.since)
                  and r.captured_at >= u.from_at and r.captured_at < u.to_at);

-- The version each was made from: what a rollback goes back to.
alter table baseline add column made_from int4 references baseline;
update baseline b set made_from = p.baseline_id from baseline p
where p.sensor_id = b.sensor_id and p.epoch = b.epoch and p.condition_cell = b.condition_cell
  and p.version = b.version - 1;

-- A person took a followed baseline back: it follows no more before it is commissioned anew or a person lets it.
alter table commissioning
    add column following_held_at     timestamptz,
    add column following_held_by     text,
    add column following_held_reason text,
    add check ((following_held_at is null) = (following_held_by is null)),
    add check ((following_held_at is null) = (following_held_reason is null));

-- Classes whose limits are proposed on a schedule. One row each, leased for a round.
create table threshold_round (
    class_id         int4 primary key references machine_class,
    proposed_at      timestamptz not null,       -- the last round, or when the class's limits came into force
    leased_until     timestamptz,
    threshold_set_id int4 references threshold_set, -- what the last round proposed; null: nothing
    outcome          text not null               -- in words
);
