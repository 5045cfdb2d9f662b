//! `tocsin train --sweep-latent`: how many latents does a class need? Each size is trained on two thirds of the machines and
//! looked at on the others: a bottleneck is as narrow as parts failing machines from healthy ones no worse.

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tocsin_corpus::Row;
use tocsin_domain::{Slug, SpectrumSpec};
use tocsin_evaluate::{Figures, Parts, measure};
use tocsin_models::Bundle;

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
    /// On the machines held out; nothing where none of them fails in the corpus.
    figures: Option<Figures>,
}

/// Trains every size and prints what came of each, and which is recommended.
pub(super) fn run(rows: Vec<Row>, spec: &SpectrumSpec, fitting: &Fitting, sizes: &[u16], output: Output) -> Result<()> {
    let (kept, held_out) = part(rows)?;
    let of_others = Parts::from_rows(spec, &kept)?;
    let mut parts = Parts::from_rows(spec, &held_out)?;
    parts.cal = of_others.cal;
    let testable = parts.end.rows > 0 && parts.test_healthy.rows > 0;
    let mut tried = Vec::new();
    for latent in sizes {
        let fitting = Fitting {
            latent: Some(*latent),
            ..fitting.clone()
        };
        let bundle = Bundle::from_archive(fit(&kept, spec, &fitting)?.archive)?;
        let manifest = bundle.manifest();
        let figures = if testable {
            measure(&bundle, &parts)?.remove(&manifest.network_name())
        } else {
            None
        };
        tried.push(Size {
            latent: *latent,
            validation_error: manifest.metrics.validation_loss,
            figures,
        });
    }
    print(&tried, output)
}

/// The rows of the machines to train on, and of those held out.
fn part(rows: Vec<Row>) -> Result<(Vec<Row>, Vec<Row>)> {
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
    Ok(rows.into_iter().partition(|row| !held_out.contains(&machine(row))))
}

/// The narrowest of those that part about as well as the best; where nothing failed, that rebuild about as well.
fn recommended(sizes: &[Size]) -> Option<u16> {
    let area = |size: &Size| size.figures.as_ref().and_then(|figures| figures.auroc);
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
            let figure = |of: fn(&Figures) -> Option<f64>| size.figures.as_ref().and_then(of);
            json!({
                "latent": size.latent,
                "validation_error": size.validation_error,
                "auroc": figure(|f| f.auroc),
                "recall_995": figure(|f| f.recall_995),
                "fpr_995": figure(|f| f.fpr_995),
                "recommended": Some(size.latent) == recommended,
            })
        })
        .collect();
    let head = json!({ "recommended": recommended });
    let whole = json!({ "recommended": recommended, "sizes": items });
    let sections = [Section {
        title: "sizes of the latent; the last columns on machines held out".to_owned(),
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
mod tests {
    use super::*;

    fn size(latent: u16, validation_error: f64, auroc: Option<f64>) -> Size {
        let figures = auroc.map(|auroc| Figures {
            auroc: Some(auroc),
            average_precision: None,
            recall_995: None,
            fpr_995: None,
            recall_9995: None,
            fpr_9995: None,
            auroc_incipient: None,
            lines: tocsin_evaluate::Lines {
                alert: 1.0,
                page: 2.0,
                alert_supported: true,
                page_supported: true,
            },
        });
        Size {
            latent,
            validation_error,
            figures,
        }
    }

    #[test]
    fn the_narrowest_that_costs_nothing_is_recommended() {
        let sizes = [
            size(4, 0.5, Some(0.9)),
            size(8, 0.4, Some(0.977)),
            size(16, 0.3, Some(0.98)),
        ];
        assert_eq!(recommended(&sizes), Some(8));
        let unfailing = [size(4, 0.5, None), size(8, 0.31, None), size(16, 0.3, None)];
        assert_eq!(recommended(&unfailing), Some(8));
        assert_eq!(recommended(&[]), None);
    }
}
