//! What the archiver reads of a day, and what tells readers which of its files they need.

use chrono::NaiveDate;
use tocsin_domain::{ClassId, Scope, SensorId, SiteId, Slug, SpecId, Timestamp};

use super::{File, FileRow, Part};
use crate::partition::Day;
use crate::reading::FullReading;
use crate::reading::full::FullRow;
use crate::row::{slug, time};
use crate::{Result, Store};

/// Of each archived reading so much is kept, five bytes of them its time within the day.
const KEY_BYTES: usize = 9;

/// A sensor that has readings on a day, with the names that make a file tell its own story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedSensor {
    /// The sensor.
    pub id: SensorId,
    /// Its site.
    pub site: SiteId,
    /// The site's name.
    pub site_name: Slug,
    /// The machine's name.
    pub machine: Slug,
    /// Its own name on the machine.
    pub name: Slug,
    /// The machine's class.
    pub class: Slug,
    /// What it says of its spectra.
    pub spec: SpecId,
}

/// A time in which a sensor's spectra are all kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The sensor.
    pub sensor: SensorId,
    /// From here on.
    pub from: Timestamp,
    /// Up to and with this.
    pub to: Timestamp,
}

impl Store {
    /// The sensors that have hot readings on a day, by site and number.
    pub async fn archive_sensors(&self, day: Day) -> Result<Vec<ArchivedSensor>> {
        let rows = sqlx::query!(
            "select s.sensor_id, s.spec_id, s.name, m.site_id, m.name as machine, i.name as site, c.name as class
             from sensor s join machine m using (machine_id) join site i using (site_id)
             join machine_class c using (class_id)
             where exists (select 1 from reading r where r.sensor_id = s.sensor_id and r.captured_at >= $1
                           and r.captured_at < $2)
             order by m.site_id, s.sensor_id",
            time(day.start()),
            time(day.next().start()),
        )
        .fetch_all(&self.pool)
        .await?;
        let sensors = rows.into_iter().map(|row| {
            let id = row.sensor_id;
            Ok(ArchivedSensor {
                id: SensorId(id),
                site: SiteId(row.site_id),
                site_name: slug("site", "name", id, &row.site)?,
                machine: slug("machine", "name", id, &row.machine)?,
                name: slug("sensor", "name", id, &row.name)?,
                class: slug("machine_class", "name", id, &row.class)?,
                spec: SpecId(row.spec_id),
            })
        });
        sensors.collect()
    }

