//! By how much two detectors differ, run by run, and whether that is clear.

use super::super::{bootstrap, deviation, mean};
use super::{Figures, Run};

/// Fewest machines whose differences can be clear: of two detectors that are alike, all of fewer lie on one side by
/// chance more often than one time in twenty, and their bootstrap then leaves out 0.
const FEWEST_MACHINES: usize = 6;
/// Fewest seeds whose spread says anything.
const FEWEST_SEEDS: usize = 3;

/// What each run is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Over {
    /// A machine that was left out, means over seeds.
    Machines,
    /// A seed, tested on machines that were trained on.
    Seeds,
}

/// Whose figure is clearly greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Network,
    Baseline,
    /// The interval holds 0.
    Neither,
    /// It would be clear, were there more runs.
    TooFew,
}

/// A figure of the network less the same of the baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Difference {
    /// Mean over runs.
    pub(super) mean: f64,
    /// Over machines the 95 % interval of the mean from resampled machines; over seeds two standard deviations either way,
    /// since one seed's network is what will judge. Nothing with one run.
    interval: Option<[f64; 2]>,
    runs: usize,
    over: Over,
}

impl Difference {
    /// Of the runs in which both detectors, the network first, have the figure; nothing where none has.
    pub(super) fn between(
        runs: &[Run],
        over: Over,
        (network, baseline): (&str, &str),
        figure: fn(&Figures) -> Option<f64>,
    ) -> Option<Self> {
        let of = |run: &Run| Some(figure(run.get(network)?)? - figure(run.get(baseline)?)?);
        let differences: Vec<f64> = runs.iter().filter_map(of).collect();
        let mean = mean(&differences)?;
        let interval = match over {
            Over::Machines => bootstrap(&differences),
            Over::Seeds => deviation(&differences).map(|sd| [mean - 2.0 * sd, mean + 2.0 * sd]),
        };
        Some(Self {
            mean,
            interval,
            runs: differences.len(),
            over,
        })
    }

    pub(super) fn side(&self) -> Side {
        let fewest = match self.over {
            Over::Machines => FEWEST_MACHINES,
            Over::Seeds => FEWEST_SEEDS,
        };
        match self.interval {
            Some([low, high]) if low <= 0.0 && high >= 0.0 => Side::Neither,
            Some([low, _]) if self.runs >= fewest => {
                if low > 0.0 {
                    Side::Network
                } else {
                    Side::Baseline
                }
            }
            _ => Side::TooFew,
        }
    }

    /// The baseline's figure less the network's.
    pub(super) fn reversed(self) -> Self {
        Self {
            mean: -self.mean,
            interval: self.interval.map(|[low, high]| [-high, -low]),
            ..self
        }
    }

    /// What it was measured over, such as `7 machines`.
    pub(super) fn runs(&self) -> String {
        let of = match self.over {
            Over::Machines => "machine",
            Over::Seeds => "seed",
        };
        format!("{} {of}{}", self.runs, if self.runs == 1 { "" } else { "s" })
    }
}

/// The network's figure less the baseline's, and how sure that is.
impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:+.3}", self.mean)?;
        let Some([low, high]) = self.interval else {
            return Ok(());
        };
        let runs = self.runs();
        match self.over {
            Over::Machines => write!(f, " ({low:+.3} to {high:+.3}: 95 %, bootstrap over {runs})"),
            Over::Seeds => write!(f, " ({low:+.3} to {high:+.3}: two standard deviations over {runs})"),
        }
    }
}
