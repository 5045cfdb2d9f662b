//! One bundle against the parts of a corpus.

use std::collections::BTreeMap;

use tocsin_detect::metrics::{auroc, average_precision, rates_at};
use tocsin_detect::tail::TailError;
use tocsin_domain::{Condition, Detector, Scores};
use tocsin_judge::threshold_set::{LinesError, Member};
use tocsin_judge::{Persistence, Role, ThresholdSet};
use tocsin_models::{Bundle, DetectorScratch, Network, NetworkError, Residual};

use crate::report::{Figures, Lines};
use crate::{Part, Parts};

/// Spectra scored at a time.
const BLOCK: usize = 1024;

/// Why an evaluation has no result.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// A part that is needed has no rows.
    #[error("split: the corpus has no rows with split '{0}'")]
    Empty(&'static str),
    /// The bundle reads other spectra.
    #[error("bins: the bundle reads {bundle} bins, the corpus has {corpus}")]
    Bins {
        /// Bins the bundle was trained on.
        bundle: usize,
        /// Bins of the corpus.
        corpus: usize,
    },
    /// The network can't be loaded or run.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The calibration part can't carry lines.
    #[error(transparent)]
    Lines(#[from] LinesError),
    /// A detector's calibration scores can't carry lines.
    #[error("{0}: {1}")]
    Tail(Detector, TailError),
}

/// Scores of every part.
struct Scored {
    cal: Vec<Scores>,
    healthy: Vec<Scores>,
    end: Vec<Scores>,
    incipient: Vec<Scores>,
}

/// Figures of one bundle, by name. Only the calibration part must have rows: the lines come of it. Figures that need another
/// part are absent where it has none. Names: the network's ([`tocsin_models::Manifest::network_name`]), the detectors beside it, and the ensemble's decision.
pub fn measure(bundle: &Bundle, parts: &Parts) -> Result<BTreeMap<String, Figures>, EvaluateError> {
    if parts.cal.rows == 0 {
        return Err(EvaluateError::Empty("cal"));
    }
    let bins = usize::from(bundle.manifest().bins);
    if bins != parts.bins() {
        return Err(EvaluateError::Bins {
            bundle: bins,
            corpus: parts.bins(),
        });
    }
    let residual = Residual::load(bundle)?;
    let score = |part: &Part| -> Result<Vec<Scores>, NetworkError> {
        let windows = residual.window().map(|window| window.among(&part.keys));
        let errors = residual.errors(&part.linear, windows.as_ref())?;
        Ok(beside(bundle, &part.linear, &errors))
    };
    let scored = Scored {
        cal: score(&parts.cal)?,
        healthy: score(&parts.test_healthy)?,
        end: score(&parts.end)?,
        incipient: score(&parts.incipient)?,
    };
    let mut figures = BTreeMap::new();
    for (detector, name) in detectors(bundle) {
        figures.insert(name, of_detector(detector, &scored)?);
    }
    figures.insert("ensemble".to_owned(), of_ensemble(&scored)?);
    Ok(figures)
}

/// A bundle's detectors, and what they are called in reports.
pub fn detectors(bundle: &Bundle) -> [(Detector, String); 5] {
    [
        (Detector::Residual, bundle.manifest().network_name()),
        (Detector::OverallLevel, "overall_level".to_owned()),
        (Detector::Isolation, "isolation_forest".to_owned()),
        (Detector::Pca, "pca".to_owned()),
        (Detector::Mahalanobis, "mahalanobis".to_owned()),
    ]
}

/// Every detector's scores of linear spectra in canonical units, each spectrum alone.
///
/// # Errors
/// If the network can't be run.
pub fn score(bundle: &Bundle, network: &Network, linear: &[f32]) -> Result<Vec<Scores>, NetworkError> {
    let errors = network.session()?.run(linear, &[])?.errors;
    Ok(beside(bundle, linear, &errors))
}

/// Residuals of linear spectra, and what the other detectors say.
fn beside(bundle: &Bundle, linear: &[f32], residuals: &[f32]) -> Vec<Scores> {
    let bins = usize::from(bundle.manifest().bins);
    let mut scratch = DetectorScratch::default();
    let mut scored = vec![Scores::default(); residuals.len()];
    for (block, scores) in linear.chunks(BLOCK * bins).zip(scored.chunks_mut(BLOCK)) {
        bundle.detectors().score_batch(block, &mut scratch, scores);
    }
    for (scores, residual) in scored.iter_mut().zip(residuals) {
        scores.set(Detector::Residual, *residual);
    }
    scored
}

/// A detector alone, under its own lines.
fn of_detector(detector: Detector, scored: &Scored) -> Result<Figures, EvaluateError> {
    let column =
        |scores: &[Scores]| -> Vec<f64> { scores.iter().filter_map(|s| s.get(detector)).map(f64::from).collect() };
    let cal = column(&scored.cal);
    let member = Member::fit(detector, Role::Page, &cal).map_err(|e| EvaluateError::Tail(detector, e))?;
    let lines = Lines {
        alert: member.alert_line,
        page: member.page_line,
        alert_supported: member.alert_line_supported(),
        page_supported: member.page_line_supported,
    };
    Ok(figures(
        &column(&scored.healthy),
        &column(&scored.end),
        &column(&scored.incipient),
        lines,
    ))
}

/// What the platform would decide: the level under a threshold set computed from the calibration part.
fn of_ensemble(scored: &Scored) -> Result<Figures, EvaluateError> {
    let set = ThresholdSet::from_healthy_percentiles(&scored.cal, Persistence::default())?;
    let levels = |scores: &[Scores]| -> Vec<f64> {
        let level = |s: &Scores| set.judge(s, Condition::default(), false).level;
        scores
            .iter()
            .filter_map(level)
            .map(|level| f64::from(level.0))
            .collect()
    };
    let lines = Lines {
        alert: 1.0,
        page: 2.0,
        alert_supported: set.members.iter().all(Member::alert_line_supported),
        page_supported: set.members.iter().all(|member| member.page_line_supported),
    };
    Ok(figures(
        &levels(&scored.healthy),
        &levels(&scored.end),
        &levels(&scored.incipient),
        lines,
    ))
}

fn figures(healthy: &[f64], end: &[f64], incipient: &[f64], lines: Lines) -> Figures {
    let at_alert = rates_at(healthy, end, lines.alert);
    let at_page = rates_at(healthy, end, lines.page);
    Figures {
        auroc: auroc(healthy, end),
        average_precision: average_precision(healthy, end),
        recall_995: at_alert.recall,
        fpr_995: at_alert.false_positive_rate,
        recall_9995: at_page.recall,
        fpr_9995: at_page.false_positive_rate,
        auroc_incipient: auroc(healthy, incipient),
        lines,
    }
}
