-- Floods: many machines at once are one thing for a recipient to be told of.

create table flood (
    flood_id    int8 primary key generated always as identity,
    destination text not null,                   -- the recipient
    began_at    timestamptz not null,
    ended_at    timestamptz,                     -- fewer come: the next are told of one by one again
    acknowledged_at timestamptz,                 -- somebody had taken all of it that was open
    resolved_at timestamptz,                     -- and none of its incidents is open any more
    check (resolved_at is null or ended_at is not null)
);
create unique index flood_one_open on flood (destination) where ended_at is null;

-- Incidents whose pages were not sent to the recipient one by one.
create table flood_incident (
    flood_id    int8 not null references flood,
    incident_id int8 not null references incident,
    joined_at   timestamptz not null,
    primary key (flood_id, incident_id)
);
create index flood_incident_by_incident on flood_incident (incident_id);

-- A page about a flood stands with the first incident that joined it.
alter table outbox add column flood_id int8 references flood;
create index outbox_by_flood on outbox (flood_id) where flood_id is not null;

-- `joined`: the page became part of a flood, and is not sent to this destination by itself.
alter table delivery drop constraint delivery_state_check;
alter table delivery add constraint delivery_state_check check (state in ('waiting', 'delivered', 'dead', 'joined'));
