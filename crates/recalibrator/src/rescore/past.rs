//! What a temporal network is shown with a reading, from the readings before it.
//!
//! The rule is the live one: the spectra follow one another without a gap and were held against the same baseline, or the
//! reading is scored alone. Where one of them is not kept, nobody can say what the network would have said.

use std::collections::{HashMap, VecDeque};

use tocsin_domain::{BaselineId, CanonicalSpectrum, SensorId, Timestamp};
use tocsin_models::Window;
use tocsin_store::reading::FullReading;

/// The last readings of some sensors, as one side holds them against baselines.
#[derive(Debug)]
pub(super) struct Past {
    window: Window,
    /// Bins of the spectra that the network reads: it is shown no others.
    bins: usize,
    sensors: HashMap<SensorId, VecDeque<Earlier>>,
}

#[derive(Debug)]
struct Earlier {
    at: Timestamp,
    baseline: Option<BaselineId>,
    /// Its codes; none where the spectrum is not kept.
    codes: Option<Vec<u8>>,
}

/// What the network is shown beside a reading's own spectrum.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Nothing: it is scored alone.
    Alone,
    /// These codes, oldest first.
    Before(Vec<u8>),
    /// That can't be told any more.
    Unknown,
}

impl Past {
    pub(super) fn new(window: Window, bins: usize) -> Self {
        Self {
            window,
            bins,
            sensors: HashMap::new(),
        }
    }

    /// What is shown with a reading that is held against a baseline; the reading is then the newest of its sensor's past.
    pub(super) fn see(&mut self, reading: &FullReading, baseline: Option<BaselineId>) -> Shown {
        let codes = reading.spectrum.as_ref().map(CanonicalSpectrum::codes);
        if codes.is_some_and(|codes| codes.len() != self.bins) {
            return Shown::Alone;
        }
        let key = reading.stored.key;
        let before = self.sensors.entry(key.sensor).or_default();
        if before.back().is_some_and(|last| last.at >= key.captured_at) {
            // One that comes late of an archived day, or twice: what it was judged with is not at hand.
            return Shown::Unknown;
        }
        let wanted = usize::from(self.window.spectra) - 1;
        let shown = shown(self.window, before, (key.captured_at, baseline));
        before.push_back(Earlier {
            at: key.captured_at,
            baseline,
            codes: codes.map(<[u8]>::to_vec),
        });
        if before.len() > wanted {
            before.pop_front();
        }
        shown
    }
}

fn shown(window: Window, before: &VecDeque<Earlier>, (at, baseline): (Timestamp, Option<BaselineId>)) -> Shown {
    let mut next = at;
    for earlier in before.iter().rev() {
        if !window.joins(earlier.at, next) || earlier.baseline != baseline {
            return Shown::Alone;
        }
        next = earlier.at;
    }
    if before.len() + 1 < usize::from(window.spectra) {
        return Shown::Alone;
    }
    let codes: Option<Vec<&[u8]>> = before.iter().map(|earlier| earlier.codes.as_deref()).collect();
    codes.map_or(Shown::Unknown, |codes| Shown::Before(codes.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rescore::side::tests::reading;

    const WINDOW: Window = Window {
        spectra: 3,
        most_gap_ms: 25_000,
    };

    fn seen(past: &mut Past, second: i64, baseline: i32, code: Option<u8>) -> Shown {
        let mut reading = reading(second);
        reading.spectrum = code.map(|code| CanonicalSpectrum::from_codes(vec![code; 2]));
        past.see(&reading, Some(BaselineId(baseline)))
    }

    #[test]
    fn a_window_is_whole_of_one_baseline_and_without_a_gap_or_the_reading_is_alone() {
        let mut past = Past::new(WINDOW, 2);
        assert_eq!(seen(&mut past, 0, 1, Some(1)), Shown::Alone, "two are missing");
        assert_eq!(seen(&mut past, 10, 1, Some(2)), Shown::Alone, "one is missing");
        assert_eq!(seen(&mut past, 20, 1, Some(3)), Shown::Before(vec![1, 1, 2, 2]));
        assert_eq!(seen(&mut past, 30, 1, Some(4)), Shown::Before(vec![2, 2, 3, 3]));
        assert_eq!(seen(&mut past, 40, 2, Some(5)), Shown::Alone, "another baseline");
        assert_eq!(seen(&mut past, 50, 2, Some(6)), Shown::Alone);
        assert_eq!(seen(&mut past, 60, 2, Some(7)), Shown::Before(vec![5, 5, 6, 6]));
        assert_eq!(seen(&mut past, 100, 2, Some(8)), Shown::Alone, "a gap");
    }

    #[test]
    fn what_would_be_shown_and_is_not_kept_makes_it_unknown() {
        let mut past = Past::new(WINDOW, 2);
        seen(&mut past, 0, 1, Some(1));
        seen(&mut past, 10, 1, None);
        assert_eq!(seen(&mut past, 20, 1, Some(3)), Shown::Unknown);
        assert_eq!(seen(&mut past, 30, 1, Some(4)), Shown::Unknown);
        assert_eq!(seen(&mut past, 40, 1, Some(5)), Shown::Before(vec![3, 3, 4, 4]));
        assert_eq!(seen(&mut past, 40, 1, Some(5)), Shown::Unknown, "it comes twice");
        assert_eq!(
            seen(&mut past, 50, 1, Some(6)),
            Shown::Before(vec![4, 4, 5, 5]),
            "and is there once"
        );
    }
}
