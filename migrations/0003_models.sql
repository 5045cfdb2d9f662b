-- Bundles, threshold sets, and what judges each class. A switch of a class is one row of class_binding.

create table bundle (
    bundle_id int4 primary key generated always as identity,
    class_id  int4 not null references machine_class,
    digest    bytea not null check (octet_length(digest) = 32),
    state     text not null check (state in ('pending', 'verified', 'rejected')),
    reason    text not null,
    manifest  jsonb not null,
    pushed_at timestamptz not null,
    pushed_by text not null,
    unique (class_id, digest)
);

create table threshold_set (
    threshold_set_id int4 primary key generated always as identity,
    class_id         int4 not null references machine_class,
    bundle_id        int4 not null references bundle,
    state            text not null check (state in ('proposed', 'tested', 'approved', 'active', 'retired')),
    definition       jsonb not null,
    provenance       jsonb not null,
    reason           text not null,
    created_at       timestamptz not null,
    created_by       text not null
);
create unique index threshold_set_one_active on threshold_set (class_id) where state = 'active';

create table class_binding (
    class_id             int4 not null references machine_class,
    version              int8 not null check (version > 0),
    champion_bundle_id   int4 references bundle,
    challenger_bundle_id int4 references bundle,
    threshold_set_id     int4 references threshold_set,
    changed_at           timestamptz not null,
    changed_by           text not null,
    reason               text not null,
    primary key (class_id, version),            -- the highest version is in force; the others are the history
    check (threshold_set_id is null or champion_bundle_id is not null)
);
