-- Never deaf to the second fault: what an open incident has shown and what of it people know, and the incident that a
-- machine had before.

alter table incident
    add column re_alarm             jsonb not null default '{}', -- tocsin_judge::ReAlarm
    add column previous_incident_id int8 references incident;

alter table machine_event drop constraint machine_event_kind_check;
alter table machine_event add constraint machine_event_kind_check
    check (kind in ('step', 'opened', 'escalated', 're_alarmed', 'acknowledged', 'cleared'));
