//! The report of a training: one HTML page that needs nothing else, in the bundle itself, with what a person wants to have
//! seen before a model may judge: how it learned, what it makes of healthy rows, and whether a simpler method does as well.
//!
//! Every number comes of the run: of its epochs, of its bundle, and of its rows, which the bundle's own files score again.
//!
//! **Invariant:** the same request gives the same report, byte for byte, on one host: no clock and no speed is in it. A
//! training that went on from a checkpoint tells of the epochs since.

mod comparison;
mod curves;
mod errors;
mod latent_map;
mod lineage;
mod part;

use std::borrow::Cow;

use maud::html;
use tocsin_models::{Bundle, Manifest, Variant};

use crate::chart;
use crate::fit::Progress;
use crate::suspects::Suspects;
use crate::train::{LeftOut, TrainError, TrainRequest, Trained};
use crate::training_set::TrainingSet;
use part::Part;

/// What a report is made of.
struct Material<'a> {
    request: &'a TrainRequest<'a>,
    bundle: &'a Bundle,
    history: &'a [Progress],
    suspects: &'a Suspects,
    /// What trimming left out.
    left_out: &'a LeftOut,
    /// Rows trained on, without those that trimming left out; of many, so many as [`part`] looks at.
    train: Part,
    /// Healthy rows that nothing was fitted on, without those that trimming left out; there may be none.
    calibration: Part,
}

impl Material<'_> {
    fn manifest(&self) -> &Manifest {
        self.bundle.manifest()
    }

    /// The name of the network over one spectrum, whose errors bin by bin are shown: beside a temporal one a dense one stands.
    fn over_one_spectrum(&self) -> String {
        let manifest = self.manifest();
        if manifest.temporal.is_some() {
            Variant::Dense.name_with(manifest.objective)
        } else {
            manifest.network_name()
        }
    }

    /// The rows that tell most of what is to be expected: those nothing was fitted on, if there are any.
    fn judged(&self) -> (&Part, &'static str) {
        if self.calibration.len() > 0 {
            (&self.calibration, "healthy rows that nothing was fitted on")
        } else {
            (&self.train, "the rows trained on, for want of others")
        }
    }
}

/// Puts the report of its training into a bundle.
pub fn with_report(request: &TrainRequest<'_>, trained: Trained) -> Result<Trained, TrainError> {
    let bundle = Bundle::from_archive(trained.archive.clone())?;
    let material = Material {
        request,
        history: &trained.history,
        suspects: &trained.suspects,
        left_out: &trained.left_out,
        train: Part::look(&bundle, &without(request.train, &trained.left_out.train))?,
        calibration: Part::look(&bundle, &without(request.calibration, &trained.left_out.calibration))?,
        bundle: &bundle,
    };
    let report = html_of(&material)?;
    Ok(Trained {
        archive: trained.archive.with_report(report)?,
        ..trained
    })
}

/// A set without some of its rows; itself without none, which may stand for more than it holds.
fn without<'a>(set: &'a TrainingSet, left_out: &[usize]) -> Cow<'a, TrainingSet> {
    match left_out {
        [] => Cow::Borrowed(set),
        left_out => Cow::Owned(set.without(left_out)),
    }
}

fn html_of(material: &Material<'_>) -> Result<String, TrainError> {
    let manifest = material.manifest();
    let title = format!("Training of {}: {}", manifest.class, manifest.network_name());
    let comparison = comparison::Comparison::of(material)?;
    let body = html! {
        h1 { (title) }
        p.sub {
            (manifest.bins) " bins, latent " (manifest.latent) ", " (material.request.train.rows_in_all()) " rows trained on, "
            (material.request.calibration.rows_in_all()) " to set limits by, seed " (manifest.lineage.seed) ", " (manifest.lineage.created_at)
        }
        p.lead { (comparison.lead()) }
        p.sub {
            "Healthy rows are all that was seen here. How well faults are told from them says " code { "tocsin evaluate" }
            ", on machines that failed."
        }
        @if let Some(text) = sampled(material.request) { p.sub { (text) } }
        (curves::section(material))
        (errors::histograms(material))
        (errors::worst(material)?)
        (latent_map::section(material))
        (comparison.section())
        (lineage::suspects(material))
        (lineage::section(material))
    };
    Ok(chart::page(&title, &body))
}

/// What stands for all rows, where these did not fit in memory.
fn sampled(request: &TrainRequest<'_>) -> Option<String> {
    let of = |what: &str, set: &TrainingSet| {
        let (sample, all) = (set.sampled()?, set.rows_in_all());
        Some(format!("a sample of {sample} of {all} rows {what}"))
    };
    let known = of("to learn from", request.train).map(|sample| {
        format!(
            "The rows to learn from did not fit in memory: the network, its standardisation, principal components, Mahalanobis distance and \
             overall level learned from all of them; the isolation forest, the suspects and this page know {sample}."
        )
    });
    let limits = of("to set limits by", request.calibration).map(|sample| format!("Limits come of {sample}."));
    let told: Vec<String> = known.into_iter().chain(limits).collect();
    (!told.is_empty()).then(|| told.join(" "))
}

#[cfg(test)]
mod tests;
