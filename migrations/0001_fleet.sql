-- Sites, classes, specs, machines, sensors. Names are unique where people look them up; numbers are what rows carry.

create table site (
    site_id           int4 primary key generated always as identity,
    name              text not null unique,
    title             text not null,
    time_zone         text not null,
    oldest_s          int8 not null check (oldest_s > 0),
    furthest_s        int8 not null check (furthest_s >= 0),
    auto_register_cap int4 not null check (auto_register_cap >= 0),
    created_at        timestamptz not null
);

create table machine_class (
    class_id   int4 primary key generated always as identity,
    name       text not null unique,
    step_ms    int8 not null check (step_ms > 0),
    created_at timestamptz not null
);

create table spectrum_spec (
    spec_id    int4 primary key generated always as identity,
    name       text not null unique,
    definition jsonb not null,
    created_at timestamptz not null
);

create table machine (
    machine_id int4 primary key generated always as identity,
    site_id    int4 not null references site,
    class_id   int4 not null references machine_class,
    name       text not null,
    created_at timestamptz not null,
    unique (site_id, name)
);

create table device (
    device_id  int4 primary key generated always as identity,
    machine_id int4 not null references machine,
    name       text not null,
    unique (machine_id, name)
);

create table sensor (
    sensor_id       int4 primary key generated always as identity,
    machine_id      int4 not null references machine,
    device_id       int4 not null references device,
    spec_id         int4 not null references spectrum_spec,
    name            text not null,
    auto_registered bool not null,
    created_at      timestamptz not null,
    unique (machine_id, name)
);
