-- The record of what was done is a chain: each entry carries the hash of the one before it and its own, over all it says.
-- `tocsin audit verify` computes them anew. The database itself makes them, whoever writes an entry, and lets none be
-- changed or taken away. Who goes around that breaks the chain, unless they write all that follows anew as well: that shows
-- to those who kept an end of it elsewhere.

alter table audit
    add column link int8,  -- dense, from 1: the order of the chain
    add column hash bytea; -- SHA-256

-- Hashed are: the hash before (none for the first), the link, audit_id and the microseconds since 1970 as eight bytes each, most
-- significant first, and of actor, action, subject and detail the length in bytes (four bytes) and the text in UTF-8.
create function audit_hash(before bytea, entry audit) returns bytea language sql immutable as $$
    select sha256(
        before || int8send(entry.link) || int8send(entry.audit_id) || int8send((extract(epoch from entry.at) * 1000000)::int8)
        || int4send(octet_length(entry.actor)) || convert_to(entry.actor, 'UTF8')
        || int4send(octet_length(entry.action)) || convert_to(entry.action, 'UTF8')
        || int4send(octet_length(entry.subject)) || convert_to(entry.subject, 'UTF8')
        || int4send(octet_length(entry.detail::text)) || convert_to(entry.detail::text, 'UTF8'))
$$;

create function audit_chain() returns trigger language plpgsql as $$
declare
    newest audit;
begin
    -- One at a time until the transaction ends; the next statement sees what the one before committed.
    perform pg_advisory_xact_lock(hashtext('tocsin.audit'));
    select * into newest from audit order by link desc limit 1;
    new.link := coalesce(newest.link, 0) + 1;
    new.hash := audit_hash(coalesce(newest.hash, ''), new);
    return new;
end
$$;

create function audit_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'table audit is append-only: nothing in it is changed or taken away';
end
$$;

-- What was written before there was a chain, in its order.
do $$
declare
    entry audit;
    nth int8 := 0;
    before bytea := '';
begin
    for entry in select * from audit order by audit_id loop
        nth := nth + 1;
        entry.link := nth;
        before := audit_hash(before, entry);
        update audit set link = nth, hash = before where audit_id = entry.audit_id;
    end loop;
end
$$;

alter table audit
    alter column link set not null,
    add constraint audit_link_positive check (link > 0),
    alter column hash set not null;
create unique index audit_by_link on audit (link);
create trigger audit_chain before insert on audit for each row execute function audit_chain();
create trigger audit_append_only before update or delete on audit for each row execute function audit_is_append_only();
create trigger audit_never_emptied before truncate on audit for each statement execute function audit_is_append_only();
