//! Limits against each sensor's own baseline, on bearings that really failed: what the documentation says they do.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tocsin_tests::{binary, data};

async fn evaluate(arguments: &[&str]) -> Result<Value> {
    let said = binary::run(&[&["evaluate"][..], arguments, &["--format", "json"]].concat(), &[]).await?;
    serde_json::from_str(&said).context("one JSON document on standard output")
}

fn count(document: &Value, pointer: &str) -> Result<u64> {
    document
        .pointer(pointer)
        .and_then(Value::as_u64)
        .with_context(|| format!("{pointer} in {document}"))
}

fn figure(document: &Value, pointer: &str) -> Result<f64> {
    document
        .pointer(pointer)
        .and_then(Value::as_f64)
        .with_context(|| format!("{pointer} in {document}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn seven_bearings_are_paged_before_they_fail_and_hardly_before() -> Result<()> {
    let Some(corpus) = data::file("femto/spectra64.parquet") else {
        return Ok(());
    };
    let corpus = corpus.to_str().context("the path")?;
    for (narrowband, most_time) in [("page", 0.012), ("alert", 0.005)] {
        let run = [
            "run-to-failure",
            "--corpus",
            corpus,
            "--leave-one-machine-out",
            "--narrowband",
            narrowband,
        ];
        let report = evaluate(&run).await?;
        ensure!(
            count(&report, "/summary/valid")? == 7,
            "{narrowband}: {}",
            report["summary"]
        );
        ensure!(
            count(&report, "/summary/false_pages_before_35")? == 0,
            "{narrowband}: {}",
            report["summary"]
        );
        ensure!(
            count(&report, "/summary/false_pages_before_50")? <= 1,
            "{narrowband}: {}",
            report["summary"]
        );
        ensure!(
            figure(&report, "/summary/false_page_share")? <= most_time,
            "{narrowband}: {}",
            report["summary"]
        );
        ensure!(
            figure(&report, "/summary/median_lead_readings")? >= 330.0,
            "{narrowband}: {}",
            report["summary"]
        );
        ensure!(
            count(&report, "/summary/incidents_at_end_most")? <= 1 && count(&report, "/summary/re_pages_most")? <= 2,
            "{narrowband}: {}",
            report["summary"]
        );
        ensure!(
            count(&report, "/summary/pages_explained")? == count(&report, "/summary/pages")?,
            "{narrowband}: {}",
            report["summary"]
        );
        let lines = report["constants"][0]["lines"]
            .as_array()
            .context("the lines of the first fold")?;
        ensure!(
            lines
                .iter()
                .any(|line| line["detector"] == "growth" && line["supported"] == true),
            "{lines:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_in_many_bins_and_in_one_are_paged() -> Result<()> {
    let Some(corpus) = data::file("femto/spectra64.parquet") else {
        return Ok(());
    };
    let corpus = corpus.to_str().context("the path")?;
    let inject = |bins: &'static str, db: &'static str| async move {
        evaluate(&["inject", "--corpus", corpus, "--bins", bins, "--db", db]).await
    };
    let broad = inject("16", "12").await?;
    ensure!(
        count(&broad, "/cases")? == 140 && count(&broad, "/paged")? >= 125,
        "{broad}"
    );
    let line = inject("1", "20").await?;
    ensure!(
        count(&line, "/cases")? == 140 && count(&line, "/paged")? >= 125,
        "{line}"
    );
    let faint = inject("1", "12").await?;
    ensure!(
        count(&faint, "/cases")? == 140 && count(&faint, "/alerted")? >= 115,
        "{faint}"
    );
    Ok(())
}
