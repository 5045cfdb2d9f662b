use super::super::{Lines, summarise, summarise_machines};
use super::*;

/// A detector's area under the curve, recall and false-positive rate at the 99.5 % line in each run.
type Column<'a> = (&'a str, &'a [(f64, f64, f64)]);

fn runs(columns: &[Column<'_>]) -> Vec<Run> {
    let figures = |&(auroc, recall, fpr): &(f64, f64, f64)| Figures {
        auroc: Some(auroc),
        average_precision: None,
        recall_995: Some(recall),
        fpr_995: Some(fpr),
        recall_9995: None,
        fpr_9995: None,
        auroc_incipient: None,
        lines: Lines {
            alert: 1.0,
            page: 2.0,
            alert_supported: true,
            page_supported: true,
        },
    };
    let run = |at: usize| {
        let of_run = columns
            .iter()
            .map(|(name, column)| ((*name).to_owned(), figures(&column[at])));
        of_run.collect()
    };
    (0..columns[0].1.len()).map(run).collect()
}

fn over_machines(columns: &[Column<'_>]) -> String {
    let machines = runs(columns).into_iter().enumerate();
    let machines: Vec<_> = machines.map(|(at, run)| (format!("m{at}"), vec![run])).collect();
    summarise_machines(1, &machines).verdict
}

fn over_seeds(columns: &[Column<'_>]) -> String {
    let runs = runs(columns);
    summarise(runs.len(), &runs).verdict
}

/// Seven runs that differ a little, about these figures.
fn around(auroc: f64, recall: f64, fpr: f64) -> [(f64, f64, f64); 7] {
    let off = [-0.003, -0.002, -0.001, 0.0, 0.001, 0.002, 0.003];
    off.map(|off| (auroc + off, recall + off, fpr + off))
}

#[test]
fn a_difference_between_machines_that_may_be_none_earns_no_network_its_place() {
    // Better on four machines, worse on three, and alarming where the forest is silent.
    let network = [0.99, 1.0, 0.98, 1.0, 0.97, 0.99, 1.0].map(|auroc| (auroc, 0.88, 0.57));
    let forest = [1.0, 0.98, 0.97, 0.99, 0.98, 1.0, 0.98].map(|auroc| (auroc, 0.74, 0.07));
    let told = over_machines(&[
        ("isolation_forest", &forest),
        ("pca", &around(0.9, 0.7, 0.01)),
        ("temporal_conv_denoising", &network),
    ]);
    assert!(
        told.starts_with(
            "No network earns its place: the best of them, temporal_conv_denoising (0.990), does not clearly part failing from \
             healthy readings better than isolation_forest (0.986): by +0.004 (-0.0"
        ),
        "{told}"
    );
    assert!(told.contains(": 95 %, bootstrap over 7 machines)"), "{told}");
    assert!(
        told.contains(
            "temporal_conv_denoising alarms falsely in 57.0 % at a recall of 88.0 %, isolation_forest in 7.0 % at a recall of \
             74.0 %: clearly less, by +0.500 ("
        ),
        "{told}"
    );
    let alike = over_machines(&[("conv_plain", &network), ("isolation_forest", &network)]);
    assert!(
        alike.starts_with("No network earns its place: ") && !alike.contains("clearly less"),
        "{alike}"
    );
}

#[test]
fn a_baseline_that_clearly_wins_is_named_and_may_be_promoted_where_it_can_judge() {
    let network: Column<'_> = ("conv_plain", &around(0.95, 0.8, 0.01));
    for (name, variant) in [("residual_pca", "pca"), ("mahalanobis", "mahalanobis")] {
        let told = over_machines(&[network, (name, &around(0.97, 0.7, 0.02))]);
        let begin = format!(
            "No network earns its place: {name} (0.970) parts failing from healthy readings clearly better than the best of them, \
             conv_plain (0.950): by +0.020 ("
        );
        assert!(told.starts_with(&begin), "{told}");
        assert!(
            told.ends_with(&format!("residual detector (tocsin train --variant {variant})")),
            "{told}"
        );
    }
    let told = over_machines(&[network, ("isolation_forest", &around(0.97, 0.7, 0.02))]);
    assert!(
        told.starts_with("No network earns its place: isolation_forest") && !told.contains("promoted"),
        "{told}"
    );
}

#[test]
fn a_network_that_clearly_wins_earns_its_place() {
    let told = over_machines(&[
        ("conv_plain", &around(0.97, 0.85, 0.02)),
        ("ensemble", &around(0.99, 0.9, 0.05)),
        ("mahalanobis", &around(0.95, 0.8, 0.02)),
    ]);
    assert!(
        told.starts_with(
            "conv_plain (0.970) earns its place: it parts failing from healthy readings clearly better than the best baseline, \
             mahalanobis (0.950): by +0.020 ("
        ),
        "{told}"
    );
    assert!(told.ends_with("mahalanobis in 2.0 % at a recall of 80.0 %"), "{told}");
}

#[test]
fn a_baseline_that_clearly_alarms_less_for_what_it_sees_stands_against_a_better_area() {
    let network: Column<'_> = ("conv_plain", &around(0.97, 0.85, 0.3));
    let best: Column<'_> = ("isolation_forest", &around(0.95, 0.86, 0.3));
    let told = over_machines(&[network, best, ("mahalanobis", &around(0.94, 0.75, 0.02))]);
    assert!(
        told.starts_with("No network earns its place: the best of them, conv_plain (0.970), parts ")
            && told.contains("baseline, isolation_forest (0.950), by +0.020 (")
            && told.contains("mahalanobis in 2.0 % at a recall of 75.0 %: clearly less, by +0.280 (")
            && told.ends_with("(tocsin train --variant mahalanobis)"),
        "{told}"
    );
    let blind = over_machines(&[network, best, ("mahalanobis", &around(0.94, 0.4, 0.02))]);
    assert!(blind.starts_with("conv_plain (0.970) earns its place"), "{blind}");
}

#[test]
fn without_machines_the_spread_over_seeds_decides_and_is_named() {
    let network: Column<'_> = ("conv_plain", &around(0.97, 0.85, 0.02));
    let won = over_seeds(&[network, ("pca", &[(0.95, 0.8, 0.02); 7])]);
    assert!(
        won.contains("earns its place: it")
            && won.contains("by +0.020 (+0.016 to +0.024: two standard deviations over 7 seeds)"),
        "{won}"
    );
    let within = over_seeds(&[network, ("pca", &[(0.967, 0.8, 0.02); 7])]);
    assert!(
        within.starts_with("No network earns its place: the best of them, conv_plain (0.970), does not clearly part"),
        "{within}"
    );
}

#[test]
fn too_few_runs_decide_nothing_and_say_so() {
    let (network, baseline) = (around(0.97, 0.85, 0.02), around(0.95, 0.8, 0.01));
    let first = |count: usize| -> [Column<'_>; 2] { [("conv_plain", &network[..count]), ("pca", &baseline[..count])] };
    let one = over_seeds(&first(1));
    assert!(
        one.starts_with(
            "Whether a network earns its place can't be told from 1 seed: the best, conv_plain (0.967), and the best baseline, \
             pca (0.947), differ by +0.020"
        ),
        "{one}"
    );
    assert!(one.ends_with("pca in 0.7 % at a recall of 79.7 %"), "{one}");
    assert!(over_seeds(&first(2)).contains("can't be told from 2 seeds"));
    assert!(over_machines(&first(5)).contains("can't be told from 5 machines"));
    assert!(over_machines(&first(6)).contains("earns its place: it parts"));
}

#[test]
fn what_learned_from_planted_faults_is_compared_with_nothing() {
    let best = around(0.999, 1.0, 0.0);
    let columns: [Column<'_>; 5] = [
        ("conv_plain", &around(0.97, 0.85, 0.02)),
        ("conv_plain+faults", &best),
        ("ensemble+faults+trim", &best),
        ("mahalanobis+faults", &best),
        ("pca", &around(0.95, 0.8, 0.02)),
    ];
    let runs = runs(&columns);
    let report = summarise(runs.len(), &runs);
    assert!(report.verdict.starts_with("conv_plain (0.970)"), "{}", report.verdict);
    assert!(report.verdict.contains("pca (0.950)"), "{}", report.verdict);
    assert_eq!(report.best_member.as_deref(), Some("conv_plain"));
}
