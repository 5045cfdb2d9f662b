//! Figures over seeds.

mod verdict;

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use verdict::Over;

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
    /// Its standard deviation over seeds, or over machines where each was left out in turn; absent with one.
    pub auroc_sd: Option<f64>,
    /// 95 % interval of the mean over machines, where each was left out in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auroc_interval: Option<[f64; 2]>,
    /// Mean average precision.
    pub average_precision: Option<f64>,
    /// Mean recall at the 99.5 % line.
    pub recall_995: Option<f64>,
    /// Mean false-positive rate at it.
    pub fpr_995: Option<f64>,
    /// 95 % interval of the mean over machines, where each was left out in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fpr_995_interval: Option<[f64; 2]>,
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
    /// Which detector earns its place, in a sentence.
    pub verdict: String,
    /// Machines that were left out in turn; none where all were trained on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<String>,
    /// Seeds that were run.
    pub seeds: usize,
    /// Rows by detector.
    pub detectors: BTreeMap<String, Row>,
    /// The best single detector by area under the curve, of those that learned from no planted faults; nothing where no
    /// area is known, for want of healthy rows to test or of faulty ones.
    pub best_member: Option<String>,
    /// By how much the ensemble's area under the curve lies below the best single detector's; negative when above.
    pub ensemble_gap: Option<f64>,
}

/// Figures of one bundle by the names of its detectors.
pub type Run = BTreeMap<String, Figures>;

/// Puts the figures of several seeds together.
///
/// A detector that every seed's bundle holds beside several networks is counted once per bundle.
pub fn summarise(seeds: usize, runs: &[Run]) -> Report {
    let rows = columns(runs).into_iter().map(|(name, figures)| (name, row(&figures)));
    report(seeds, Vec::new(), rows.collect(), (runs, Over::Seeds))
}

/// Puts the figures of machines together that were left out in turn, `seeds` runs for each: means over machines of the
/// means over seeds, with intervals from resampled machines (percentile bootstrap, Efron 1979).
pub fn summarise_machines(seeds: usize, machines: &[(String, Vec<Run>)]) -> Report {
    let means = machines.iter().map(|(_, runs)| {
        let means = columns(runs)
            .into_iter()
            .map(|(name, figures)| (name, mean_figures(&figures)));
        means.collect::<Run>()
    });
    let of_machines: Vec<Run> = means.collect();
    let rows = columns(&of_machines).into_iter().map(|(name, figures)| {
        let values = |of: fn(&Figures) -> Option<f64>| figures.iter().filter_map(of).collect::<Vec<_>>();
        let row = Row {
            auroc_interval: bootstrap(&values(|f| f.auroc)),
            fpr_995_interval: bootstrap(&values(|f| f.fpr_995)),
            ..row(&figures)
        };
        (name, row)
    });
    let names = machines.iter().map(|(name, _)| name.clone()).collect();
    report(seeds, names, rows.collect(), (&of_machines, Over::Machines))
}

fn columns(runs: &[Run]) -> BTreeMap<String, Vec<Figures>> {
    let mut columns: BTreeMap<String, Vec<Figures>> = BTreeMap::new();
    for run in runs {
        for (name, figures) in run {
            columns.entry(name.clone()).or_default().push(*figures);
        }
    }
    columns
}

/// `detectors` are the means of the runs.
fn report(
    seeds: usize,
    machines: Vec<String>,
    detectors: BTreeMap<String, Row>,
    (runs, over): (&[Run], Over),
) -> Report {
    let clean = detectors.iter().filter(|(name, _)| verdict::is_clean(name));
    let known = clean.filter_map(|(name, row)| Some((name, row.auroc?)));
    let members = known.clone().filter(|(name, _)| *name != "ensemble");
    let best = members.max_by(|a, b| a.1.total_cmp(&b.1));
    let ensemble = known.clone().find(|(name, _)| *name == "ensemble");
    Report {
        verdict: verdict::of(&detectors, runs, over),
        machines,
        seeds,
        best_member: best.map(|(name, _)| name.clone()),
        ensemble_gap: best.zip(ensemble).map(|((_, best), (_, ensemble))| best - ensemble),
        detectors,
    }
}

