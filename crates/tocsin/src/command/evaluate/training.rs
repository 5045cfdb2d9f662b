//! Trains networks on a corpus and measures each: on all machines, on all but one in turn, or with faults among the rows
//! taken for healthy.

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use tocsin_corpus::Row;
use tocsin_domain::{Slug, SpectrumSpec};
use tocsin_evaluate::{Parts, Report, Run, measure, summarise, summarise_machines};
use tocsin_models::Bundle;
use tocsin_trainer::{FitOptions, Trained};

use super::contamination::{Planted, Told};
use super::networks::Recipe;
use crate::command::corpora::bar;
use crate::command::train::{Fitting, fit};

/// The fewest machines that can be left out in turn.
const FEWEST_MACHINES: usize = 3;

/// What is trained, on what, how often.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    pub(super) rows: &'a [Row],
    pub(super) spec: &'a SpectrumSpec,
    pub(super) recipes: &'a [Recipe],
    pub(super) seeds: u64,
    /// Share of rows trimmed.
    pub(super) trim: f64,
}

impl Trial<'_> {
    /// Every network with every seed, on the rows of all machines.
    pub(super) fn together(&self) -> Result<Report> {
        let parts = Parts::from_rows(self.spec, self.rows)?;
        let bar = bar(
            self.seeds * self.recipes.len() as u64,
            "{pos}/{len} bundles trained, {eta} left",
        );
        let runs = self.runs(self.rows, &parts, &bar)?;
        bar.finish_and_clear();
        Ok(summarise(self.seeds as usize, &runs))
    }

    /// Every network with every seed for each machine, trained and its lines set on the others, tested on it alone: by what
    /// it has, which need not be a failure.
    pub(super) fn leave_one_out(&self) -> Result<Report> {
        let mut machines: Vec<(&Slug, &Slug)> = self.rows.iter().map(machine).collect();
        machines.sort_unstable();
        machines.dedup();
        if machines.len() < FEWEST_MACHINES {
            bail!(
                "--leave-one-machine-out: {} machines, at least {FEWEST_MACHINES} are needed",
                machines.len()
            );
        }
        let bundles = self.seeds * self.recipes.len() as u64 * machines.len() as u64;
        let bar = bar(bundles, "{pos}/{len} bundles trained, {eta} left");
        let mut measured = Vec::new();
        for out in machines {
            let (own, others): (Vec<_>, Vec<_>) = self.rows.iter().cloned().partition(|row| machine(row) == out);
            let of_others = Parts::from_rows(self.spec, &others)?;
            let mut parts = Parts::from_rows(self.spec, &own)?;
            parts.cal = of_others.cal;
            let name = format!("{}/{}", out.0, out.1);
            let runs = self.runs(&others, &parts, &bar);
            let runs = runs.with_context(|| format!("--leave-one-machine-out: without {name}"))?;
            measured.push((name, runs));
        }
        bar.finish_and_clear();
        Ok(summarise_machines(self.seeds as usize, &measured))
    }

    /// Every network clean and with faults among the rows that teach and set limits, each without trimming and with it; what
    /// of the faults was told as suspicious. All are tested on the same rows: those that were planted test nothing.
    pub(super) fn contaminated(&self, share: f64) -> Result<(Report, Vec<Told>)> {
        if self.trim == 0.0 {
            bail!("--contaminate: --trim says what it is to be held against, such as 0.1");
        }
        let bar = bar(
            4 * self.seeds * self.recipes.len() as u64,
            "{pos}/{len} bundles trained, {eta} left",
        );
        let (mut runs, mut told) = (Vec::new(), Vec::new());
        for seed in 0..self.seeds {
            let planted = Planted::among(self.rows, share, seed)?;
            let dirty = [planted.clean.clone(), planted.faults.clone()].concat();
            let parts = [&planted.clean, &dirty].map(|rows| Parts::from_rows(self.spec, rows));
            let [clean_parts, dirty_parts] = parts;
            let (clean, dirty) = ((&planted.clean, clean_parts?), (&dirty, dirty_parts?));
            let mut of_seed = Run::new();
            for recipe in self.recipes {
                let ways = [
                    (&clean, 0.0, ""),
                    (&clean, self.trim, "+trim"),
                    (&dirty, 0.0, "+faults"),
                    (&dirty, self.trim, "+faults+trim"),
                ];
                for ((rows, parts), trim, suffix) in ways {
                    let trained = self.train(rows, *recipe, seed, trim)?;
                    if suffix.starts_with("+faults") {
                        told.push(planted.told(format!("{}{suffix}", recipe.name()), seed, &trained.suspects));
                    }
                    for (name, figures) in measured(trained, parts)? {
                        of_seed.entry(name + suffix).or_insert(figures);
                    }
                    bar.inc(1);
                }
            }
            runs.push(of_seed);
        }
        bar.finish_and_clear();
        Ok((summarise(self.seeds as usize, &runs), told))
    }

    /// What stands beside the network is the same in each bundle of a seed but for its own draws, so the first recipe's
    /// are reported.
    fn runs(&self, rows: &[Row], parts: &Parts, bar: &ProgressBar) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        for seed in 0..self.seeds {
            let mut of_seed = Run::new();
            for recipe in self.recipes {
                let trained = self.train(rows, *recipe, seed, self.trim)?;
                for (name, figures) in measured(trained, parts)? {
                    of_seed.entry(name).or_insert(figures);
                }
                bar.inc(1);
            }
            runs.push(of_seed);
        }
        Ok(runs)
    }

    fn train(&self, rows: &[Row], recipe: Recipe, seed: u64, trim: f64) -> Result<Trained> {
        let options = FitOptions {
            objective: recipe.objective,
            trim,
            ..FitOptions::of(recipe.variant)
        };
        let fitting = Fitting {
            class: Slug::parse("class", "evaluation")?,
            variant: recipe.variant,
            foreign: None,
            options,
            latent: None,
            seed,
            split: "train".to_owned(),
            corpora: Vec::new(),
            selection: None,
            checkpoints: None,
        };
        fit(rows, self.spec, &fitting)
    }
}

/// A bundle's figures; what trimming left out of the rows that set limits sets none here either.
fn measured(trained: Trained, parts: &Parts) -> Result<Run> {
    let bundle = Bundle::from_archive(trained.archive)?;
    if trained.left_out.calibration.is_empty() {
        return Ok(measure(&bundle, parts)?);
    }
    Ok(measure(&bundle, &parts.with_limits_of(bundle.held_out()))?)
}

fn machine(row: &Row) -> (&Slug, &Slug) {
    (&row.sensor.site, &row.sensor.machine)
}

#[cfg(test)]
mod tests;
