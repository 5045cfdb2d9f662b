//! Which spectra the archive keeps.

use std::collections::HashMap;
use std::time::Duration;

use tocsin_domain::{ReadingFlags, SensorId, Timestamp};
use tocsin_store::archive::Window;
use tocsin_store::reading::FullReading;

/// Decides, reading by reading in order of capture within a sensor.
#[derive(Debug, Default)]
pub struct Thinning {
    windows: HashMap<SensorId, Vec<(Timestamp, Timestamp)>>,
    /// The hour of each sensor's last kept spectrum.
    hours: HashMap<SensorId, Timestamp>,
}

impl Thinning {
    /// Keeps all that lies in `windows`.
    pub fn new(windows: impl IntoIterator<Item = Window>) -> Self {
        let mut by_sensor: HashMap<SensorId, Vec<(Timestamp, Timestamp)>> = HashMap::new();
        for window in windows {
            by_sensor
                .entry(window.sensor)
                .or_default()
                .push((window.from, window.to));
        }
        Self {
            windows: by_sensor,
            hours: HashMap::new(),
        }
    }

    /// Whether a reading's spectrum is kept: flagged, judged without the network, in a window, or the first of its sensor
    /// and hour.
    pub fn keeps(&mut self, reading: &FullReading) -> bool {
        if reading.spectrum.is_none() {
            return false;
        }
        let (key, stored) = (reading.stored.key, &reading.stored);
        let hour = key.captured_at.floor_to(Duration::from_hours(1));
        let first = self.hours.insert(key.sensor, hour) != Some(hour);
        let in_window = self.windows.get(&key.sensor).is_some_and(|windows| {
            let holds = |(from, to): &(Timestamp, Timestamp)| (*from..=*to).contains(&key.captured_at);
            windows.iter().any(holds)
        });
        first || in_window || stored.verdict.is_flagged() || stored.flags.contains(ReadingFlags::DEGRADED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::{
        CanonicalSpectrum, Condition, ContentHash, Detector, OperatingState, ReadingKey, Scores, Verdict,
    };
    use tocsin_store::reading::StoredReading;

    fn reading(minute: u64, verdict: Verdict) -> FullReading {
        let captured_at = Timestamp::from_micros(0) + Duration::from_mins(minute);
        FullReading {
            stored: StoredReading {
                key: ReadingKey {
                    sensor: SensorId(1),
                    captured_at,
                },
                received_at: captured_at,
                commit_seq: 1,
                threshold_set: None,
                bundle: None,
                baseline: None,
                scores: Scores::default(),
                flags: ReadingFlags::default(),
                verdict,
                state: OperatingState::Known,
            },
            content_hash: ContentHash(1),
            condition: Condition::default(),
            scorer_build: None,
            predecessors: None,
            overall: Vec::new(),
            latent: Vec::new(),
            spectrum: Some(CanonicalSpectrum::from_codes(vec![1; 32])),
        }
    }

    fn kept(windows: Vec<Window>, flagged: &[u64]) -> Vec<u64> {
        let mut thinning = Thinning::new(windows);
        let keeps = |minute: &u64| {
            let by = Detector::Residual;
            let verdict = if flagged.contains(minute) {
                Verdict::Alert { by }
            } else {
                Verdict::Normal { by }
            };
            thinning.keeps(&reading(*minute, verdict))
        };
        (5..200).step_by(10).filter(keeps).collect()
    }

    #[test]
    fn one_spectrum_an_hour_is_kept_and_all_that_are_evidence() {
        assert_eq!(kept(Vec::new(), &[]), [5, 65, 125, 185]);
        assert_eq!(kept(Vec::new(), &[15, 95]), [5, 15, 65, 95, 125, 185]);
        let window = Window {
            sensor: SensorId(1),
            from: Timestamp::from_micros(0) + Duration::from_mins(75),
            to: Timestamp::from_micros(0) + Duration::from_mins(95),
        };
        let other = Window {
            sensor: SensorId(2),
            ..window
        };
        assert_eq!(kept(vec![window], &[]), [5, 65, 75, 85, 95, 125, 185]);
        assert_eq!(kept(vec![other], &[]), [5, 65, 125, 185]);
    }
}
