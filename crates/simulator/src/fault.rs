//! How machines fail, and what that adds to their spectra.
//!
//! Signatures follow the usual diagnostic tables (ISO 13373-3; Randall, "Vibration-based Condition Monitoring", 2011).
//! Those of bearings are trains of impacts: on the inner race modulated by the shaft as the spall turns through the load
//! zone (`McFadden` & Smith, "Model for the vibration produced by a single point defect in a rolling element bearing",
//! Journal of Sound and Vibration, 1984), on an element by the cage. Elements slip at random, so that high harmonics run
//! together and show as noise where the structure resonates (Randall & Antoni, "Rolling element bearing diagnostics: a
//! tutorial", Mechanical Systems and Signal Processing, 2011).

use serde::{Deserialize, Serialize};
use tocsin_detect::Bearing;
use tocsin_domain::{Slug, Timestamp};

use crate::lines::Lines;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Spalled outer race: harmonics of the BPFO, strongest where the structure resonates.
    OuterRace,
    /// Spalled inner race: harmonics of the BPFI with sidebands of the shaft rate.
    InnerRace,
    /// Unbalanced tool or spindle: the shaft rate grows.
    Imbalance,
    /// Misaligned coupling: twice the shaft rate grows.
    Misalignment,
    /// Loose foot or bearing seat: many harmonics and half-orders of the shaft rate.
    Looseness,
    /// Starved of lubricant: broadband noise rises, most at high frequency.
    LubricationStarvation,
    /// The mounting of sensor or spindle cartridge comes loose: less and less gets through, least of the high
    /// frequencies. The one that is quieter than healthy.
    MountingLoosened,
    /// Spalled rolling element: harmonics of twice the BSF with sidebands of the cage's rate.
    Ball,
    /// A belt or coupling slips until the load is gone: what the load excites falls to what idling leaves. Quieter
    /// than healthy.
    LossOfLoad,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::OuterRace,
        Self::InnerRace,
        Self::Ball,
        Self::Imbalance,
        Self::Misalignment,
        Self::Looseness,
        Self::LubricationStarvation,
        Self::MountingLoosened,
        Self::LossOfLoad,
    ];

    /// The kinds that befall a machining spindle in a [`crate::Schedule`].
    pub const SPINDLE: [Self; 7] = [
        Self::OuterRace,
        Self::InnerRace,
        Self::Imbalance,
        Self::Misalignment,
        Self::Looseness,
        Self::LubricationStarvation,
        Self::MountingLoosened,
    ];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::OuterRace => "outer_race",
            Self::InnerRace => "inner_race",
            Self::Imbalance => "imbalance",
            Self::Misalignment => "misalignment",
            Self::Looseness => "looseness",
            Self::LubricationStarvation => "lubrication_starvation",
            Self::MountingLoosened => "mounting_loosened",
            Self::Ball => "ball",
            Self::LossOfLoad => "loss_of_load",
        }
    }

    /// Whether it makes a machine louder.
    pub fn grows(self) -> bool {
        !matches!(self, Self::MountingLoosened | Self::LossOfLoad)
    }
}

/// One fault of one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// The machine's site.
    pub site: Slug,
    /// The machine.
    pub machine: Slug,
    /// When it begins: the machine is healthy before.
    pub onset: Timestamp,
    /// When the machine would break down. It stays as bad as then, should it run on.
    pub failure: Timestamp,
    /// How much faster it grows at the end than at the beginning: the exponent of the growth, 0 is linear.
    pub growth: f64,
}

impl Fault {
    /// Severity at `at`, 0 (healthy) to 1 (failed): (exp(growth x) - 1) / (exp(growth) - 1), x the share of onset to
    /// failure that has passed.
    pub fn severity(&self, at: Timestamp) -> f64 {
        grown(self.onset, self.failure, self.growth, at)
    }
}

/// Severity at `at` of what begins at `onset` with 0 and has reached 1 at `failure`: exponential growth, as degradation
/// signals of bearings are modelled (Gebraeel, Lawley, Li & Ryan, "Residual-life distributions from component
/// degradation signals: a Bayesian approach", IIE Transactions, 2005).
pub(crate) fn grown(onset: Timestamp, failure: Timestamp, growth: f64, at: Timestamp) -> f64 {
    let life = failure.since(onset).as_secs_f64();
    let passed = at.since(onset).as_secs_f64();
    if passed <= 0.0 {
        return 0.0;
    }
    if passed >= life {
        return 1.0;
    }
    let share = passed / life;
    if growth.abs() < 1e-6 {
        share
    } else {
        (growth * share).exp_m1() / growth.exp_m1()
    }
}

