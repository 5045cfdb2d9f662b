//! The detectors, and the scores of one reading.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// A way to ask how unlike healthy a spectrum is. The number is its place in a row and its bit in a mask, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Detector {
    /// Reconstruction error of the autoencoder.
    Residual = 0,
    /// Two-sided z-score of the spectrum's log energy.
    OverallLevel = 1,
    /// Isolation forest (Liu, Ting and Zhou 2008).
    Isolation = 2,
    /// One-sided growth over the sensor's baseline.
    Growth = 3,
    /// Two-sided shift from the sensor's baseline.
    Shift = 4,
    /// A rise in few bins over their neighbours.
    Narrowband = 5,
    /// Squared prediction error of a principal component model.
    Pca = 6,
    /// Mahalanobis distance under a Ledoit-Wolf covariance.
    Mahalanobis = 7,
    /// The overall levels in the zones of the machine's class. The score is the level: its lines are 1 and 2, always.
    Severity = 8,
}

impl Detector {
    /// How many there are.
    pub const COUNT: usize = 9;

    /// All of them, in row order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Residual,
        Self::OverallLevel,
        Self::Isolation,
        Self::Growth,
        Self::Shift,
        Self::Narrowband,
        Self::Pca,
        Self::Mahalanobis,
        Self::Severity,
    ];

    /// The name in reports, rows and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Residual => "residual",
            Self::OverallLevel => "overall_level",
            Self::Isolation => "isolation",
            Self::Growth => "growth",
            Self::Shift => "shift",
            Self::Narrowband => "narrowband",
            Self::Pca => "pca",
            Self::Mahalanobis => "mahalanobis",
            Self::Severity => "severity",
        }
    }

    /// Whether it holds a reading against its sensor's own baseline: a sensor without one has no such score.
    pub fn needs_baseline(self) -> bool {
        matches!(self, Self::Growth | Self::Shift | Self::Narrowband)
    }

    /// The detector stored as `number`.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Detector {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|d| d.as_str() == text);
        found.ok_or_else(|| Invalid::new("detector", format!("{text:?} is not a detector")))
    }
}

/// Which detectors a reading was judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct DetectorMask(pub u16);

impl DetectorMask {
    /// Whether `detector` is in it.
    pub fn contains(self, detector: Detector) -> bool {
        self.0 & (1 << detector as u8) != 0
    }

    /// The mask with `detector` added.
    #[must_use]
    pub fn with(self, detector: Detector) -> Self {
        Self(self.0 | 1 << detector as u8)
    }

    /// The mask without `detector`.
    #[must_use]
    pub fn without(self, detector: Detector) -> Self {
        Self(self.0 & !(1 << detector as u8))
    }
}

/// One reading's raw score per detector; absent where a detector did not judge.
///
/// **Invariant:** the value of an absent score is 0, so that equality needs no mask.
#[derive(Clone, Copy, PartialEq, Default)]
pub struct Scores {
    values: [f32; Detector::COUNT],
    present: DetectorMask,
}

impl Scores {
    /// The score of `detector`.
    pub fn get(&self, detector: Detector) -> Option<f32> {
        let is_present = self.present.contains(detector);
        is_present.then(|| self.values[detector as usize])
    }

    /// Sets the score of `detector`. A score that isn't finite is taken as the largest finite one: a detector that
    /// overflowed has seen something very unlike healthy.
    pub fn set(&mut self, detector: Detector, score: f32) {
        self.values[detector as usize] = if score.is_finite() { score } else { f32::MAX };
        self.present = self.present.with(detector);
    }

    /// Removes the score of `detector`.
    pub fn clear(&mut self, detector: Detector) {
        self.values[detector as usize] = 0.0;
        self.present = self.present.without(detector);
    }

    /// Which detectors have a score.
    pub fn mask(&self) -> DetectorMask {
        self.present
    }

    /// The scores present, in row order.
    pub fn iter(&self) -> impl Iterator<Item = (Detector, f32)> + '_ {
        Detector::ALL
            .into_iter()
            .filter_map(|d| self.get(d).map(|score| (d, score)))
    }
}

impl fmt::Debug for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detector_keeps_its_number_and_name() {
        for (number, detector) in Detector::ALL.into_iter().enumerate() {
            assert_eq!(detector as usize, number);
            assert_eq!(Detector::from_number(number as u8), Some(detector));
            assert_eq!(detector.as_str().parse::<Detector>().unwrap(), detector);
        }
        assert_eq!(Detector::from_number(9), None);
    }

    #[test]
    fn the_mask_holds_just_the_detectors_that_scored() {
        let mut scores = Scores::default();
        scores.set(Detector::Isolation, 0.4);
        scores.set(Detector::Residual, f32::INFINITY);
        assert_eq!(scores.mask(), DetectorMask(0b101));
        assert_eq!(scores.get(Detector::Residual), Some(f32::MAX));
        assert!(!scores.mask().contains(Detector::Pca));
        let mut cleared = scores;
        cleared.set(Detector::Pca, 3.0);
        cleared.clear(Detector::Pca);
        assert_eq!((cleared, cleared.mask()), (scores, scores.mask()));
    }
}
