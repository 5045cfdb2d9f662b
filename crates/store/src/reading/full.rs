//! Readings with everything that is kept of them: one, or a sensor's one after the other.

use tocsin_domain::{
    BundleId, CanonicalSpectrum, Condition, ContentHash, ReadingKey, Scope, ScorerBuildId, SensorId, Timestamp,
};

use super::{Predecessors, Rescored, StoredReading, StoredRow, label};
use crate::row::{Time, none_if_zero, time};
use crate::{Error, Result, Store};

/// A reading with everything that is kept of it.
#[derive(Debug, Clone, PartialEq)]
pub struct FullReading {
    /// What was decided, and from what.
    pub stored: StoredReading,
    /// What it said when it was received.
    pub content_hash: ContentHash,
    /// The operating condition, as far as known.
    pub condition: Condition,
    /// The build of the scorer that gave the network's score; none when the network did not judge.
    pub scorer_build: Option<ScorerBuildId>,
    /// The earlier spectra it was judged with.
    pub predecessors: Option<Predecessors>,
    /// Canonical overall levels in the spec's order, none where absent; empty when the reading has none at all.
    pub overall: Vec<Option<f32>>,
    /// Little-endian half floats; empty when the network did not judge.
    pub latent: Vec<u8>,
    /// The canonical spectrum; none once the archive has thinned it away.
    pub spectrum: Option<CanonicalSpectrum>,
}

/// Which readings of a sensor are read in full.
#[derive(Debug, Clone, Copy)]
pub struct FullReadingsQuery {
    /// The sensor.
    pub sensor: SensorId,
    /// Captured at or after this.
    pub from: Timestamp,
    /// Captured before this.
    pub to: Timestamp,
    /// At most this many.
    pub limit: u32,
}

/// The columns of a [`FullReading`]; the queries name them one by one.
pub(crate) struct FullRow {
    pub(crate) sensor_id: i32,
    pub(crate) captured_at: Time,
    pub(crate) received_at: Time,
    pub(crate) content_hash: i64,
    pub(crate) commit_seq: i64,
    pub(crate) threshold_set_id: i32,
    pub(crate) bundle_id: i32,
    pub(crate) baseline_id: i32,
    pub(crate) scorer_build_id: i32,
    pub(crate) residual: Option<f32>,
    pub(crate) overall_level: Option<f32>,
    pub(crate) isolation: Option<f32>,
    pub(crate) growth: Option<f32>,
    pub(crate) shift: Option<f32>,
    pub(crate) narrowband: Option<f32>,
    pub(crate) pca: Option<f32>,
    pub(crate) mahalanobis: Option<f32>,
    pub(crate) severity: Option<f32>,
    pub(crate) flags: i16,
    pub(crate) verdict: i16,
    pub(crate) condition_cell: i16,
    pub(crate) detector_mask: i16,
    pub(crate) rpm: Option<f32>,
    pub(crate) load: Option<f32>,
    pub(crate) predecessors_from: Option<Time>,
    pub(crate) predecessor_count: i16,
    pub(crate) overall: Option<Vec<Option<f32>>>,
    pub(crate) latent: Option<Vec<u8>>,
    pub(crate) spectrum: Option<Vec<u8>>,
}

impl TryFrom<FullRow> for FullReading {
    type Error = Error;

    fn try_from(row: FullRow) -> Result<Self> {
        let key = ReadingKey {
            sensor: SensorId(row.sensor_id),
            captured_at: row.captured_at.into(),
        };
        let condition = Condition::parse(row.rpm, row.load).map_err(Error::impossible("reading", "rpm", label(key)))?;
        let predecessors = row.predecessors_from.map(|oldest| Predecessors {
            oldest: oldest.into(),
            count: row.predecessor_count,
        });
        let stored = StoredRow {
            sensor_id: row.sensor_id,
            captured_at: row.captured_at,
            received_at: row.received_at,
            commit_seq: row.commit_seq,
            threshold_set_id: row.threshold_set_id,
            bundle_id: row.bundle_id,
            baseline_id: row.baseline_id,
            residual: row.residual,
            overall_level: row.overall_level,
            isolation: row.isolation,
            growth: row.growth,
            shift: row.shift,
            narrowband: row.narrowband,
            pca: row.pca,
            mahalanobis: row.mahalanobis,
            severity: row.severity,
            flags: row.flags,
            verdict: row.verdict,
            condition_cell: row.condition_cell,
            detector_mask: row.detector_mask,
        };
        Ok(Self {
            stored: stored.try_into()?,
            content_hash: ContentHash(row.content_hash),
            condition,
            scorer_build: none_if_zero(row.scorer_build_id).map(ScorerBuildId),
            predecessors,
            overall: row.overall.unwrap_or_default(),
            latent: row.latent.unwrap_or_default(),
            spectrum: row.spectrum.map(CanonicalSpectrum::from_codes),
        })
    }
}

