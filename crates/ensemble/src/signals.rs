//! What is heard of each sensor, gathered as readings are stored and written down every few seconds: silence is decided
//! from that, and no reading costs a write for it.
//!
//! What a process that dies has not yet written is lost: a sensor then looks silent for as long as it takes to write, at
//! most, which is less than any sensor may say nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tocsin_domain::{OperatingState, ReadingFlags, SensorId, SensorSignal};
use tocsin_judge::signal::{self, Heard};
use tocsin_store::Store;
use tocsin_store::signal::{signals_lock, signals_write};
use tokio_util::sync::CancellationToken;

use crate::assess::Assessed;

/// Readings of one sensor that are kept between two writings: more than come in that time, but from a spool.
const MOST_HEARD: usize = 64;

/// Sensors that are written in one transaction.
const CHUNK: usize = 500;

/// What was heard since it was last written down.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals(Arc<Mutex<HashMap<SensorId, Vec<Heard>>>>);

impl Signals {
    /// Takes note of readings that were stored. Replays and history tell nothing of whether a sensor is there.
    pub(crate) fn note<'a>(&self, stored: impl Iterator<Item = &'a Assessed>) {
        let past = ReadingFlags::REPLAY.with(ReadingFlags::HISTORICAL);
        let live = stored.filter(|assessed| assessed.row.flags.0 & past.0 == 0);
        let heard: Vec<(SensorId, Heard)> = live
            .map(|assessed| (assessed.row.key.sensor, heard(assessed)))
            .collect();
        if heard.is_empty() {
            return;
        }
        let mut signals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (sensor, heard) in heard {
            let of_sensor = signals.entry(sensor).or_default();
            if of_sensor.len() == MOST_HEARD {
                of_sensor.remove(0);
            }
            of_sensor.push(heard);
        }
    }

    fn take(&self) -> HashMap<SensorId, Vec<Heard>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn heard(assessed: &Assessed) -> Heard {
    let row = &assessed.row;
    Heard {
        gateway: assessed.gateway,
        received_at: row.received_at,
        captured_at: row.key.captured_at,
        spectrum_hash: signal::spectrum_hash(&row.spectrum),
        stopped: match row.state {
            OperatingState::Stopped => Some(true),
            _ => (row.condition.rpm.is_some() || row.condition.state.is_some()).then_some(false),
        },
    }
}

/// Writes it down.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) store: Store,
    pub(crate) signals: Signals,
    pub(crate) interval: Duration,
}

impl Keeper {
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let work = async {
            loop {
                tokio::time::sleep(self.interval).await;
                self.write().await;
            }
        };
        shutdown.run_until_cancelled(work).await;
        self.write().await;
    }

    async fn write(&self) {
        let mut heard: Vec<(SensorId, Vec<Heard>)> = self.signals.take().into_iter().collect();
        heard.sort_unstable_by_key(|(sensor, _)| *sensor);
        for chunk in heard.chunks_mut(CHUNK) {
            if let Err(error) = self.write_chunk(chunk).await {
                tracing::warn!(sensors = chunk.len(), %error, "what was heard of sensors can't be written down");
            }
        }
    }

    async fn write_chunk(&self, heard: &mut [(SensorId, Vec<Heard>)]) -> tocsin_store::Result<()> {
        let sensors: Vec<SensorId> = heard.iter().map(|(sensor, _)| *sensor).collect();
        let mut transaction = self.store.begin().await?;
        let mut known = signals_lock(&mut transaction, &sensors).await?;
        let now_known: Vec<SensorSignal> = heard
            .iter_mut()
            .filter_map(|(sensor, heard)| after(*sensor, known.remove(sensor), heard))
            .collect();
        signals_write(&mut transaction, &now_known).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// What is known of a sensor after what was heard, whatever the order in which that was noted.
fn after(sensor: SensorId, known: Option<SensorSignal>, heard: &mut [Heard]) -> Option<SensorSignal> {
    heard.sort_by_key(|heard| (heard.received_at, heard.captured_at));
    let mut signal = match known {
        Some(known) => known,
        None => signal::first(sensor, heard.first()?),
    };
    for heard in heard {
        signal::hear(&mut signal, heard);
    }
    Some(signal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::Timestamp;

    fn heard(second: i64, spectrum_hash: i64) -> Heard {
        let at = Timestamp::from_micros(second * 1_000_000);
        Heard {
            gateway: None,
            received_at: at,
            captured_at: at,
            spectrum_hash,
            stopped: None,
        }
    }

    #[test]
    fn what_was_noted_out_of_order_is_known_as_if_it_had_been_in_order() {
        let sensor = SensorId(1);
        let mut mixed = [heard(30, 2), heard(10, 1), heard(20, 2)];
        let signal = after(sensor, None, &mut mixed).unwrap();
        assert_eq!((signal.same_count, signal.capture_gaps_ms.len()), (2, 2));
        let again = after(sensor, Some(signal.clone()), &mut mixed).unwrap();
        assert_eq!(again, signal, "hearing it twice changes nothing");
        assert_eq!(after(sensor, None, &mut []), None);
    }
}
