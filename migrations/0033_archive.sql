-- The archive: daily partitions of reading that are older than the hot days become Parquet in object storage.

-- A day's readings as they go there. A day can have several parts: what comes late, after the day was archived, makes the
-- next. What a part's state says is done stays done whoever goes on: each change names the state and the attempt it follows.
create table archive_part (
    day          date not null,
    part         int2 not null check (part > 0),
    state        text not null check (state in ('writing', 'written', 'verified', 'keyed', 'archived', 'expired')),
    attempt      int4 not null,                 -- counts up with each taking: who was overtaken changes nothing
    leased_until timestamptz,
    rows         int8 not null default 0,
    spectra      int8 not null default 0,       -- rows that kept theirs
    bytes        int8 not null default 0,       -- of the files
    hot_bytes    int8 not null default 0,       -- of the partition with its index, when it was dropped
    digest       bytea,                         -- SHA-256 over the files' digests, in the order of their paths
    error        text not null default '',      -- why the last attempt ended
    updated_at   timestamptz not null,
    primary key (day, part)
);

-- The files of a part, one per site.
create table archive_file (
    path    text primary key,
    day     date not null,
    part    int2 not null,
    site_id int4 not null references site,
    rows    int8 not null,
    spectra int8 not null,
    bytes   int8 not null,
    digest  bytea not null,                     -- SHA-256 over the rows, in their order
    foreign key (day, part) references archive_part
);
create index archive_file_by_part on archive_file (day, part);

-- What resends of archived readings are recognised by: nine bytes each, in order of capture. Five are the microseconds since
-- the day began, four the low half of the content hash, both big-endian.
create table archived_key (
    sensor_id int4 not null references sensor,
    day       date not null,
    part      int2 not null,
    keys      bytea not null check (octet_length(keys) > 0 and octet_length(keys) % 9 = 0),
    primary key (sensor_id, day, part)
);
-- Hashes don't compress, and a search in uncompressed pieces reads only those it needs.
alter table archived_key alter column keys set storage external;

create function archive_day(captured_at timestamptz) returns date language sql immutable strict parallel safe
return (captured_at at time zone 'UTC')::date;

-- A reading's nine bytes.
create function archive_key(captured_at timestamptz, content_hash int8) returns bytea language sql immutable strict parallel safe
return substr(int8send((extract(epoch from captured_at at time zone 'UTC' - date_trunc('day', captured_at at time zone 'UTC'))
                        * 1000000)::int8), 4, 5) || substr(int8send(content_hash), 5, 4);

-- The nine bytes under a capture time of the day; null when there are none.
create function archive_key_find(keys bytea, captured_at timestamptz) returns bytea
language plpgsql immutable strict parallel safe as $$
declare
    wanted bytea := substr(archive_key(captured_at, 0), 1, 5);
    low int4 := 0;
    high int4 := octet_length(keys) / 9;
    middle int4;
begin
    while low < high loop
        middle := (low + high) / 2;
        if substr(keys, middle * 9 + 1, 5) < wanted then
            low := middle + 1;
        else
            high := middle;
        end if;
    end loop;
    if substr(keys, low * 9 + 1, 5) = wanted then
        return substr(keys, low * 9 + 1, 9);
    end if;
    return null;
end $$;

-- Stands before the partitions that archived days are given for what comes late: what is archived already never goes in
-- again, whatever a replica believes. Volatile, so that it sees what was archived a moment ago.
create function reading_not_archived() returns trigger language plpgsql volatile as $$
begin
    if exists (select 1 from archived_key k where k.sensor_id = new.sensor_id and k.day = archive_day(new.captured_at)
               and archive_key_find(k.keys, new.captured_at) is not null) then
        raise unique_violation using message = 'a reading of this key is archived';
    end if;
    return new;
end $$;

-- Rows of archived days that the plant's pages still ask for: those of incidents' evidence, and the newest of a sensor that
-- has been silent since. They are in the archive too.
create table reading_kept (like reading including defaults);
alter table reading_kept add primary key (sensor_id, captured_at);

create view reading_with_kept as select * from reading union all select * from reading_kept;
