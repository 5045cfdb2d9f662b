-- People whom an identity provider (OpenID Connect) vouches for: they have no password here. What a provider calls them is
-- unique to it and never changes; their name is what they were called when they first came.

alter table account
    alter column password_hash drop not null,
    add column oidc_issuer text,
    add column oidc_subject text,
    add constraint account_by_password_or_provider check (
        (password_hash is null) = (oidc_issuer is not null) and (oidc_issuer is null) = (oidc_subject is null));
create unique index account_by_oidc_subject on account (oidc_issuer, oidc_subject);

-- Sign-ins that have gone to the provider and are not back yet. Each comes back once, to the browser it began in.
create table oidc_flow (
    flow_hash     bytea primary key check (octet_length(flow_hash) = 32),
    state_hash    bytea not null check (octet_length(state_hash) = 32),
    nonce         text not null,
    pkce_verifier text not null,
    expires_at    timestamptz not null
);
create index oidc_flow_by_end on oidc_flow (expires_at);
