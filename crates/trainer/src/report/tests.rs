use std::ops::ControlFlow;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tocsin_domain::{Slug, SpectrumSpec, Timestamp};
use tocsin_models::archive::REPORT_FILE;
use tocsin_models::{CorpusFile, Network, Objective, Residual, Selection, Variant, VerifyLimits, verify};

use super::*;
use crate::fit::FitOptions;
use crate::train::train_until;
use crate::training_set::TrainingSet;

const HOSTILE: &str = "plant/<script>alert(1)</script>/x&y";

fn rows(count: usize, seed: u64) -> TrainingSet {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut set = TrainingSet::new(&SpectrumSpec::corpus_default(32));
    for at in 0..count {
        let load = 0.5 + rng.random::<f32>();
        let line = |bin: usize| if bin % 8 == 3 { 0.2 * load } else { 0.01 };
        let mut amplitudes: Vec<f32> = (0..32)
            .map(|bin| line(bin) * (0.8 + 0.4 * rng.random::<f32>()))
            .collect();
        if at == 7 {
            amplitudes[20] = 9.0;
        }
        let sensor = ["plant/mill/x", HOSTILE][at % 2];
        set.push(sensor, Timestamp::from_micros(at as i64 * 10_000_000), &amplitudes)
            .unwrap();
    }
    set
}

fn report(variant: Variant, objective: Objective, calibration: usize) -> (Trained, String) {
    trimmed_report(variant, objective, calibration, 0.0)
}

fn trimmed_report(variant: Variant, objective: Objective, calibration: usize, trim: f64) -> (Trained, String) {
    let sets = (&rows(200, 1), &rows(calibration, 2));
    report_on(sets, variant, objective, trim)
}

/// On rows to learn from, and to set limits by.
fn report_on(
    (train, calibration): (&TrainingSet, &TrainingSet),
    variant: Variant,
    objective: Objective,
    trim: f64,
) -> (Trained, String) {
    let request = TrainRequest {
        class: Slug::parse("class", "mill").unwrap(),
        train,
        calibration,
        variant,
        foreign: None,
        latent: None,
        seed: 5,
        options: Some(FitOptions {
            epochs: 6,
            patience: 6,
            objective,
            trim,
            ..FitOptions::of(variant)
        }),
        corpora: vec![CorpusFile {
            name: "<b>history</b>.parquet".to_owned(),
            sha256: "c0ffee".to_owned(),
            rows: 260,
        }],
        created_at: Timestamp::from_micros(0),
    };
    let trained = train_until(&request, |_| ControlFlow::Continue(())).unwrap();
    let trained = with_report(&request, trained).unwrap();
    let page = trained.archive.named(REPORT_FILE).unwrap().to_vec();
    (trained, String::from_utf8(page).unwrap())
}

#[test]
fn the_report_has_every_section_for_every_kind_of_model() {
    for (variant, objective) in [
        (Variant::Dense, "denoising"),
        (Variant::Dense, "variational"),
        (Variant::Pca, "plain"),
        (Variant::Mahalanobis, "plain"),
    ] {
        let (trained, page) = report(variant, Objective::named(objective).unwrap(), 60);
        for section in [
            "curves",
            "histograms",
            "worst",
            "latents",
            "comparison",
            "suspects",
            "lineage",
        ] {
            assert!(
                page.contains(&format!("<h2 id=\"{section}\">")),
                "{variant} {objective}: {section}"
            );
        }
        let plots = page.matches("<svg").count();
        let wanted = match (variant, objective) {
            (Variant::Dense, "variational") => 7,
            (Variant::Dense, _) => 6,
            _ => 5,
        };
        assert_eq!(plots, wanted, "{variant} {objective}");
        assert!(!page.contains("NaN") && !page.contains(">inf"), "{variant} {objective}");
        assert!(page.contains("99.95 %") && page.contains("c0ffee") && page.contains("plant/mill/x"));
        verify(&trained.archive.to_bytes(), VerifyLimits::default()).unwrap();
    }
}