/// Means of each figure; the lines are the first's, and supported where all are.
fn mean_figures(figures: &[Figures]) -> Figures {
    let mean_of = |of: fn(&Figures) -> Option<f64>| mean(&figures.iter().filter_map(of).collect::<Vec<_>>());
    let first = figures.first().expect("a column holds at least one run");
    Figures {
        auroc: mean_of(|f| f.auroc),
        average_precision: mean_of(|f| f.average_precision),
        recall_995: mean_of(|f| f.recall_995),
        fpr_995: mean_of(|f| f.fpr_995),
        recall_9995: mean_of(|f| f.recall_9995),
        fpr_9995: mean_of(|f| f.fpr_9995),
        auroc_incipient: mean_of(|f| f.auroc_incipient),
        lines: Lines {
            alert_supported: figures.iter().all(|f| f.lines.alert_supported),
            page_supported: figures.iter().all(|f| f.lines.page_supported),
            ..first.lines
        },
    }
}

/// 95 % interval of the mean of these values, from resamples of them; nothing below two.
fn bootstrap(values: &[f64]) -> Option<[f64; 2]> {
    const RESAMPLES: usize = 4_000;
    if values.len() < 2 {
        return None;
    }
    let mut rng = StdRng::seed_from_u64(0);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..values.len()).map(|_| values[rng.random_range(0..values.len())]);
            drawn.sum::<f64>() / values.len() as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    Some([means[RESAMPLES / 40], means[RESAMPLES - 1 - RESAMPLES / 40]])
}

fn row(figures: &[Figures]) -> Row {
    let mean_of = |of: fn(&Figures) -> Option<f64>| mean(&figures.iter().filter_map(of).collect::<Vec<_>>());
    Row {
        auroc: mean_of(|f| f.auroc),
        auroc_interval: None,
        fpr_995_interval: None,
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
    fn machines_left_out_are_weighed_alike_and_their_spread_gives_the_interval() {
        let run = |auroc| BTreeMap::from([("dense_plain".to_owned(), figures(auroc))]);
        let machine = |name: &str, aurocs: &[f64]| (name.to_owned(), aurocs.iter().map(|auroc| run(*auroc)).collect());
        let report = summarise_machines(
            2,
            &[
                machine("a", &[0.8, 1.0]),
                machine("b", &[0.7, 0.7]),
                machine("c", &[0.8]),
            ],
        );
        let row = &report.detectors["dense_plain"];
        assert!((row.auroc.unwrap() - 0.8).abs() < 1e-12);
        let [low, high] = row.auroc_interval.unwrap();
        assert!(
            (0.69..0.79).contains(&low) && (0.81..0.91).contains(&high),
            "{low} to {high}"
        );
        assert_eq!(report.machines, ["a", "b", "c"]);
        assert!(
            summarise_machines(1, &[machine("a", &[0.8])]).detectors["dense_plain"]
                .auroc_interval
                .is_none()
        );
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
        assert_eq!(report.best_member.as_deref(), Some("dense"));
        assert!(report.ensemble_gap.unwrap().abs() < 1e-12);
    }

    #[test]
    fn without_an_area_under_the_curve_no_detector_is_the_best() {
        let healthy_only = Figures {
            auroc: None,
            ..figures(0.0)
        };
        let run = ["dense_plain", "ensemble", "pca"].map(|name| (name.to_owned(), healthy_only));
        let report = summarise(1, &[run.into()]);
        assert_eq!((report.best_member, report.ensemble_gap), (None, None));
        assert!(report.verdict.contains("readings of both"), "{}", report.verdict);
        assert_eq!(report.detectors["pca"].fpr_995, Some(0.01));
    }

    #[test]
    fn a_machine_that_never_failed_counts_in_false_alarms_alone() {
        let run = |auroc| Run::from([("pca".to_owned(), Figures { auroc, ..figures(0.0) })]);
        let machines = [("a", Some(0.8)), ("b", None), ("c", Some(0.9))];
        let machines = machines.map(|(name, auroc)| (name.to_owned(), vec![run(auroc)]));
        let report = summarise_machines(1, &machines);
        assert!((report.detectors["pca"].auroc.unwrap() - 0.85).abs() < 1e-12);
        assert_eq!(report.machines.len(), 3);
    }
}
