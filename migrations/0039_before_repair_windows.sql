-- What a machine said in the day before one of its sensors began a new epoch (a repair, a new bearing) says nothing about
-- health, though nobody opened an incident. Told here alone: whoever learns from readings, or counts what limits would
-- have opened in health, asks this view.
create view machine_before_repair as
select s.machine_id, k.since - interval '1 day' as from_at, k.since as to_at
from commissioning k join sensor s using (sensor_id) where k.epoch > 1;

-- As in 0038.
create or replace view healthy_reading as
select r.sensor_id, r.captured_at, r.bundle_id, r.residual, r.spectrum
from sensor s join reading r using (sensor_id)
where (r.rpm is null or r.rpm <> 0) and r.condition_cell not in (2, 3)
  and (r.verdict & 255 <> 2 or exists (
      select 1 from machine_label_in_force l where l.machine_id = s.machine_id and l.label = 'false_alarm'
      and r.captured_at >= l.from_at and r.captured_at < l.to_at))
  and not exists (select 1 from machine_unhealthy u where u.machine_id = s.machine_id and u.paged
                  and r.captured_at >= u.from_at - interval '1 day' and r.captured_at < u.to_at)
  and not exists (select 1 from machine_before_repair b where b.machine_id = s.machine_id
                  and r.captured_at >= b.from_at and r.captured_at < b.to_at);