    /// The times of a day in which spectra are evidence: incidents, with a margin around them, and what sensors were or are
    /// being commissioned on.
    pub async fn archive_windows(&self, day: Day, margin: std::time::Duration) -> Result<Vec<Window>> {
        let margin_s = margin.as_secs_f64();
        let rows = sqlx::query!(
            r#"with w as (
                   select s.sensor_id, i.opened_at - make_interval(secs => $3) as from_at,
                          coalesce(i.closed_at + make_interval(secs => $3), $2) as to_at
                   from incident i join sensor s using (machine_id)
                   union all
                   select b.sensor_id, b.first_at, b.last_at
                   from commissioning k join baseline b on b.baseline_id = k.commissioned_baseline_id
                   union all
                   select k.sensor_id, k.since, $2 from commissioning k where k.state = 'commissioning')
               select sensor_id as "sensor_id!", greatest(from_at, $1) as "from_at!", least(to_at, $2) as "to_at!" from w
               where from_at < $2 and to_at >= $1"#,
            time(day.start()),
            time(day.next().start()),
            margin_s,
        )
        .fetch_all(&self.pool)
        .await?;
        let windows = rows.into_iter().map(|row| Window {
            sensor: SensorId(row.sensor_id),
            from: row.from_at.into(),
            to: row.to_at.into(),
        });
        Ok(windows.collect())
    }

    /// A sensor's hot readings of a day in order of capture, those after `after` alone; at most `limit`.
    pub async fn archive_readings(
        &self,
        sensor: SensorId,
        day: Day,
        after: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<FullReading>> {
        let rows = sqlx::query_as!(
            FullRow,
            r#"select sensor_id, captured_at, received_at, content_hash, commit_seq, threshold_set_id, bundle_id,
                      baseline_id, scorer_build_id, residual, overall_level, isolation, growth, shift, narrowband, pca, mahalanobis,
                      severity, flags, verdict, condition_cell, detector_mask, rpm, load, predecessors_from,
                      predecessor_count, overall as "overall: Vec<Option<f32>>", latent, spectrum
               from reading
               where sensor_id = $1 and captured_at >= $2 and captured_at < $3
                 and ($4::timestamptz is null or captured_at > $4)
               order by captured_at limit $5"#,
            sensor.0,
            time(day.start()),
            time(day.next().start()),
            after.map(time),
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(FullReading::try_from).collect()
    }

    /// The files of archived days in `scope` that can hold readings captured from `from` up to but without `to`, of these
    /// sensors or of all, by day.
    pub async fn archive_files_between(
        &self,
        scope: &Scope,
        sensors: Option<&[SensorId]>,
        (from, to): (Timestamp, Timestamp),
    ) -> Result<Vec<(Day, File)>> {
        let sensors: Option<Vec<i32>> = sensors.map(|sensors| sensors.iter().map(|sensor| sensor.0).collect());
        let rows = sqlx::query_as!(
            FileRow,
            "select f.day, f.path, f.site_id, f.rows, f.spectra, f.bytes, f.digest
             from archive_file f join archive_part p using (day, part)
             where p.state = 'archived' and f.day >= $1 and f.day <= $2 and ($3::int4[] is null or f.site_id = any($3))
               and ($4::int4[] is null or f.site_id in (
                   select m.site_id from sensor s join machine m using (machine_id) where s.sensor_id = any($4)))
             order by f.day, f.path",
            Day::of(from).date(),
            Day::of(to).date(),
            scope.to_filter() as _,
            sensors.as_deref() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Capture time of a sensor's newest archived reading at or before `at`, from the keys alone.
    pub async fn archive_newest(&self, scope: &Scope, sensor: SensorId, at: Timestamp) -> Result<Option<Timestamp>> {
        let rows = sqlx::query!(
            "select k.day, k.keys from archived_key k join sensor s using (sensor_id) join machine m using (machine_id)
             where k.sensor_id = $1 and k.day in (
                 select distinct d.day from archived_key d where d.sensor_id = $1 and d.day <= archive_day($2)
                 order by d.day desc limit 2)
               and exists (select 1 from archive_part p where p.day = k.day and p.part = k.part and p.state = 'archived')
               and ($3::int4[] is null or m.site_id = any($3))",
            sensor.0,
            time(at),
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        let newest = rows.into_iter().filter_map(|row| {
            let start_us = Day::from_date(row.day).start().as_micros();
            let captured = row.keys.chunks_exact(KEY_BYTES).map(|key| start_us + micros(key));
            captured.take_while(|captured| *captured <= at.as_micros()).last()
        });
        Ok(newest.max().map(Timestamp::from_micros))
    }

    /// The longest that any class but the canaries' commissions its sensors: days that may be needed for it stay hot.
    pub async fn archive_commissioning_span(&self) -> Result<std::time::Duration> {
        let span_s = sqlx::query_scalar!(
            r#"select coalesce(max(commissioning_span_s), 0)::int8 as "span_s!" from machine_class where class_id <> $1"#,
            ClassId::CANARY.0,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(std::time::Duration::from_secs(span_s.unsigned_abs()))
    }

    /// Size of the hot partitions with their indexes in bytes, and about how many readings they hold.
    pub async fn archive_hot(&self) -> Result<(u64, u64)> {
        let row = sqlx::query!(
            r#"select coalesce(sum(pg_total_relation_size(c.oid)), 0)::int8 as "bytes!",
                      coalesce(sum(greatest(s.n_live_tup, c.reltuples::int8, 0)), 0)::int8 as "rows!"
               from pg_inherits i join pg_class c on c.oid = i.inhrelid
               left join pg_stat_user_tables s on s.relid = c.oid
               where i.inhparent = 'reading'::regclass"#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok((row.bytes as u64, row.rows as u64))
    }

    /// Size in bytes of what resends of archived readings are recognised by, and of the rows kept for pages.
    pub async fn archive_kept_bytes(&self) -> Result<(u64, u64)> {
        let row = sqlx::query!(
            r#"select pg_total_relation_size('archived_key') as "keys!", pg_total_relation_size('reading_kept') as "kept!""#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok((row.keys as u64, row.kept as u64))
    }

    /// Archived parts of days before one.
    pub(super) async fn archive_parts_before(&self, day: NaiveDate) -> Result<Vec<Part>> {
        let parts = self.archive_parts().await?;
        let old = |part: &Part| part.state == super::PartState::Archived && part.day.date() < day;
        Ok(parts.into_iter().filter(old).collect())
    }
}

/// Microseconds since the day began.
fn micros(key: &[u8]) -> i64 {
    key[..5].iter().fold(0, |micros, byte| micros << 8 | i64::from(*byte))
}
