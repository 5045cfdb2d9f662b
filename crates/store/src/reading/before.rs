//! The last spectra of sensors before a time: what a temporal network is shown with the spectrum that it judges.

use tocsin_domain::{BaselineId, SensorId, Timestamp};

use crate::row::{none_if_zero, time};
use crate::{Result, Store};

/// A stretch of a sensor's past.
#[derive(Debug, Clone, Copy)]
pub struct Past {
    /// The sensor.
    pub sensor: SensorId,
    /// Captured at or after this.
    pub from: Timestamp,
    /// Captured before this.
    pub to: Timestamp,
}

/// One stored spectrum of a sensor's past.
#[derive(Debug, Clone, PartialEq)]
pub struct PastSpectrum {
    /// The sensor.
    pub sensor: SensorId,
    /// When it was taken.
    pub captured_at: Timestamp,
    /// The number of the baseline it was judged against.
    pub baseline: Option<BaselineId>,
    /// Codes of the canonical spectrum.
    pub codes: Vec<u8>,
}

impl Store {
    /// The newest spectra of each stretch, at most `most`, by sensor and in order of capture.
    pub async fn spectra_before(&self, stretches: &[Past], most: u32) -> Result<Vec<PastSpectrum>> {
        let sensors: Vec<i32> = stretches.iter().map(|past| past.sensor.0).collect();
        let from: Vec<_> = stretches.iter().map(|past| time(past.from)).collect();
        let to: Vec<_> = stretches.iter().map(|past| time(past.to)).collect();
        let rows = sqlx::query!(
            r#"select i.sensor_id as "sensor_id!", r.captured_at, r.baseline_id, r.spectrum as "spectrum!"
               from unnest($1::int4[], $2::timestamptz[], $3::timestamptz[]) i(sensor_id, low, high)
               cross join lateral (
                   select r.captured_at, r.baseline_id, r.spectrum from reading r
                   where r.sensor_id = i.sensor_id and r.captured_at >= i.low and r.captured_at < i.high
                     and r.spectrum is not null
                   order by r.captured_at desc limit $4) r
               order by i.sensor_id, r.captured_at"#,
            &sensors,
            &from,
            &to,
            i64::from(most),
        )
        .fetch_all(&self.pool)
        .await?;
        let spectra = rows.into_iter().map(|row| PastSpectrum {
            sensor: SensorId(row.sensor_id),
            captured_at: row.captured_at.into(),
            baseline: none_if_zero(row.baseline_id).map(BaselineId),
            codes: row.spectrum,
        });
        Ok(spectra.collect())
    }
}
