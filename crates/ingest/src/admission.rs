//! From what a gateway sent to what the ensemble takes: each reading by itself, so that a bad one costs only itself.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use tocsin_contracts::Malformed;
use tocsin_contracts::ensemble::PlacedReading;
use tocsin_contracts::ensemble::v1::AssessReading;
use tocsin_contracts::ingest::v1::{Rejection, RejectionCode};
use tocsin_contracts::ingest::{SentReading, StreamProperties};
use tocsin_domain::access::Gateway;
use tocsin_domain::fleet::Site;
use tocsin_domain::{MachineId, Reading, ReadingKey, Timestamp};

use crate::directory::{SensorRef, SiteDirectory};

/// 1990-01-01 to 2100-01-01 in microseconds: what lies outside is a broken clock, whatever a stream declares.
const SANE_US: Range<i64> = 631_152_000_000_000..4_102_444_800_000_000;

/// Bins encoded before other tasks get a turn: some hundred microseconds of work.
const BINS_IN_A_ROW: usize = 32_768;

/// Newest capture time of each machine on one stream. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewestCaptures(Arc<Mutex<HashMap<MachineId, Timestamp>>>);

/// What the readings of a stream are held against.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// Who sends them.
    pub(crate) gateway: Arc<Gateway>,
    /// What the stream declared.
    pub(crate) stream: StreamProperties,
    /// Its machines' newest capture times.
    pub(crate) newest: NewestCaptures,
}

/// What is left of a batch.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    /// The good readings, in capture order.
    pub(crate) readings: Vec<AssessReading>,
    /// Their places in the batch.
    pub(crate) places: Vec<u32>,
    /// The others.
    pub(crate) rejections: Vec<Rejection>,
}

/// Why one reading is not taken.
#[derive(Debug)]
struct Fault {
    code: RejectionCode,
    field: String,
    reason: String,
}

impl Fault {
    fn new(code: RejectionCode, field: &str, reason: impl Into<String>) -> Self {
        Self {
            code,
            field: field.to_owned(),
            reason: reason.into(),
        }
    }

    fn at(self, place: u32) -> Rejection {
        Rejection {
            index: place,
            code: self.code.into(),
            field: self.field,
            reason: self.reason,
        }
    }
}

impl<E: Into<Malformed>> From<E> for Fault {
    fn from(error: E) -> Self {
        let Malformed { field, reason } = error.into();
        Self {
            code: RejectionCode::Malformed,
            field,
            reason,
        }
    }
}

/// Checks, places and encodes the readings of a batch. Their sensors have been looked up in `site` before.
pub(crate) async fn admit(
    readings: Vec<Result<SentReading, Malformed>>,
    site: &SiteDirectory,
    terms: &Terms,
    received_at: Timestamp,
) -> Admitted {
    let mut good: Vec<(u32, PlacedReading)> = Vec::with_capacity(readings.len());
    let mut rejections = Vec::new();
    let mut bins = 0;
    for (place, reading) in (0u32..).zip(readings) {
        match reading
            .map_err(Fault::from)
            .and_then(|sent| admit_one(sent, site, terms, received_at))
        {
            Ok(placed) => {
                bins += placed.reading.spectrum.codes().len();
                good.push((place, placed));
            }
            Err(fault) => rejections.push(fault.at(place)),
        }
        if bins >= BINS_IN_A_ROW {
            bins = 0;
            tokio::task::yield_now().await;
        }
    }
    // The ensemble goes step by step in capture time; readings of one time stay in the order sent.
    good.sort_by_key(|(_, placed)| placed.reading.key.captured_at);
    let places = good.iter().map(|(place, _)| *place).collect();
    Admitted {
        readings: good.into_iter().map(|(_, placed)| placed.into()).collect(),
        places,
        rejections,
    }
}

fn admit_one(
    sent: SentReading,
    site: &SiteDirectory,
    terms: &Terms,
    received_at: Timestamp,
) -> Result<PlacedReading, Fault> {
    let Some(SensorRef { sensor, spec }) = site.sensors().get(&sent.sensor).cloned() else {
        let reason = format!(
            "{}: {}",
            sent.sensor,
            site.why_unknown(terms.gateway.token, &sent.sensor)
        );
        return Err(Fault::new(RejectionCode::UnknownSensor, "sensor", reason));
    };
    let (spectrum, clipped) = spec.codec.encode(&sent.spectrum(&spec.spec)?);
    let overall = sent.overall_levels(&spec.spec)?;
    check_time(sent.captured_at, received_at, &site.site, sensor.machine, terms)
        .map_err(|reason| Fault::new(RejectionCode::OutOfTime, "captured_at", reason))?;
    let reading = Reading {
        key: ReadingKey {
            sensor: sensor.id,
            captured_at: sent.captured_at,
        },
        spectrum,
        clipped,
        condition: sent.condition,
        overall,
    };
    Ok(PlacedReading {
        reading,
        machine: sensor.machine,
        class: sensor.class,
        spec: Some(sensor.spec),
        full_scale: spec.full_scale,
    })
}

/// See the crate's words on which capture times are taken. The error is the reason.
fn check_time(
    captured_at: Timestamp,
    now: Timestamp,
    site: &Site,
    machine: MachineId,
    terms: &Terms,
) -> Result<(), String> {
    if !SANE_US.contains(&captured_at.as_micros()) {
        return Err(format!("{captured_at} is not within the years 1990 to 2099"));
    }
    if captured_at > now + site.furthest {
        let furthest_s = site.furthest.as_secs();
        return Err(format!("{captured_at} is more than {furthest_s} s after now, {now}"));
    }
    let oldest_s = site.oldest.as_secs();
    if terms.stream.clock_is_capture {
        let mut newest = terms.newest.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = newest.entry(machine).or_insert(captured_at);
        if captured_at < *newest - site.oldest {
            return Err(format!(
                "{captured_at} is more than {oldest_s} s before the machine's newest reading on this stream, {newest}"
            ));
        }
        *newest = captured_at.max(*newest);
        return Ok(());
    }
    if captured_at < now - site.oldest && !terms.stream.historical {
        return Err(format!("{captured_at} is more than {oldest_s} s before now, {now}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