#[test]
fn names_from_outside_are_text_and_nothing_is_fetched_or_run() {
    let (_, page) = report(Variant::Pca, Objective::Plain, 60);
    assert!(page.contains("plant/&lt;script&gt;alert(1)&lt;/script&gt;/x&amp;y"));
    assert!(page.contains("&lt;b&gt;history&lt;/b&gt;.parquet"));
    for forbidden in [
        "<script", "<b>", "<link", "<img", "src=", "http://", "https://", "@import", "url(",
    ] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn the_divergence_stands_apart_and_a_plain_objective_says_it_adds_nothing() {
    let (_, variational) = report(Variant::Dense, Objective::named("variational").unwrap(), 60);
    assert!(
        variational.contains("KL divergence of the latents")
            && variational.contains("reconstruction and divergence together")
    );
    let (_, plain) = report(Variant::Dense, Objective::Plain, 60);
    assert!(plain.contains("adds nothing to the error") && !plain.contains("KL divergence of the latents"));
}

#[test]
fn the_report_tells_of_suspects_and_is_the_same_each_time() {
    let (trained, page) = report(Variant::Pca, Objective::Plain, 60);
    assert!(trained.suspects.in_all > 0);
    assert!(page.contains(&format!(
        "{} of 200 rows are rebuilt far worse",
        trained.suspects.in_all
    )));
    assert!(page.contains(&trained.suspects.listed[0].captured_at.to_string()));
    assert_eq!(report(Variant::Pca, Objective::Plain, 60).1, page);
}

#[test]
fn rows_that_trimming_left_out_are_none_that_were_trained_on() {
    let (trained, page) = trimmed_report(Variant::Pca, Objective::Plain, 60, 0.1);
    assert!(trained.left_out.train.contains(&7), "{:?}", trained.left_out);
    let bundle = Bundle::from_archive(trained.archive).unwrap();
    let lineage = &bundle.manifest().lineage;
    let left_out = trained.left_out.train.len();
    assert_eq!(lineage.rows_by_split["train"], 200 - left_out as u64);
    assert_eq!(lineage.selection.as_ref().unwrap().left_out["trimmed"], left_out as u64);
    let marked = trained.suspects.listed.iter().filter(|suspect| suspect.left_out);
    assert_eq!(marked.count(), left_out);
    assert!(page.contains(&format!(
        "{left_out} rows were left out of the training as hardly healthy"
    )));
    let whole = Part::look(&bundle, &rows(200, 1)).unwrap();
    let taught = Part::look(&bundle, &rows(200, 1).without(&trained.left_out.train)).unwrap();
    assert_eq!(taught.len() as u64, lineage.rows_by_split["train"]);
    assert!(
        whole.mean_square > 1.2 * taught.mean_square,
        "the fault is rebuilt badly"
    );
    let cell = |mean_square: f64| format!("<td class=\"num\">{}</td>", chart::number(mean_square));
    assert!(page.contains(&cell(taught.mean_square)) && !page.contains(&cell(whole.mean_square)));
}

#[test]
fn without_rows_to_judge_by_the_first_line_says_so() {
    let (_, page) = report(Variant::Dense, Objective::Plain, 0);
    assert!(page.contains("There were no healthy rows that nothing was fitted on"));
    assert!(page.contains("for want of others") && !page.contains("NaN"));
}

#[test]
fn a_mahalanobis_model_is_no_network_that_rebuilds_worse_than_components() {
    let (_, page) = report(Variant::Mahalanobis, Objective::Plain, 60);
    assert!(page.contains("This is a simple method itself, the Mahalanobis distance"));
    assert!(!page.contains("rebuild 60 healthy rows") && !page.contains("The simpler method may do"));
}

#[test]
fn of_a_temporal_model_the_network_that_was_measured_is_named_and_its_errors_rank_its_map() {
    let (trained, page) = report(Variant::TemporalConv, Objective::named("denoising").unwrap(), 60);
    assert!(page.contains("dense_denoising (the network over one spectrum beside temporal_conv_denoising)"));
    assert!(
        page.contains("<td>dense_denoising</td>"),
        "the table of errors names it too"
    );
    let bundle = Bundle::from_archive(trained.archive).unwrap();
    let calibration = rows(60, 2);
    let worst = |errors: Vec<f32>| {
        let mut places: Vec<usize> = (0..calibration.len()).collect();
        places.sort_by(|a, b| errors[*b].total_cmp(&errors[*a]));
        places.truncate(10);
        places
    };
    let mut alone = Network::load(&bundle).unwrap().session().unwrap();
    let shown = worst(alone.run(calibration.linear(), &[]).unwrap().errors);
    let residual = Residual::load(&bundle).unwrap();
    let windows = residual.window().unwrap().among(&calibration.keys());
    let by_window = worst(residual.errors(calibration.linear(), Some(&windows)).unwrap());
    assert_ne!(shown, by_window, "the rows tell the two orders apart");
    let section = page.split("<h2 id=\"worst\">").nth(1).unwrap();
    let section = section.split("<h2").next().unwrap();
    let of_rows = shown
        .iter()
        .map(|place| calibration.rows()[*place].captured_at.to_string());
    let found: Vec<Option<usize>> = of_rows.map(|taken| section.find(&taken)).collect();
    assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{found:?}");
}

#[test]
fn the_lineage_says_how_rows_were_chosen_and_why_others_were_left_out() {
    let selection = Selection {
        maintenance_log: Some(CorpusFile {
            name: "log<1>.csv".to_owned(),
            sha256: "f00d".to_owned(),
            rows: 12,
        }),
        only_logged_healthy: true,
        split_by: Some("time".to_owned()),
        sensors: Some("*/horizontal".to_owned()),
        left_out: [("faulty".to_owned(), 34), ("unlogged".to_owned(), 5)].into(),
        ..Selection::default()
    };
    let (train, calibration) = (rows(200, 1).chosen_by(Some(selection)), rows(60, 2));
    let (_, page) = report_on((&train, &calibration), Variant::Pca, Objective::Plain, 0.0);
    for row in [
        "<th>Sensors, chosen by</th><td><code>*/horizontal</code></td>",
        "<th>Rows parted by</th><td>time, not by the splits of the corpora</td>",
        "<th>Maintenance log</th><td>log&lt;1&gt;.csv, 12 intervals, SHA-256 <code>f00d</code></td>",
        "<th>Taken for healthy</th><td>rows alone that the log calls healthy</td>",
        "<th>Rows left out, faulty</th><td>34</td>",
        "<th>Rows left out, unlogged</th><td>5</td>",
    ] {
        assert!(page.contains(row), "{row}");
    }
    let (_, plain) = report(Variant::Pca, Objective::Plain, 60);
    for absent in [
        "Maintenance log",
        "Rows parted by",
        "Taken for healthy",
        "Rows left out",
    ] {
        assert!(!plain.contains(absent), "{absent}");
    }
}

#[test]
fn samples_are_told_in_whole_sentences() {
    let (train, calibration) = (rows(200, 1).drawn_from(5_000), rows(60, 2).drawn_from(700));
    let (_, page) = report_on((&train, &calibration), Variant::Pca, Objective::Plain, 0.0);
    assert!(page.contains(
        "did not fit in memory: the network, its standardisation, principal components, Mahalanobis distance and overall level \
         learned from all of them; the isolation forest, the suspects and this page know a sample of 200 of 5000 rows to learn \
         from. Limits come of a sample of 60 of 700 rows to set limits by."
    ));
}
