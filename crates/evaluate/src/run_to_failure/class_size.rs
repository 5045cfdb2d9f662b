//! How much worse are limits that fewer machines stand behind?

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::Serialize;

use super::{Setting, Summary, others, run_to_failure};
use crate::life::MachineLife;
use crate::trial::TrialError;

/// Some of a fold's other machines, drawn without replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// How many.
    pub machines: usize,
    /// The seed; each fold draws its own.
    pub seed: u64,
}

impl Draw {
    /// Keeps what is drawn, in its order.
    pub(super) fn keep(self, others: &mut Vec<&MachineLife>, fold: usize) {
        let mut places: Vec<usize> = (0..others.len()).collect();
        let seed = self.seed.wrapping_mul(1_000_003).wrapping_add(fold as u64);
        places.shuffle(&mut StdRng::seed_from_u64(seed));
        places.truncate(self.machines);
        places.sort_unstable();
        *others = places.into_iter().map(|place| others[place]).collect();
    }
}

/// How often to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draws {
    /// Draws of each size.
    pub count: u64,
    /// The first one's seed.
    pub seed: u64,
}

/// What became of the machines under limits of so many others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassSize {
    /// Machines that limits were learned from.
    pub learned_from: usize,
    /// Mean over draws of the machines with a valid page.
    pub valid: f64,
    /// The fewest of any draw.
    pub valid_least: usize,
    /// Mean over draws of the pages opened before 35 % of life.
    pub false_pages_before_35: f64,
    /// Mean over draws of those before half of it.
    pub false_pages_before_50: f64,
    /// The most of any draw.
    pub false_pages_before_50_most: usize,
    /// Mean over draws of the share of the judged steps before half of life that stood under a page.
    pub false_page_share: f64,
    /// Mean over draws of the median lead in steps.
    pub median_lead_readings: f64,
    /// Draw by draw.
    pub draws: Vec<Summary>,
}

/// Judges the machines under limits of so many of the others, for each of `sizes` and several draws. `progress` is called
/// once a draw is done.
///
/// Fails where a fold has fewer others.
pub fn class_sizes(
    lives: &[MachineLife],
    fleet: &[MachineLife],
    setting: &Setting<'_>,
    sizes: &[usize],
    draws: Draws,
    progress: impl Fn(),
) -> Result<Vec<ClassSize>, TrialError> {
    let there = (0..lives.len()).map(|at| others(lives, fleet, at).count()).min();
    let there = there.unwrap_or_default();
    if let Some(&asked) = sizes.iter().find(|size| **size > there) {
        return Err(TrialError::ClassSize { asked, there });
    }
    let mut found = Vec::with_capacity(sizes.len());
    for &machines in sizes {
        let mut summaries = Vec::new();
        for nth in 0..draws.count {
            let draw = Draw {
                machines,
                seed: draws.seed.wrapping_add(nth),
            };
            let setting = Setting {
                draw: Some(draw),
                ..*setting
            };
            summaries.push(run_to_failure(lives, fleet, &setting, || {})?.summary);
            progress();
        }
        found.push(ClassSize::of(machines, summaries));
    }
    Ok(found)
}

impl ClassSize {
    fn of(learned_from: usize, draws: Vec<Summary>) -> Self {
        let mean = |of: fn(&Summary) -> f64| draws.iter().map(of).sum::<f64>() / draws.len().max(1) as f64;
        Self {
            learned_from,
            valid: mean(|draw| draw.valid as f64),
            valid_least: draws.iter().map(|draw| draw.valid).min().unwrap_or_default(),
            false_pages_before_35: mean(|draw| draw.false_pages_before_35 as f64),
            false_pages_before_50: mean(|draw| draw.false_pages_before_50 as f64),
            false_pages_before_50_most: draws
                .iter()
                .map(|draw| draw.false_pages_before_50)
                .max()
                .unwrap_or_default(),
            false_page_share: mean(|draw| draw.false_page_share),
            median_lead_readings: mean(|draw| draw.median_lead_readings),
            draws,
        }
    }
}
