//! Reading back what was measured: one reading in full, or a sensor's spectra over time.

use tocsin_domain::{CanonicalSpectrum, Condition, ContentHash, ReadingKey, Scope, SensorId, Timestamp};

use super::{Predecessors, StoredReading, StoredRow, label};
use crate::row::{Time, time};
use crate::{Error, Result, Store};

/// A reading with everything that is kept of it.
#[derive(Debug, Clone, PartialEq)]
pub struct FullReading {
    /// What was decided, and from what.
    pub stored: StoredReading,
    /// What tells a resend from a conflict.
    pub content_hash: ContentHash,
    /// The operating condition, as far as known.
    pub condition: Condition,
    /// The earlier spectra it was judged with.
    pub predecessors: Option<Predecessors>,
    /// Canonical overall levels in the spec's order, none where absent; empty when the reading has none at all.
    pub overall: Vec<Option<f32>>,
    /// Little-endian half floats; empty when the network did not judge.
    pub latent: Vec<u8>,
    /// The canonical spectrum; none once the archive has thinned it away.
    pub spectrum: Option<CanonicalSpectrum>,
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
            predecessors,
            overall: row.overall.unwrap_or_default(),
            latent: row.latent.unwrap_or_default(),
            spectrum: row.spectrum.map(CanonicalSpectrum::from_codes),
        })
    }
}

/// One spectrum of a sensor over time.
#[derive(Debug, Clone, PartialEq)]
pub struct SpectrumColumn {
    /// When it was taken.
    pub captured_at: Timestamp,
    /// The canonical spectrum.
    pub spectrum: CanonicalSpectrum,
    /// The operating condition it was taken in, as far as known.
    pub condition: Condition,
}

/// The columns of a [`SpectrumColumn`].
pub(crate) struct ColumnRow {
    pub(crate) captured_at: Time,
    pub(crate) spectrum: Vec<u8>,
    pub(crate) rpm: Option<f32>,
    pub(crate) load: Option<f32>,
}

impl From<ColumnRow> for SpectrumColumn {
    fn from(row: ColumnRow) -> Self {
        let ColumnRow { rpm, load, .. } = row;
        Self {
            captured_at: row.captured_at.into(),
            spectrum: CanonicalSpectrum::from_codes(row.spectrum),
            condition: Condition {
                rpm,
                load,
                ..Condition::default()
            },
        }
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
                      r.baseline_id as "baseline_id!", r.residual, r.overall_level, r.isolation, r.growth, r.shift,
                      r.narrowband, r.pca, r.mahalanobis, r.severity, r.flags as "flags!", r.verdict as "verdict!",
                      r.condition_cell as "condition_cell!", r.detector_mask as "detector_mask!", r.rpm, r.load,
                      r.predecessors_from, r.predecessor_count as "predecessor_count!",
                      r.overall as "overall: Vec<Option<f32>>", r.latent, r.spectrum
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

    /// A sensor's spectra from `from` up to but without `to`, thinned evenly: the first of each of `columns` equal
    /// intervals that has one.
    pub async fn spectra_range(
        &self,
        scope: &Scope,
        sensor: SensorId,
        (from, to): (Timestamp, Timestamp),
        columns: u32,
    ) -> Result<Vec<SpectrumColumn>> {
        let span_us = to.as_micros() - from.as_micros();
        if span_us <= 0 || columns == 0 {
            return Ok(Vec::new());
        }
        // Rounded up, so that the last interval reaches `to`. Each is looked up by the primary key, however full it is.
        let width_us = (span_us as u64).div_ceil(u64::from(columns)) as i64;
        let starts_us = (0..i64::from(columns)).map(|column| from.as_micros() + width_us * column);
        let (starts, ends): (Vec<_>, Vec<_>) = starts_us
            .map(Timestamp::from_micros)
            .take_while(|start| *start < to)
            .map(|start| {
                (
                    time(start),
                    time(Timestamp::from_micros(start.as_micros() + width_us).min(to)),
                )
            })
            .unzip();
        let rows = sqlx::query_as!(
            ColumnRow,
            r#"select r.captured_at, r.spectrum as "spectrum!", r.rpm, r.load
               from unnest($2::timestamptz[], $3::timestamptz[]) i(low, high)
               cross join lateral (
                   select r.captured_at, r.spectrum, r.rpm, r.load from reading r
                   where r.sensor_id = $1 and r.captured_at >= i.low and r.captured_at < i.high
                     and r.spectrum is not null
                   order by r.captured_at limit 1) r
               where exists (select 1 from sensor s join machine m using (machine_id)
                             where s.sensor_id = $1 and ($4::int4[] is null or m.site_id = any($4)))
               order by r.captured_at"#,
            sensor.0,
            &starts,
            &ends,
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(SpectrumColumn::from).collect())
    }
}