impl Store {
    /// A sensor's newest reading at or before `at`; its newest of all when that is not given.
    pub async fn reading_get(
        &self,
        scope: &Scope,
        sensor: SensorId,
        at: Option<Timestamp>,
    ) -> Result<Option<FullReading>> {
        let row = sqlx::query_as!(
            FullRow,
            r#"select r.sensor_id as "sensor_id!", r.captured_at as "captured_at!", r.received_at as "received_at!",
                      r.content_hash as "content_hash!", r.commit_seq as "commit_seq!",
                      r.threshold_set_id as "threshold_set_id!", r.bundle_id as "bundle_id!",
                      r.baseline_id as "baseline_id!", r.scorer_build_id as "scorer_build_id!", r.residual,
                      r.overall_level, r.isolation, r.growth, r.shift, r.narrowband, r.pca, r.mahalanobis, r.severity,
                      r.flags as "flags!", r.verdict as "verdict!", r.condition_cell as "condition_cell!",
                      r.detector_mask as "detector_mask!", r.rpm, r.load, r.predecessors_from,
                      r.predecessor_count as "predecessor_count!", r.overall as "overall: Vec<Option<f32>>", r.latent,
                      r.spectrum
               from reading_with_kept r
               where r.sensor_id = $1 and r.captured_at <= $2
                 and exists (select 1 from sensor s join machine m using (machine_id)
                             where s.sensor_id = $1 and ($3::int4[] is null or m.site_id = any($3)))
               order by r.captured_at desc limit 1"#,
            sensor.0,
            time(at.unwrap_or(Timestamp::MAX)),
            scope.to_filter() as _,
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(FullReading::try_from).transpose()
    }

    /// A sensor's readings in order of capture, with everything that is kept of them; the next page is from one
    /// microsecond after the last.
    pub async fn readings_full(&self, scope: &Scope, query: &FullReadingsQuery) -> Result<Vec<FullReading>> {
        let rows = sqlx::query_as!(
            FullRow,
            r#"select r.sensor_id, r.captured_at, r.received_at, r.content_hash, r.commit_seq, r.threshold_set_id,
                      r.bundle_id, r.baseline_id, r.scorer_build_id, r.residual, r.overall_level, r.isolation, r.growth,
                      r.shift, r.narrowband, r.pca, r.mahalanobis, r.severity, r.flags, r.verdict, r.condition_cell,
                      r.detector_mask, r.rpm, r.load, r.predecessors_from, r.predecessor_count,
                      r.overall as "overall: Vec<Option<f32>>", r.latent, r.spectrum
               from reading r
               where r.sensor_id = $1 and r.captured_at >= $2 and r.captured_at < $3
                 and exists (select 1 from sensor s join machine m using (machine_id)
                             where s.sensor_id = $1 and ($4::int4[] is null or m.site_id = any($4)))
               order by r.captured_at limit $5"#,
            query.sensor.0,
            time(query.from),
            time(query.to),
            scope.to_filter() as _,
            i64::from(query.limit),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(FullReading::try_from).collect()
    }

    /// What the network said later of a sensor's readings captured from `from` up to and with `last`.
    pub async fn rescored_range(
        &self,
        scope: &Scope,
        sensor: SensorId,
        (from, last): (Timestamp, Timestamp),
    ) -> Result<Vec<Rescored>> {
        let rows = sqlx::query!(
            "select d.captured_at, d.bundle_id, d.scorer_build_id, d.residual, d.latent from reading_rescored d
             where d.sensor_id = $1 and d.captured_at >= $2 and d.captured_at <= $3
               and exists (select 1 from sensor s join machine m using (machine_id)
                           where s.sensor_id = $1 and ($4::int4[] is null or m.site_id = any($4)))
             order by d.captured_at, d.bundle_id",
            sensor.0,
            time(from),
            time(last),
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        let rescored = rows.into_iter().map(|row| Rescored {
            key: ReadingKey {
                sensor,
                captured_at: row.captured_at.into(),
            },
            bundle: BundleId(row.bundle_id),
            scorer_build: none_if_zero(row.scorer_build_id).map(ScorerBuildId),
            residual: row.residual,
            latent: row.latent,
        });
        Ok(rescored.collect())
    }
}
