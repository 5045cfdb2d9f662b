//! Figures over seeds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where a detector's nominal lines lie, and whether enough healthy readings stand behind them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lines {
    /// The 99.5 % line, in the unit of the score.
    pub alert: f64,
    /// The 99.95 % line.
    pub page: f64,
    /// At least 200 readings set the alert line.
    pub alert_supported: bool,
    /// At least 2,000 readings set the page line; otherwise it is extrapolated by the fitted tail.
    pub page_supported: bool,
}

/// Figures of one detector from one fitted bundle. A figure is absent when the part it needs has no rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Area under the receiver operating characteristic, end of life against healthy.
    pub auroc: Option<f64>,
    /// Average precision, end of life against healthy.
    pub average_precision: Option<f64>,
    /// Share of end-of-life readings above the 99.5 % line.
    pub recall_995: Option<f64>,
    /// Share of healthy test readings above it.
    pub fpr_995: Option<f64>,
    /// Share of end-of-life readings above the 99.95 % line.
    pub recall_9995: Option<f64>,
    /// Share of healthy test readings above it.
    pub fpr_9995: Option<f64>,
    /// Area under the curve, shortly before the end of life against healthy.
    pub auroc_incipient: Option<f64>,
    /// The nominal lines.
    pub lines: Lines,
}

/// A detector's figures over seeds: means, and the spread of the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Mean area under the curve.
    pub auroc: Option<f64>,
    /// Its standard deviation over seeds; absent with one seed.
    pub auroc_sd: Option<f64>,
    /// Mean average precision.
    pub average_precision: Option<f64>,
    /// Mean recall at the 99.5 % line.
    pub recall_995: Option<f64>,
    /// Mean false-positive rate at it.
    pub fpr_995: Option<f64>,
    /// Mean recall at the 99.95 % line.
    pub recall_9995: Option<f64>,
    /// Mean false-positive rate at it.
    pub fpr_9995: Option<f64>,
    /// Mean area under the curve shortly before the end of life.
    pub auroc_incipient: Option<f64>,
    /// Too few healthy readings stand behind the 99.5 % line.
    pub insufficient_995: bool,
    /// Too few healthy readings stand behind the 99.95 % line: it is extrapolated.
    pub insufficient_9995: bool,
}

/// An evaluation's outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Seeds that were run.
    pub seeds: usize,
    /// Rows by detector.
    pub detectors: BTreeMap<String, Row>,
    /// The best single detector by area under the curve.
    pub best_member: String,
    /// By how much the ensemble's area under the curve lies below the best single detector's; negative when above.
    pub ensemble_gap: f64,
}

/// Puts the figures of several seeds together.
///
/// A detector that every seed's bundle holds beside several networks is counted once per bundle.
pub fn summarise(seeds: usize, runs: &[BTreeMap<String, Figures>]) -> Report {
    let mut columns: BTreeMap<String, Vec<Figures>> = BTreeMap::new();
    for run in runs {
        for (name, figures) in run {
            columns.entry(name.clone()).or_default().push(*figures);
        }
    }
    let detectors: BTreeMap<String, Row> = columns
        .into_iter()
        .map(|(name, figures)| (name, row(&figures)))
        .collect();
    let auroc = |name: &str| detectors.get(name).and_then(|row| row.auroc).unwrap_or(0.0);
    let members = detectors.keys().filter(|name| *name != "ensemble");
    let best_member = members
        .max_by(|a, b| auroc(a).total_cmp(&auroc(b)))
        .cloned()
        .unwrap_or_default();
    let ensemble_gap = auroc(&best_member) - auroc("ensemble");
    Report {
        seeds,
        detectors,
        best_member,
        ensemble_gap,
    }
}

fn row(figures: &[Figures]) -> Row {
    let mean_of = |of: fn(&Figures) -> Option<f64>| mean(&figures.iter().filter_map(of).collect::<Vec<_>>());
    Row {
        auroc: mean_of(|f| f.auroc),
        auroc_sd: deviation(&figures.iter().filter_map(|f| f.auroc).collect::<Vec<_>>()),
        average_precision: mean_of(|f| f.average_precision),
        recall_995: mean_of(|f| f.recall_995),
        fpr_995: mean_of(|f| f.fpr_995),
        recall_9995: mean_of(|f| f.recall_9995),
        fpr_9995: mean_of(|f| f.fpr_9995),
        auroc_incipient: mean_of(|f| f.auroc_incipient),
        insufficient_995: figures.iter().any(|f| !f.lines.alert_supported),
        insufficient_9995: figures.iter().any(|f| !f.lines.page_supported),
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Sample standard deviation.
fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(auroc: f64) -> Figures {
        let lines = Lines {
            alert: 1.0,
            page: 2.0,
            alert_supported: true,
            page_supported: false,
        };
        Figures {
            auroc: Some(auroc),
            average_precision: Some(0.5),
            recall_995: None,
            fpr_995: Some(0.01),
            recall_9995: None,
            fpr_9995: None,
            auroc_incipient: None,
            lines,
        }
    }

    #[test]
    fn seeds_are_averaged_and_the_gap_to_the_best_member_is_told() {
        let run = |dense, ensemble| {
            BTreeMap::from([
                ("dense".to_owned(), figures(dense)),
                ("ensemble".to_owned(), figures(ensemble)),
            ])
        };
        let report = summarise(2, &[run(0.98, 0.97), run(0.96, 0.97)]);
        let dense = &report.detectors["dense"];
        assert!((dense.auroc.unwrap() - 0.97).abs() < 1e-12);
        assert!((dense.auroc_sd.unwrap() - 0.02 / 2f64.sqrt()).abs() < 1e-12);
        assert!(dense.insufficient_9995 && !dense.insufficient_995);
        assert_eq!(
            (report.best_member.as_str(), report.ensemble_gap.abs() < 1e-12),
            ("dense", true)
        );
    }
}
