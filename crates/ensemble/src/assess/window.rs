//! What a temporal network is shown with a reading: the last spectra of its sensor, stored or earlier in the same group.
//!
//! A window holds a sensor's spectra that follow one another with no gap and were held against the same baseline, or
//! against none: of a commissioned sensor none reaches over a repair. Where there are too few, the reading is scored alone, and its row names no predecessors.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tocsin_contracts::ensemble::PlacedReading;
use tocsin_domain::{BaselineId, ReadingKey, SensorId, Timestamp};
use tocsin_models::Window;
use tocsin_store::Store;
use tocsin_store::reading::{Past, PastSpectrum, Predecessors};

use super::Pending;
use crate::baselines::Known;
use crate::bindings::{Active, Limits};
use crate::error::Failure;
use crate::gather::Job;

/// What is stored of the sensors of a group, before its readings.
#[derive(Debug, Default)]
pub(crate) struct History(HashMap<SensorId, Vec<PastSpectrum>>);

/// A window that ends with a reading.
#[derive(Debug, Clone)]
pub(super) struct Windowed {
    /// Codes of its spectra, oldest first, the reading's own last.
    pub(super) codes: Vec<u8>,
    /// What the row names.
    pub(super) predecessors: Predecessors,
}

/// A sensor's spectra in order of capture, and the baseline each was held against.
type Timeline<'a> = BTreeMap<Timestamp, (Option<BaselineId>, &'a [u8])>;

impl Limits {
    /// What makes a window for the class's bundle; nothing where it judges each spectrum alone.
    pub(crate) fn window(&self) -> Option<Window> {
        self.bundle.manifest().temporal.as_ref().map(|temporal| temporal.window)
    }
}

impl History {
    /// Reads what the windows of a group may hold.
    pub(crate) async fn read(store: &Store, group: &[Job], active: &Active) -> Result<Self, Failure> {
        let of_class = |placed: &PlacedReading| {
            let limits = active.get(&placed.class).and_then(|class| class.limits.as_ref());
            Some((limits.and_then(Limits::window)?, placed.reading.key))
        };
        let readings = group.iter().flat_map(|job| &job.assessment.readings);
        let wanted: Vec<(Window, ReadingKey)> = readings.filter_map(of_class).collect();
        let stored = Self::before(store, &wanted).await;
        stored.map_err(|error| Failure::Unavailable(Arc::new(error)))
    }

    /// What is stored before readings, as far back as windows that end with them reach.
    pub(crate) async fn before(store: &Store, readings: &[(Window, ReadingKey)]) -> Result<Self, tocsin_store::Error> {
        let Some(longest) = readings.iter().map(|(window, _)| window.spectra).max() else {
            return Ok(Self::default());
        };
        // One for each reading: a late one's past is not that of the newest.
        let stretch = |(window, key): &(Window, ReadingKey)| {
            let reach = window.most_gap_ms.saturating_mul(u64::from(window.spectra));
            Past {
                sensor: key.sensor,
                from: key.captured_at - std::time::Duration::from_millis(reach),
                to: key.captured_at,
            }
        };
        let stretches: Vec<Past> = readings.iter().map(stretch).collect();
        let mut history = Self::default();
        for spectrum in store.spectra_before(&stretches, longest.into()).await? {
            history.0.entry(spectrum.sensor).or_default().push(spectrum);
        }
        Ok(history)
    }

    /// Codes of the window that ends with a stored reading, held against `baseline`; nothing where its past does not reach
    /// so far.
    pub(crate) fn window(
        &self,
        window: Window,
        key: ReadingKey,
        baseline: Option<BaselineId>,
        codes: &[u8],
    ) -> Option<Vec<u8>> {
        let timeline = self.stored(key.sensor, codes.len());
        let windowed = ending_with(window, &timeline, (key.captured_at, baseline, codes))?;
        Some(windowed.codes)
    }

