-- Filters of the incidents that people saved, each for themselves.
create table incident_filter (
    account_id          int4 not null references account,
    name                text not null check (char_length(name) between 1 and 60),
    open_only           bool not null,
    site                text,                    -- by name: null for every site
    machine             text,                    -- null for every machine of the site
    severity            int2 check (severity in (1, 2)),
    unacknowledged_only bool not null,
    saved_at            timestamptz not null,
    primary key (account_id, name),
    check (machine is null or site is not null)
);
