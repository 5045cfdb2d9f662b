//! `tocsin train --sweep-latent`: how many latents does a class need? Each size is trained on two thirds of the machines and
//! looked at on each of the others alone: a bottleneck is as narrow as parts failing machines from healthy ones no worse.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tocsin_corpus::Row;
use tocsin_domain::{Slug, SpectrumSpec};
use tocsin_evaluate::{Parts, Row as Means, measure, summarise_machines};
use tocsin_models::{Bundle, Manifest};

use super::{Fitting, fit};
use crate::output::{Output, Section};

/// One machine in so many is held out.
const HELD_OUT: usize = 3;
/// Area under the curve that a narrower bottleneck may cost.
const AREA: f64 = 0.005;
/// Share of the least validation error that a narrower bottleneck may cost where nothing failed on the held-out machines.
const ERROR: f64 = 0.05;

/// One size and what came of it.
#[derive(Debug, Clone)]
struct Size {
    latent: u16,
    validation_error: f64,
    /// Means over the machines held out, each tested alone: a machine that is louder than the others through and through
    /// then costs false alarms, and not the order of its own states. Nothing where none of them has both failing and
    /// healthy rows to test.
    means: Option<Means>,
}

impl Size {
    fn mean(&self, of: fn(&Means) -> Option<f64>) -> Option<f64> {
        self.means.as_ref().and_then(of)
    }
}

/// Trains every size and prints what came of each, and which is recommended.
pub(super) fn run(rows: Vec<Row>, spec: &SpectrumSpec, fitting: &Fitting, sizes: &[u16], output: Output) -> Result<()> {
    print(&tried(rows, spec, fitting, sizes)?, output)
}

/// Trains every size, and tests it on each machine held out, by lines that the others set.
fn tried(rows: Vec<Row>, spec: &SpectrumSpec, fitting: &Fitting, sizes: &[u16]) -> Result<Vec<Size>> {
    let (kept, held_out) = part(rows)?;
    let of_others = Parts::from_rows(spec, &kept)?;
    let mut machines = Vec::new();
    for (name, rows) in held_out {
        let mut parts = Parts::from_rows(spec, &rows)?;
        parts.cal = of_others.cal.clone();
        machines.push((name, parts));
    }
    let testable = |(_, parts): &(_, Parts)| parts.end.rows > 0 && parts.test_healthy.rows > 0;
    if !machines.iter().any(testable) {
        machines.clear();
    }
    let size = |latent: &u16| -> Result<Size> {
        let fitting = Fitting {
            latent: Some(*latent),
            ..fitting.clone()
        };
        let bundle = Bundle::from_archive(fit(&kept, spec, &fitting)?.archive)?;
        Ok(Size {
            latent: *latent,
            validation_error: validation_error(bundle.manifest()),
            means: means(&bundle, &machines)?,
        })
    };
    sizes.iter().map(size).collect()
}

/// The network's figures on each machine alone, and their means.
fn means(bundle: &Bundle, machines: &[(String, Parts)]) -> Result<Option<Means>> {
    let mut measured = Vec::new();
    for (name, parts) in machines {
        measured.push((name.clone(), vec![measure(bundle, parts)?]));
    }
    let mut of_detectors = summarise_machines(1, &measured).detectors;
    Ok(of_detectors.remove(&bundle.manifest().network_name()))
}

/// That of the network that scores: of two, the one over windows.
fn validation_error(manifest: &Manifest) -> f64 {
    let temporal = manifest.temporal.as_ref().map(|temporal| &temporal.metrics);
    temporal.unwrap_or(&manifest.metrics).validation_loss
}

/// Rows of machines, by machine.
type ByMachine = BTreeMap<String, Vec<Row>>;

/// The rows of the machines to train on, and those of each machine held out by its name.
fn part(rows: Vec<Row>) -> Result<(Vec<Row>, ByMachine)> {
    let machine = |row: &Row| (row.sensor.site.clone(), row.sensor.machine.clone());
    let mut machines: Vec<(Slug, Slug)> = rows.iter().map(machine).collect();
    machines.sort_unstable();
    machines.dedup();
    if machines.len() < HELD_OUT {
        bail!(
            "--sweep-latent: {} machines, at least {HELD_OUT} are needed to hold some out",
            machines.len()
        );
    }
    let held_out: Vec<_> = machines.into_iter().skip(HELD_OUT - 1).step_by(HELD_OUT).collect();
    let (kept, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| !held_out.contains(&machine(row)));
    let mut of_machines: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in others {
        let name = format!("{}/{}", row.sensor.site, row.sensor.machine);
        of_machines.entry(name).or_default().push(row);
    }
    Ok((kept, of_machines))
}

/// The narrowest of those that part about as well as the best; where nothing failed, that rebuild about as well.
fn recommended(sizes: &[Size]) -> Option<u16> {
    let area = |size: &Size| size.mean(|means| means.auroc);
    let best = sizes.iter().filter_map(area).max_by(f64::total_cmp);
    let least = sizes.iter().map(|size| size.validation_error).min_by(f64::total_cmp)?;
    let good = |size: &&Size| match best {
        Some(best) => area(size).is_some_and(|area| area >= best - AREA),
        None => size.validation_error <= least * (1.0 + ERROR),
    };
    sizes.iter().filter(good).map(|size| size.latent).min()
}

fn print(sizes: &[Size], output: Output) -> Result<()> {
    let recommended = recommended(sizes);
    let items: Vec<Value> = sizes
        .iter()
        .map(|size| {
            json!({
                "latent": size.latent,
                "validation_error": size.validation_error,
                "auroc": size.mean(|means| means.auroc),
                "recall_995": size.mean(|means| means.recall_995),
                "fpr_995": size.mean(|means| means.fpr_995),
                "recommended": Some(size.latent) == recommended,
            })
        })
        .collect();
    let head = json!({ "recommended": recommended });
    let whole = json!({ "recommended": recommended, "sizes": items });
    let sections = [Section {
        title: "sizes of the latent; the last columns are means over the machines held out, each alone".to_owned(),
        items,
        columns: &[
            "latent",
            "validation_error",
            "auroc",
            "recall_995",
            "fpr_995",
            "recommended",
        ],
    }];
    output.report("sweep", &whole, &head, &sections)
}

#[cfg(test)]
mod tests;
