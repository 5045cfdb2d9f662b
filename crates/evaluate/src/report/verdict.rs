//! Does a network earn its place? Said in a sentence, whoever wins.

use std::collections::BTreeMap;

use super::Row;

/// Detectors that take no network.
const BASELINES: [&str; 6] = [
    "isolation_forest",
    "mahalanobis",
    "overall_level",
    "pca",
    "residual_mahalanobis",
    "residual_pca",
];

/// The best network against the best baseline, by area under the curve and by false alarms at the nominal 99.5 %.
pub(super) fn of(detectors: &BTreeMap<String, Row>) -> String {
    if detectors.values().all(|row| row.auroc.is_none()) {
        return "nothing can be said of how failing readings are parted from healthy ones: readings of both are needed to test on"
            .to_owned();
    }
    let is_baseline = |name: &str| BASELINES.contains(&name);
    let networks = detectors
        .iter()
        .filter(|(name, _)| !is_baseline(name) && *name != "ensemble");
    let baselines = || detectors.iter().filter(|(name, _)| is_baseline(name));
    let (Some(network), Some(baseline)) = (best(networks), best(baselines())) else {
        return "a network and a baseline are needed to compare".to_owned();
    };
    let parting = if network.auroc >= baseline.auroc {
        format!(
            "{network} parts failing from healthy readings better than every baseline ({baseline} is the best of them)"
        )
    } else {
        format!(
            "no network earns its place: {baseline} parts failing from healthy readings better than the best, {network}"
        )
    };
    let own = network.fpr.unwrap_or(0.0);
    let quieter: Vec<String> = baselines()
        .filter(|(_, row)| row.fpr_995.is_some_and(|fpr| fpr < own))
        .map(|(name, row)| format!("{name} ({})", at_line(row.fpr_995, row.recall_995)))
        .collect();
    if quieter.is_empty() {
        return parting;
    }
    format!(
        "{parting}; at the nominal 99.5 % line, where it alarms falsely in {}, these alarm less: {}",
        at_line(network.fpr, network.recall),
        quieter.join(", ")
    )
}

/// A false-positive rate, and what is seen at it.
fn at_line(fpr: Option<f64>, recall: Option<f64>) -> String {
    let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.1} %", 100.0 * share));
    format!("{} at a recall of {}", percent(fpr), percent(recall))
}

struct Best<'a> {
    name: &'a str,
    auroc: f64,
    fpr: Option<f64>,
    recall: Option<f64>,
}

impl std::fmt::Display for Best<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:.3})", self.name, self.auroc)
    }
}

fn best<'a>(rows: impl Iterator<Item = (&'a String, &'a Row)>) -> Option<Best<'a>> {
    let known = rows.filter_map(|(name, row)| {
        Some(Best {
            name,
            auroc: row.auroc?,
            fpr: row.fpr_995,
            recall: row.recall_995,
        })
    });
    known.max_by(|a, b| a.auroc.total_cmp(&b.auroc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: [(&str, f64, f64, f64); 3]) -> BTreeMap<String, Row> {
        let row = |(name, auroc, recall, fpr): (&str, f64, f64, f64)| {
            let json = serde_json::json!({
                "auroc": auroc, "recall_995": recall, "fpr_995": fpr, "insufficient_995": false, "insufficient_9995": false
            });
            (name.to_owned(), serde_json::from_value(json).unwrap())
        };
        rows.map(row).into()
    }

    #[test]
    fn a_baseline_that_wins_is_named_as_the_winner() {
        let lost = of(&table([
            ("conv_plain", 0.95, 0.8, 0.01),
            ("mahalanobis", 0.96, 0.7, 0.02),
            ("pca", 0.9, 0.5, 0.0),
        ]));
        assert!(
            lost.starts_with("no network earns its place: mahalanobis (0.960)"),
            "{lost}"
        );
        let won = of(&table([
            ("conv_plain", 0.97, 0.8, 0.01),
            ("mahalanobis", 0.96, 0.7, 0.02),
            ("pca", 0.9, 0.5, 0.0),
        ]));
        assert!(
            won.starts_with("conv_plain (0.970) parts")
                && won.contains("alarm less: pca (0.0 % at a recall of 50.0 %)"),
            "{won}"
        );
    }

    #[test]
    fn baselines_that_alarm_less_are_named_with_what_they_see() {
        let quiet = of(&table([
            ("conv_plain", 0.97, 0.8, 0.1),
            ("mahalanobis", 0.96, 0.85, 0.02),
            ("pca", 0.9, 0.5, 0.1),
        ]));
        assert!(
            quiet.ends_with(
                "in 10.0 % at a recall of 80.0 %, these alarm less: mahalanobis (2.0 % at a recall of 85.0 %)"
            ),
            "{quiet}"
        );
        let none = of(&table([
            ("conv_plain", 0.97, 0.8, 0.0),
            ("mahalanobis", 0.96, 0.85, 0.02),
            ("pca", 0.9, 0.5, 0.1),
        ]));
        assert!(!none.contains("alarm less"), "{none}");
    }
}
