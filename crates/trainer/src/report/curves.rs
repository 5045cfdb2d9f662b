//! How the errors fell, epoch by epoch.

use maud::{Markup, html};
use tocsin_models::Objective;

use super::Material;
use crate::chart::{Axis, Plot, number};
use crate::fit::{Progress, Stage};

pub(super) fn section(material: &Material<'_>) -> Markup {
    let (manifest, objective) = (material.manifest(), material.manifest().objective);
    // Of a temporal bundle the network over windows is the last that was trained.
    let metrics = manifest
        .temporal
        .as_ref()
        .map_or(&manifest.metrics, |temporal| &temporal.metrics);
    let (last, runs) = last_run(material.history);
    html! {
        h2 #curves { "How it learned" }
        @if last.is_empty() && manifest.variant.is_network() {
            p { "It went on from a checkpoint that had every epoch: none was run again, so none is shown." }
        } @else if last.is_empty() {
            p { "Nothing was trained epoch by epoch: a " (material.manifest().variant) " model is computed, or was trained elsewhere." }
        } @else {
            p {
                "The search ran " (metrics.epochs) " epochs without the newest rows of each sensor, which were held out, and rebuilt those best at epoch "
                (metrics.best_epoch) "; the network that was kept was then trained on all rows for as many."
                @if runs > 1 { " Of " (runs) " trainings this shows the last: the others found the rows to leave out, gave the divergence more weight, or were of the network over one spectrum." }
                @if last[0].stage != Stage::Search || last[0].epoch != 1 { " It went on from a checkpoint: the epochs before that are not shown." }
            }
            (errors(&last, objective, metrics.best_epoch))
            (penalty(&last, objective))
        }
        div.table { table {
            tbody {
                tr { th { "Error on rows held out" } td.num { (number(metrics.validation_loss)) } }
                tr { th { "Error on rows trained on" } td.num { (number(metrics.training_loss)) } }
                @for (name, value) in &metrics.figures { tr { th { (name) } td.num { (number(*value)) } } }
            }
        } }
    }
}

/// The epochs of the last training, and how many trainings there were: each begins with a search.
fn last_run(history: &[Progress]) -> (Vec<Progress>, usize) {
    let begins = |told: &Progress| told.stage == Stage::Search && told.epoch == 1;
    let start = history.iter().rposition(begins).unwrap_or(0);
    (
        history[start..].to_vec(),
        history.iter().filter(|told| begins(told)).count(),
    )
}

fn errors(epochs: &[Progress], objective: Objective, best: u32) -> Markup {
    let of = |stage: Stage, value: fn(&Progress) -> f64| -> Vec<(f64, f64)> {
        let stage = epochs.iter().filter(move |told| told.stage == stage);
        stage.map(|told| (f64::from(told.epoch), value(told))).collect()
    };
    let lines = [
        (
            "c0",
            "reconstruction, rows trained on, search",
            of(Stage::Search, |told| told.training_loss),
        ),
        (
            "c1",
            if objective.beta().is_some() {
                "rows held out: reconstruction and divergence together"
            } else {
                "reconstruction, rows held out"
            },
            of(Stage::Search, |told| told.validation_loss),
        ),
        (
            "c2",
            "reconstruction, all rows, the network kept",
            of(Stage::Refit, |told| told.training_loss),
        ),
    ];
    let all = || lines.iter().flat_map(|(_, _, points)| points);
    let mut plot = Plot::new(
        "Mean squared error by epoch",
        Axis::over("epoch", all().map(|point| point.0)),
        Axis::log_over("mean squared error", all().map(|point| point.1)),
    );
    for (class, name, points) in &lines {
        plot.line(class, points.iter().copied());
        plot.key(*class, *name);
    }
    plot.limit(best.into(), &format!("best: {best}"), 1);
    plot.draw()
}

/// What the objective added to the error, for those that add something.
fn penalty(epochs: &[Progress], objective: Objective) -> Markup {
    let name = match objective {
        Objective::Variational { .. } | Objective::VariationalElbo { .. } => {
            "KL divergence of the latents, as weighted (annealed to beta)"
        }
        Objective::Sparse { .. } => "KL divergence of the mean activation, as weighted",
        Objective::Contractive { .. } => "squared norm of the Jacobian, as weighted",
        Objective::Plain | Objective::Denoising { .. } | Objective::Masking { .. } | Objective::Dropout { .. } => {
            return html! { p.sub { "The objective " (objective) " adds nothing to the error." } };
        }
    };
    let epochs = || epochs.iter().filter(|told| told.stage == Stage::Search);
    let mut plot = Plot::new(
        name,
        Axis::over("epoch", epochs().map(|told| f64::from(told.epoch))),
        Axis::over("added to the error", epochs().map(|told| told.penalty).chain([0.0])),
    );
    plot.line("c3", epochs().map(|told| (f64::from(told.epoch), told.penalty)));
    plot.key("c3", name);
    html! {
        h3 { "Beside the reconstruction" }
        (plot.draw())
    }
}
