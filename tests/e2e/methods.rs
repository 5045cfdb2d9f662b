//! Runs to failure judged by other methods, by smaller classes and with parts left out, through the command line.

use anyhow::{Context, Result};
use serde_json::Value;
use tocsin_tests::{Plant, binary};

/// What `tocsin evaluate run-to-failure` says of three machines, the first of which fails in the last fifth.
async fn evaluated(arguments: &[&str]) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let corpus = folder.path().join("plant.parquet");
    Plant::corpus(&corpus, "works", 0..500, 400)?;
    let corpus = corpus.to_str().context("the path")?;
    let command = ["evaluate", "run-to-failure", "--corpus", corpus, "--format", "json"];
    Ok(serde_json::from_str(
        &binary::run(&[&command, arguments].concat(), &[]).await?,
    )?)
}

/// The detectors that have lines in the first fold.
fn detectors(told: &Value) -> Vec<&str> {
    let lines = told["constants"][0]["lines"].as_array().into_iter().flatten();
    lines.filter_map(|line| line["detector"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_pages_the_machine_that_fails_and_tells_it_under_the_same_keys() -> Result<()> {
    let keys = |told: &Value| -> Vec<String> {
        let machine = told["machines"][0].as_object().into_iter();
        machine.flat_map(|machine| machine.keys().cloned()).collect()
    };
    let product = evaluated(&[]).await?;
    assert_eq!(product["method"], "fleet-replay");
    let own = detectors(&product);
    assert!(own.contains(&"growth") && !own.contains(&"residual"), "{own:?}");
    for method in ["percentile", "tail", "textbook", "textbook-3-of-5"] {
        let told = evaluated(&["--method", method, "--epochs", "2"]).await?;
        assert_eq!(told["method"], method);
        assert_eq!(keys(&told), keys(&product), "{method}");
        assert_eq!(
            told["machines"][0]["detected"], true,
            "{method}: {:#}",
            told["machines"][0]
        );
        let (k, n) = match method {
            "textbook" => (1, 1),
            "textbook-3-of-5" => (3, 5),
            _ => (5, 8),
        };
        let rules = &told["constants"][0]["rules"]["persistence"];
        assert_eq!((&rules["k"], &rules["n"]), (&k.into(), &n.into()), "{method}");
        if method.starts_with("textbook") {
            assert_eq!(detectors(&told), ["residual", "overall_level"]);
        } else {
            assert_eq!(detectors(&told), own);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn smaller_classes_and_parts_left_out_are_rows_of_one_document() -> Result<()> {
    let told = evaluated(&["--class-size", "1,2", "--draws", "2"]).await?;
    let sizes = told["class_sizes"].as_array().context("class_sizes")?;
    assert_eq!(sizes.len(), 2);
    assert_eq!(sizes[0]["learned_from"], 1);
    assert_eq!(sizes[1]["draws"].as_array().map(Vec::len), Some(2));
    let told = evaluated(&["--ablation"]).await?;
    let rows = told["ablation"].as_array().context("ablation")?;
    assert_eq!((rows.len(), &rows[0]["variant"]), (11, &"default".into()));
    let too_many = evaluated(&["--class-size", "3"]).await.unwrap_err();
    assert!(
        format!("{too_many:#}").contains("the smallest fold has 2 others"),
        "{too_many:#}"
    );
    Ok(())
}
