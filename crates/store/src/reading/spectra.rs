//! Reading back what was measured: a sensor's spectra over time.

use tocsin_domain::{CanonicalSpectrum, Condition, Scope, SensorId, Timestamp};

use crate::row::{Time, time};
use crate::{Result, Store};

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
