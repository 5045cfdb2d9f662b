-- Accounts, sessions, gateway tokens, and what was done by whom. Secrets are stored as SHA-256 of 256 random bits
-- (sessions, tokens) or as argon2 strings (passwords).

create table account (
    account_id    int4 primary key generated always as identity,
    name          text not null unique,
    password_hash text not null,
    role          text not null check (role in ('viewer', 'operator', 'engineer', 'admin')),
    site_ids      int4[],                       -- null: every site
    created_at    timestamptz not null,
    disabled_at   timestamptz
);

create table session (
    secret_hash bytea primary key check (octet_length(secret_hash) = 32),
    account_id  int4 not null references account,
    created_at  timestamptz not null,
    expires_at  timestamptz not null,
    ended_at    timestamptz
);
create index session_by_account on session (account_id);

create table gateway_token (
    token_id               int4 primary key generated always as identity,
    site_id                int4 not null references site,
    name                   text not null,
    secret_hash            bytea not null unique check (octet_length(secret_hash) = 32),
    may_replay             bool not null,
    may_send_historical    bool not null,
    auto_register_class_id int4 references machine_class,
    auto_register_spec_id  int4 references spectrum_spec,
    created_at             timestamptz not null,
    created_by             text not null,
    expires_at             timestamptz not null,
    revoked_at             timestamptz,
    check ((auto_register_class_id is null) = (auto_register_spec_id is null))
);
create index gateway_token_by_site on gateway_token (site_id);

create table audit (
    audit_id int8 primary key generated always as identity,
    at       timestamptz not null,
    actor    text not null,
    action   text not null,
    subject  text not null,
    detail   jsonb not null
);