/// What a fault does to everything that is not a line.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Broadening {
    /// Added to the broadband gain where the structure resonates.
    pub(crate) resonance: f32,
    /// Added to the broadband gain at the top of the range, falling towards its bottom.
    pub(crate) treble: f32,
    /// Nepers lost at the top of the range, falling to a quarter at its bottom.
    pub(crate) damping: f32,
    /// Share of the load that is no longer carried; above 1 counts as 1.
    pub(crate) slack: f32,
}

impl Broadening {
    /// The effect of one fault, added to others.
    pub(crate) fn add(&mut self, kind: FaultKind, severity: f64) {
        let severity = severity as f32;
        match kind {
            FaultKind::OuterRace | FaultKind::InnerRace | FaultKind::Ball => self.resonance += 6.0 * severity,
            FaultKind::Looseness => self.resonance += 2.0 * severity,
            FaultKind::LubricationStarvation => self.treble += 12.0 * severity,
            FaultKind::MountingLoosened => self.damping += 4.0 * severity,
            FaultKind::LossOfLoad => self.slack += severity,
            FaultKind::Imbalance | FaultKind::Misalignment => {}
        }
    }
}

/// Adds a fault's lines at a shaft rate in Hz. Amplitudes in g grow in proportion to `severity`.
pub(crate) fn add_lines(kind: FaultKind, severity: f64, bearing: &Bearing, shaft_hz: f64, lines: &mut Lines<'_>) {
    match kind {
        FaultKind::OuterRace => {
            let bpfo_hz = bearing.rates(shaft_hz).bpfo_hz;
            for order in 1..=20 {
                let hz = bpfo_hz * f64::from(order);
                lines.add(hz, severity * impact(order, lines.resonance_at(hz)));
            }
        }
        FaultKind::InnerRace => {
            let bpfi_hz = bearing.rates(shaft_hz).bpfi_hz;
            for order in 1..=14 {
                let hz = bpfi_hz * f64::from(order);
                let amplitude = severity * impact(order, lines.resonance_at(hz));
                lines.add(hz, amplitude);
                // The defect turns through the load zone once a revolution, which modulates the impacts.
                for (sideband, share) in [(1.0, 0.5), (2.0, 0.25)] {
                    lines.add(hz - sideband * shaft_hz, share * amplitude);
                    lines.add(hz + sideband * shaft_hz, share * amplitude);
                }
            }
        }
        FaultKind::Ball => {
            let rates = bearing.rates(shaft_hz);
            for order in 1..=14 {
                // A spall strikes both races in a turn of the element, and is carried round by the cage.
                let hz = 2.0 * rates.bsf_hz * f64::from(order);
                let amplitude = severity * impact(order, lines.resonance_at(hz));
                lines.add(hz, amplitude);
                lines.add(hz - rates.ftf_hz, 0.5 * amplitude);
                lines.add(hz + rates.ftf_hz, 0.5 * amplitude);
            }
        }
        FaultKind::Imbalance => {
            for (order, amplitude) in [(1.0, 2.5), (2.0, 0.4), (3.0, 0.15)] {
                lines.add_locked(shaft_hz * order, severity * amplitude);
            }
        }
        FaultKind::Misalignment => {
            for (order, amplitude) in [(1.0, 0.8), (2.0, 2.0), (3.0, 0.7), (4.0, 0.3)] {
                lines.add_locked(shaft_hz * order, severity * amplitude);
            }
        }
        FaultKind::Looseness => {
            for half_order in 1..=24 {
                let order = f64::from(half_order) / 2.0;
                lines.add_locked(shaft_hz * order, severity * 1.2 / (1.0 + 0.15 * order));
            }
        }
        FaultKind::LubricationStarvation | FaultKind::MountingLoosened | FaultKind::LossOfLoad => {}
    }
}

/// Amplitude in g at failure of the `order`-th harmonic of a train of impacts: a spall's edge softens with order, and
/// a resonance rings.
fn impact(order: i32, resonance: f64) -> f64 {
    0.7 * (-f64::from(order) / 6.0).exp() + 0.8 * resonance
}
