-- A machine that runs up, runs down or changes its load (condition cell 2) is not judged, and its readings teach nothing either. As
-- in 0024 otherwise.
create or replace view learnable_reading as
select r.sensor_id, s.machine_id, r.captured_at, r.spectrum, r.overall, r.severity, r.verdict >> 8 = 8 as by_severity,
       r.verdict & 255 = 2 and not exists (
           select 1 from machine_label_in_force l where l.machine_id = s.machine_id and l.label = 'false_alarm'
           and r.captured_at >= l.from_at and r.captured_at < l.to_at) as judged_page
from reading r join sensor s using (sensor_id)
where r.spectrum is not null and (r.rpm is null or r.rpm <> 0) and r.condition_cell not in (2, 3);

create or replace view healthy_reading as
select r.sensor_id, r.captured_at, r.bundle_id, r.residual, r.spectrum
from sensor s join reading r using (sensor_id)
where (r.rpm is null or r.rpm <> 0) and r.condition_cell not in (2, 3)
  and (r.verdict & 255 <> 2 or exists (
      select 1 from machine_label_in_force l where l.machine_id = s.machine_id and l.label = 'false_alarm'
      and r.captured_at >= l.from_at and r.captured_at < l.to_at))
  and not exists (select 1 from machine_unhealthy u where u.machine_id = s.machine_id and u.paged
                  and r.captured_at >= u.from_at - interval '1 day' and r.captured_at < u.to_at);
