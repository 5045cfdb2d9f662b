//! The scores of everything but the network: the class's detectors, and the sensor's own baseline where it has one.

use std::sync::Arc;

use tocsin_contracts::scorer::Spectra;
use tocsin_detect::log_spectrum_into;
use tocsin_domain::{BaselineId, Codec, Condition, OperatingState, Scores};
use tocsin_models::{Bundle, DetectorScratch};

use crate::baselines::ActiveBaseline;

/// What a row is held against, and the condition it was read in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Against {
    pub(crate) active: Option<Arc<ActiveBaseline>>,
    pub(crate) condition: Condition,
}

impl Against {
    /// The baseline's number, and what the machine was doing as it knows it.
    pub(crate) fn known_as(&self) -> (Option<BaselineId>, Option<OperatingState>) {
        let active = self.active.as_ref();
        (
            active.map(|one| one.id),
            active.map(|one| one.baseline.state(self.condition)),
        )
    }
}

/// Scores rows, each against the baseline given for it.
pub(crate) fn detect(bundle: &Bundle, spectra: &Spectra, against: &[Against]) -> Vec<Scores> {
    let mut linear = vec![0.0; spectra.codes.len()];
    let mut codec: Option<(f32, Codec)> = None;
    let rows = spectra.codes.chunks(spectra.bins).zip(linear.chunks_mut(spectra.bins));
    for ((codes, amplitudes), full_scale) in rows.zip(&spectra.full_scale) {
        let (_, codec) = match &codec {
            Some(known) if known.0.to_bits() == full_scale.to_bits() => known,
            _ => codec.insert((*full_scale, Codec::with_full_scale(*full_scale))),
        };
        codec.decode_into(codes, amplitudes);
    }
    let mut scores = vec![Scores::default(); spectra.rows()];
    bundle
        .detectors()
        .score_batch(&linear, &mut DetectorScratch::default(), &mut scores);
    hold_against(&linear, against, &mut scores);
    scores
}

/// Adds growth, shift and narrowband to the rows that have a baseline, which must have as many bins; the others cost a
/// look.
fn hold_against(linear: &[f32], against: &[Against], scores: &mut [Scores]) {
    let bins = linear.len() / against.len().max(1);
    let (mut log, mut z) = (vec![0.0; bins], vec![0.0; bins]);
    for ((amplitudes, against), scores) in linear.chunks(bins.max(1)).zip(against).zip(scores) {
        let Some(active) = &against.active else { continue };
        log_spectrum_into(amplitudes, active.s0, &mut log);
        let offset = active.baseline.offset(against.condition);
        active.baseline.score_into(&log, offset, &mut z, scores);
    }
}

