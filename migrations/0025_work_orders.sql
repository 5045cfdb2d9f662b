-- The work order of an incident in the maintenance system (CMMS), by the reference it has there.
create table work_order (
    incident_id int8 primary key references incident,
    reference   text not null,
    url         text,                            -- of the work order, where the system said one
    ordered_at  timestamptz not null,
    ordered_by  text not null
);

alter table machine_event drop constraint machine_event_kind_check;
alter table machine_event add constraint machine_event_kind_check
    check (kind in ('step', 'opened', 'escalated', 're_alarmed', 'acknowledged', 'cleared', 'suppressed', 'page_suppressed',
                    'restored', 'commented', 'handed_over', 'work_ordered'));
