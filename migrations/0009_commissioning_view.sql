-- What a sensor may be commissioned on, drawn anew. The view of 0007 left out whatever was read during any incident. A
-- machine that stands above its fleet's alert line, because it is built a little differently, has an alert open from its
-- first hour until it has a baseline of its own, so it never got one; and a new epoch after a repair did not help, as the
-- old incident went on. So:
--   - only an incident that became a page leaves readings out: an alert says unlike the fleet, not failing;
--   - and only one of this epoch: what began before the repair says nothing about what came after it;
--   - and a reading that was judged page is left out itself (low byte 2 of its verdict), as those of a spool or of a
--     historical stream open no incident;
--   - none of it where severity decided (detector 8, the high byte of a verdict): the zones refuse, and a person accepts.
create or replace view commissioning_reading as
select r.sensor_id, r.captured_at, r.spectrum, r.overall, r.severity
from commissioning k join sensor s using (sensor_id)
join reading r on r.sensor_id = k.sensor_id and r.captured_at >= k.since
where r.spectrum is not null and (r.rpm is null or r.rpm <> 0) and (r.verdict & 255 <> 2 or r.verdict >> 8 = 8)
  and not exists (select 1 from incident i where i.machine_id = s.machine_id and i.paged_at is not null
                  and i.opened_at >= k.since and r.captured_at >= i.opened_at
                  and (i.closed_at is null or r.captured_at < i.closed_at) and i.deciding_detector <> 8);