/// How far each bin of one spectrum, read in a condition, deviates from its baseline, which must have as many bins.
pub(crate) fn deviations(
    (codes, full_scale): (&[u8], f32),
    condition: Condition,
    against: &ActiveBaseline,
) -> Vec<f32> {
    let (mut linear, mut log) = (vec![0.0; codes.len()], vec![0.0; codes.len()]);
    Codec::with_full_scale(full_scale).decode_into(codes, &mut linear);
    log_spectrum_into(&linear, against.s0, &mut log);
    let mut z = linear;
    let offset = against.baseline.offset(condition);
    against.baseline.deviations_into(&log, offset, &mut z);
    z
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_detect::deviation::shares_in_place;
    use tocsin_detect::{Baseline, Conditions, Trend};
    use tocsin_domain::Detector;

    fn deviation_shares(
        by: Detector,
        spectrum: (&[u8], f32),
        condition: Condition,
        against: &ActiveBaseline,
    ) -> Vec<f32> {
        let mut z = deviations(spectrum, condition, against);
        shares_in_place(by, &mut z);
        z
    }

    #[test]
    fn a_row_with_a_baseline_is_held_against_it_and_its_neighbour_without_one_is_not() {
        let s0 = 1e-3;
        let healthy = [0.05_f32; 64];
        let mut median = vec![0.0; 64];
        log_spectrum_into(&healthy, s0, &mut median);
        let active = Arc::new(ActiveBaseline {
            id: BaselineId(1),
            s0,
            baseline: Baseline::new(median, vec![0.1; 64], None).unwrap(),
        });
        let louder = healthy.map(|amplitude| 2.0 * amplitude);
        let linear: Vec<f32> = [healthy, louder, louder].concat();
        let mut scores = vec![Scores::default(); 3];
        let against = [Some(active.clone()), Some(active), None].map(|active| Against {
            active,
            condition: Condition::default(),
        });
        hold_against(&linear, &against, &mut scores);
        assert_eq!(scores[0].get(Detector::Growth), Some(0.0));
        let growth = scores[1].get(Detector::Growth).unwrap();
        assert!((growth - 2.0_f32.ln() / 0.1).abs() < 0.2, "{growth}");
        assert_eq!(scores[1].get(Detector::Narrowband), Some(0.0), "all rose as one");
        assert_eq!(scores[2], Scores::default());
    }

    #[test]
    fn a_row_is_held_against_what_its_speed_makes_of_the_baseline_and_an_unseen_speed_is_said_to_be_unseen() {
        let at = |rpm: f32| Condition {
            rpm: Some(rpm),
            load: None,
            ..Condition::default()
        };
        let seen: Vec<Condition> = (0..40_u8).map(|nth| at(1_000.0 + 25.0 * f32::from(nth))).collect();
        let slopes = [vec![2.0; 64], vec![0.0; 64]].concat();
        let trend = Trend::new(Conditions::of(&seen).unwrap(), slopes).unwrap();
        let usual = trend.conditions().usual().rpm.unwrap();
        let (s0, amplitude) = (1e-3, 0.5_f32);
        let median = vec![(1.0 + amplitude / s0).ln(); 64];
        let active = Arc::new(ActiveBaseline {
            id: BaselineId(1),
            s0,
            baseline: Baseline::new(median, vec![0.1; 64], Some(trend)).unwrap(),
        });
        let growth_at = |rpm: f32| {
            let linear = vec![amplitude * (rpm / usual).powi(2); 64];
            let against = Against {
                active: Some(active.clone()),
                condition: at(rpm),
            };
            let mut scores = [Scores::default()];
            hold_against(&linear, std::slice::from_ref(&against), &mut scores);
            (scores[0].get(Detector::Growth).unwrap(), against.known_as().1.unwrap())
        };
        for rpm in [1_100.0, 1_800.0] {
            let (growth, state) = growth_at(rpm);
            assert!(
                growth < 0.2 && state == OperatingState::Known,
                "{rpm}: {growth} {state:?}"
            );
        }
        assert_eq!(growth_at(4_000.0).1, OperatingState::Unseen);
        assert_eq!(growth_at(0.0).1, OperatingState::Stopped);
    }

    #[test]
    fn the_bins_that_rose_over_the_baseline_share_what_growth_saw() {
        let (s0, full_scale) = (1e-3, 10.0);
        let codec = Codec::with_full_scale(full_scale);
        let mut codes = vec![100_u8; 64];
        let log_of = |codes: &[u8]| {
            let (mut linear, mut log) = (vec![0.0; 64], vec![0.0; 64]);
            codec.decode_into(codes, &mut linear);
            log_spectrum_into(&linear, s0, &mut log);
            log
        };
        let active = ActiveBaseline {
            id: BaselineId(1),
            s0,
            baseline: Baseline::new(log_of(&codes), vec![0.1; 64], None).unwrap(),
        };
        (codes[20], codes[21], codes[50]) = (120, 120, 60);
        let growth = deviation_shares(Detector::Growth, (&codes, full_scale), Condition::default(), &active);
        assert!((growth[20] - 0.5).abs() < 1e-6 && (growth[21] - 0.5).abs() < 1e-6);
        assert_eq!(growth[50], 0.0, "what fell is not growth");
        let shift = deviation_shares(Detector::Shift, (&codes, full_scale), Condition::default(), &active);
        assert!(shift[50] > 0.3);
    }
}
