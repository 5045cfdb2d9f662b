//! The scores of everything but the network: the class's detectors, and the sensor's own baseline where it has one.
//! Readings are scored live by this, and again by this when their record is verified.

use std::sync::Arc;

use tocsin_detect::{Baseline, MalformedModel, Trend, log_spectrum_into};
use tocsin_domain::{BaselineId, Codec, Condition, OperatingState, Scores};

use crate::bundle::Bundle;
use crate::detectors::DetectorScratch;

/// Canonical spectra of as many bins each, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct CodedRows<'a> {
    /// The codes of all rows: `full_scale.len()` x `bins`.
    pub codes: &'a [u8],
    /// Bins of a row.
    pub bins: usize,
    /// The full scale of each row in canonical units.
    pub full_scale: &'a [f32],
}

impl CodedRows<'_> {
    /// Linear amplitudes in canonical units, in the same order.
    pub fn decode(&self) -> Vec<f32> {
        let mut linear = vec![0.0; self.codes.len()];
        let mut codec: Option<(f32, Codec)> = None;
        let rows = self.codes.chunks(self.bins).zip(linear.chunks_mut(self.bins));
        for ((codes, amplitudes), full_scale) in rows.zip(self.full_scale) {
            let (_, codec) = match &codec {
                Some(known) if known.0.to_bits() == full_scale.to_bits() => known,
                _ => codec.insert((*full_scale, Codec::with_full_scale(*full_scale))),
            };
            codec.decode_into(codes, amplitudes);
        }
        linear
    }
}

/// A sensor's baseline, ready to hold spectra against.
#[derive(Debug)]
pub struct SensorBaseline {
    /// Its number, for the row.
    pub id: BaselineId,
    /// Where its log transform turns from linear to logarithmic, in canonical units.
    pub s0: f32,
    /// Median and scale per bin, and how they go with speed and load.
    pub baseline: Baseline,
}

impl SensorBaseline {
    /// From what is stored: median and scale per bin, and the trend as the detectors write it.
    ///
    /// # Errors
    /// If they do not fit each other.
    pub fn from_stored(
        id: BaselineId,
        s0: f32,
        (median, scale): (Vec<f32>, Vec<f32>),
        trend: Option<&[u8]>,
    ) -> Result<Self, MalformedModel> {
        let trend = trend.map(Trend::from_bytes).transpose()?;
        let baseline = Baseline::new(median, scale, trend)?;
        Ok(Self { id, s0, baseline })
    }
}

/// What a row is held against, and the condition it was read in.
#[derive(Debug, Clone, Default)]
pub struct Against {
    /// The baseline; none while the sensor is being commissioned.
    pub active: Option<Arc<SensorBaseline>>,
    /// The condition.
    pub condition: Condition,
}

impl Against {
    /// The baseline's number, and what the machine was doing as it knows it.
    pub fn known_as(&self) -> (Option<BaselineId>, Option<OperatingState>) {
        let active = self.active.as_ref();
        (
            active.map(|one| one.id),
            active.map(|one| one.baseline.state(self.condition)),
        )
    }
}

/// Scores rows by everything but the network, each against the baseline given for it.
///
/// # Panics
/// If the rows do not have the bundle's bins.
pub fn detect(bundle: &Bundle, rows: CodedRows<'_>, against: &[Against]) -> Vec<Scores> {
    let linear = rows.decode();
    let mut scores = vec![Scores::default(); rows.full_scale.len()];
    bundle
        .detectors()
        .score_batch(&linear, &mut DetectorScratch::default(), &mut scores);
    hold_against(&linear, against, &mut scores);
    scores
}

/// What the baselines alone give of rows: growth, shift and narrowband, each against the baseline given for it.
///
/// # Panics
/// If a baseline has other bins than the rows.
pub fn against_baselines(rows: CodedRows<'_>, against: &[Against]) -> Vec<Scores> {
    let mut scores = vec![Scores::default(); rows.full_scale.len()];
    hold_against(&rows.decode(), against, &mut scores);
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
pub fn deviations((codes, full_scale): (&[u8], f32), condition: Condition, against: &SensorBaseline) -> Vec<f32> {
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
        against: &SensorBaseline,
    ) -> Vec<f32> {
        let mut z = deviations(spectrum, condition, against);
        shares_in_place(by, &mut z, against.baseline.line_weights());
        z
    }

    #[test]
    fn a_row_with_a_baseline_is_held_against_it_and_its_neighbour_without_one_is_not() {
        let s0 = 1e-3;
        let healthy = [0.05_f32; 64];
        let mut median = vec![0.0; 64];
        log_spectrum_into(&healthy, s0, &mut median);
        let active = Arc::new(SensorBaseline {
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
        let active = Arc::new(SensorBaseline {
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
        let active = SensorBaseline {
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
