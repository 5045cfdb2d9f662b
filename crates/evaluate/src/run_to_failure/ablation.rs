//! The product's parts weighed one by one: the same machines, with one thing left out or done otherwise at a time.

use serde::Serialize;
use tocsin_domain::Detector;
use tocsin_judge::Persistence;

use super::{Method, Setting, Summary, run_to_failure};
use crate::life::MachineLife;
use crate::rules::Rules;
use crate::trial::TrialError;
use crate::variation::{Against, Lines, Variation};

/// How many variants there are, the product itself included.
pub const ABLATIONS: usize = 11;

/// One variant's row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ablated {
    /// What was done otherwise.
    pub variant: &'static str,
    /// All machines together.
    #[serde(flatten)]
    pub summary: Summary,
}

/// Judges the machines under every variant of `rules`, the product first. `progress` is called once a variant is done.
pub fn ablation(
    lives: &[MachineLife],
    fleet: &[MachineLife],
    rules: &Rules,
    progress: impl Fn(),
) -> Result<Vec<Ablated>, TrialError> {
    let row = |(variant, rules, variation): (&'static str, Rules, Variation)| -> Result<Ablated, TrialError> {
        let setting = Setting {
            method: Method::Baselines(variation),
            ..Setting::new(rules)
        };
        let summary = run_to_failure(lives, fleet, &setting, || {})?.summary;
        progress();
        Ok(Ablated { variant, summary })
    };
    variants(rules).into_iter().map(row).collect()
}

fn variants(rules: &Rules) -> [(&'static str, Rules, Variation); ABLATIONS] {
    let (rules, product) = (*rules, Variation::default());
    let without = |without| Variation { without, ..product };
    let persistence = |k, n| Rules {
        persistence: Persistence {
            k,
            n,
            ..rules.persistence
        },
        ..rules
    };
    let smoothing = |smoothing| Rules { smoothing, ..rules };
    let own_tail = Variation {
        lines: Lines::OwnTail,
        ..product
    };
    let fleet_median = Variation {
        against: Against::FleetMedian,
        ..product
    };
    let no_pooling = Rules { kappa: 0.0, ..rules };
    [
        ("default", rules, product),
        ("without narrowband", rules, without(&[Detector::Narrowband])),
        ("without shift", rules, without(&[Detector::Shift])),
        (
            "growth alone",
            rules,
            without(&[Detector::Narrowband, Detector::Shift, Detector::OverallLevel]),
        ),
        ("no partial pooling", no_pooling, product),
        ("fleet median baseline", rules, fleet_median),
        ("own commissioning tail", rules, own_tail),
        ("1 of 1", persistence(1, 1), product),
        ("3 of 5", persistence(3, 5), product),
        ("smoothing 3", smoothing(3), product),
        ("smoothing 6", smoothing(6), product),
    ]
}
