//! Everything a commissioned sensor is judged against: its baseline and its own energy.

use tocsin_domain::{Condition, Detector, Scores};

use crate::baseline::{Baseline, Commissioned, Fleet};
use crate::error::{FitError, MalformedModel};
use crate::overall_level::{OverallLevel, log_energy};
use crate::rows::Rows;
use crate::trend::{Conditions, Offset, Trend};

/// A sensor's state when it was commissioned.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Median and scale per bin of its log spectra.
    pub baseline: Baseline,
    /// Distribution of its log energy, at the centre of its conditions.
    pub overall_level: OverallLevel,
    /// How its log energy goes with speed and load.
    pub energy_trend: Option<Trend>,
}

impl Reference {
    /// From what the sensor was commissioned on: the fit of its log spectra, its linear ones and their conditions. `fleet`
    /// and `kappa` as in [`Commissioned::baseline`].
    pub fn new(
        commissioned: &Commissioned,
        linear: Rows<'_>,
        conditions: &[Condition],
        fleet: Option<&Fleet>,
        kappa: f64,
    ) -> Result<Self, FitError> {
        let levels: Vec<f32> = linear.iter().map(|row| log_energy(row) as f32).collect();
        let energy_trend = Conditions::of(conditions)
            .map(|seen| Ok(Trend::fit(Rows::new(&levels, 1)?, conditions, seen)))
            .transpose()?;
        let at_centre =
            |(level, condition): (&f32, &Condition)| f64::from(*level) - added(energy_trend.as_ref(), *condition);
        let overall_level = match energy_trend {
            Some(_) => OverallLevel::of_levels(&levels.iter().zip(conditions).map(at_centre).collect::<Vec<_>>()),
            None => OverallLevel::fit(linear),
        };
        Ok(Self {
            baseline: commissioned.baseline(fleet, kappa),
            overall_level: overall_level?,
            energy_trend,
        })
    }

    /// This reference after its baseline followed the sensor to another median: the scale is as commissioned, and the
    /// energy has moved by as much as the median spectrum's.
    pub fn followed(&self, median: Vec<f32>) -> Result<Self, MalformedModel> {
        let by = energy_of(&median).ln() - energy_of(self.baseline.median()).ln();
        Ok(Self {
            baseline: self.baseline.moved(median)?,
            overall_level: self.overall_level.moved(by),
            energy_trend: self.energy_trend.clone(),
        })
    }

    /// Scores one reading: growth, shift and narrowband of its log spectrum at its offset (its own, or the means of the
    /// sensor's last few), overall level of its linear one in its condition. `z` is working space of one value a bin, and
    /// holds the deviations after.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn score_into(
        &self,
        (linear, condition): (&[f32], Condition),
        (log, offset): (&[f32], Offset),
        z: &mut [f32],
        scores: &mut Scores,
    ) {
        self.baseline.score_into(log, offset, z, scores);
        let level = self.overall_level.moved(added(self.energy_trend.as_ref(), condition));
        scores.set(Detector::OverallLevel, level.score(linear));
    }
}

/// What a condition adds to the log energy.
fn added(trend: Option<&Trend>, condition: Condition) -> f64 {
    let mut level = [0.0];
    if let Some(trend) = trend {
        trend.add(trend.conditions().offset(condition), &mut level);
    }
    f64::from(level[0])
}

/// Energy of a median spectrum in units of s0^2, never 0.
fn energy_of(median: &[f32]) -> f64 {
    let energy: f64 = median.iter().map(|log| f64::from(*log).exp_m1().powi(2)).sum();
    energy.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_spectrum_into;

    #[test]
    fn a_sensor_is_judged_by_its_own_past_whatever_its_gain() {
        let spectrum = |reading: usize, gain: f32| -> Vec<f32> {
            let noise = |bin: usize| 1.0 + 0.2 * ((reading * 7 + bin * 13) as f32).sin();
            (0..64).map(|bin| gain * 0.05 * noise(bin)).collect()
        };
        let log_of = |linear: &[f32]| {
            let mut log = vec![0.0; linear.len()];
            log_spectrum_into(linear, 1e-3, &mut log);
            log
        };
        let scores_of = |gain: f32| {
            let linear: Vec<f32> = (0..100).flat_map(|reading| spectrum(reading, gain)).collect();
            let log = log_of(&linear);
            let commissioned = Commissioned::fit(Rows::new(&log, 64).unwrap(), &[]).unwrap();
            let reference = Reference::new(&commissioned, Rows::new(&linear, 64).unwrap(), &[], None, 100.0).unwrap();
            let mut z = vec![0.0; 64];
            [gain, 4.0 * gain].map(|gain| {
                let (linear, mut scores) = (spectrum(200, gain), Scores::default());
                let log = log_of(&linear);
                let (condition, offset) = Default::default();
                reference.score_into((&linear, condition), (&log, offset), &mut z, &mut scores);
                [Detector::Growth, Detector::OverallLevel].map(|d| scores.get(d).unwrap())
            })
        };
        for gain in [1.0, 10.0] {
            let [healthy, louder] = scores_of(gain);
            assert!(healthy[0] < 2.0 && louder[0] > 5.0, "growth {healthy:?} {louder:?}");
            assert!(louder[1] > 5.0 * healthy[1], "overall level {healthy:?} {louder:?}");
        }
    }
}