    /// The windows of the readings at some places, all of whose spectra have the bundle's bins.
    pub(super) fn windows(
        &self,
        window: Window,
        baselines: &Known,
        (readings, fitting): (&[Pending], &[usize]),
        bins: usize,
    ) -> Vec<(usize, Windowed)> {
        // History and what is live have nothing of each other before them, though they may be committed together.
        let mut timelines: HashMap<(SensorId, bool), Timeline<'_>> = HashMap::new();
        for place in fitting {
            let (reading, historical) = (&readings[*place].placed.reading, readings[*place].stream.historical);
            let sensor = reading.key.sensor;
            let baseline = baselines.of(sensor, bins).map(|active| active.id);
            let timeline = timelines
                .entry((sensor, historical))
                .or_insert_with(|| self.stored(sensor, bins));
            // What is stored stays, whatever else is sent for the same instant.
            let own = (baseline, reading.spectrum.codes());
            timeline.entry(reading.key.captured_at).or_insert(own);
        }
        let windows = fitting.iter().filter_map(|place| {
            let reading = &readings[*place].placed.reading;
            let baseline = baselines.of(reading.key.sensor, bins).map(|active| active.id);
            let timeline = timelines.get(&(reading.key.sensor, readings[*place].stream.historical))?;
            let own = (reading.key.captured_at, baseline, reading.spectrum.codes());
            Some((*place, ending_with(window, timeline, own)?))
        });
        windows.collect()
    }

    /// What is stored of a sensor's past, of so many bins.
    fn stored(&self, sensor: SensorId, bins: usize) -> Timeline<'_> {
        let stored = self.0.get(&sensor).into_iter().flatten();
        let stored = stored.filter(|spectrum| spectrum.codes.len() == bins);
        stored
            .map(|one| (one.captured_at, (one.baseline, one.codes.as_slice())))
            .collect()
    }
}

/// The window that ends with a spectrum; nothing where its past does not reach so far.
fn ending_with(
    window: Window,
    timeline: &Timeline<'_>,
    (captured_at, baseline, codes): (Timestamp, Option<BaselineId>, &[u8]),
) -> Option<Windowed> {
    let wanted = usize::from(window.spectra) - 1;
    let (mut spectra, mut oldest) = (vec![codes], captured_at);
    for (at, (held_against, codes)) in timeline.range(..captured_at).rev().take(wanted) {
        if !window.joins(*at, oldest) || *held_against != baseline {
            return None;
        }
        spectra.push(codes);
        oldest = *at;
    }
    if spectra.len() <= wanted {
        return None;
    }
    spectra.reverse();
    Some(Windowed {
        codes: spectra.concat(),
        predecessors: Predecessors {
            oldest,
            count: i16::try_from(wanted).ok()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        spectra: 3,
        most_gap_ms: 25_000,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    #[test]
    fn a_window_is_whole_of_one_baseline_and_without_a_gap_or_there_is_none() {
        let (one, other) = (Some(BaselineId(1)), Some(BaselineId(2)));
        let codes = [[1_u8; 2], [2; 2], [3; 2], [4; 2], [5; 2]];
        let timeline: Timeline<'_> = [(0, other), (10, one), (20, one), (50, one), (60, one)]
            .into_iter()
            .zip(&codes)
            .map(|((second, baseline), codes)| (at(second), (baseline, &codes[..])))
            .collect();
        let ending = |second, baseline| ending_with(WINDOW, &timeline, (at(second), baseline, &[9; 2]));
        let whole = ending(30, one).unwrap();
        assert_eq!(whole.codes, [2, 2, 3, 3, 9, 9]);
        assert_eq!((whole.predecessors.oldest, whole.predecessors.count), (at(10), 2));
        assert!(
            ending(30, other).is_none(),
            "its past was held against another baseline"
        );
        assert!(ending(20, one).is_none(), "the first was held against another baseline");
        assert!(ending(60, one).is_none(), "a gap lies between");
        assert!(ending(10, other).is_none(), "there are too few");
        assert_eq!(
            ending(61, one).map(|window| window.predecessors.count),
            Some(2),
            "later ones don't count"
        );
    }
}
