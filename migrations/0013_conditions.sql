-- Baselines know how their sensor's spectra go with speed and load, and in which conditions that was learned.

-- As the detectors write it; null: the readings it was learned on told neither.
alter table baseline add column trend bytea;

create or replace view commissioning_reading as
select r.sensor_id, r.captured_at, r.spectrum, r.overall, r.severity, r.rpm, r.load
from commissioning k join sensor s using (sensor_id)
join reading r on r.sensor_id = k.sensor_id and r.captured_at >= k.since
where r.spectrum is not null and (r.rpm is null or r.rpm <> 0) and (r.verdict & 255 <> 2 or r.verdict >> 8 = 8)
  and not exists (select 1 from incident i where i.machine_id = s.machine_id and i.paged_at is not null
                  and i.opened_at >= k.since and r.captured_at >= i.opened_at
                  and (i.closed_at is null or r.captured_at < i.closed_at) and i.deciding_detector <> 8);
