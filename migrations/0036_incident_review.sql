-- Reviews of incidents. A final one never changes: a correction is the next version.
create table incident_review (
    incident_id  int8 not null references incident,
    version      int4 not null check (version > 0),
    state        text not null check (state in ('draft', 'final')),
    revision     int4 not null check (revision > 0), -- counts up with each save: who was overtaken changes nothing
    findings     text not null,
    conclusion   text not null,
    correction   text not null,                      -- why the version before was corrected; empty for the first
    saved_by     text not null,
    saved_at     timestamptz not null,
    finalised_by text,
    finalised_at timestamptz,
    content      text,                               -- the document, JSON: all that was known when it became final
    digest       bytea,
    primary key (incident_id, version),
    check ((state = 'final') = (finalised_by is not null)),
    check ((state = 'final') = (finalised_at is not null)),
    check ((state = 'final') = (content is not null)),
    check (digest is not distinct from sha256(convert_to(content, 'UTF8')))
);
create unique index incident_review_draft on incident_review (incident_id) where state = 'draft';

create function incident_review_stays() returns trigger language plpgsql as $$
begin
    raise exception 'a final review of an incident is neither changed nor taken away';
end
$$;
create trigger incident_review_stays before update or delete on incident_review
    for each row when (old.state = 'final') execute function incident_review_stays();
