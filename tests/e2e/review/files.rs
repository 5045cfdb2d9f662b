//! Each export held against what is stored.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tocsin_contracts::incident_review::{Against, Document, State};
use tocsin_domain::{Codec, Detector, IncidentId, Scope, Slug, Timestamp};
use tocsin_store::reading::FullReading;
use tocsin_tests::stage::SITE;
use tocsin_tests::{Plant, Stage};

use super::lives::Bins;

/// What the log has of a reading that an export names.
async fn logged(stage: &Stage, at: Timestamp) -> Result<FullReading> {
    let path = tocsin_domain::fleet::SensorPath::parse("m1/h")?;
    let site = Slug::parse("site", SITE)?;
    let sensor = stage.store.sensor_by_name(&Scope::All, &site, &path).await?.sensor.id;
    let found = stage.store.reading_get(&Scope::All, sensor, Some(at)).await?;
    let found = found.context("a reading")?;
    ensure!(found.stored.key.captured_at == at, "no reading was taken at {at}");
    Ok(found)
}

pub(super) async fn json_is_the_log(stage: &Stage, id: i64, file: &Path, digest: &str) -> Result<Document> {
    let text = std::fs::read_to_string(file)?;
    ensure!(
        hex::encode(Sha256::digest(text.as_bytes())) == digest,
        "the digest is of another file"
    );
    let document = Document::from_json(&text)?;
    ensure!(document.review.state == State::Final && document.review.conclusion == "Replace it.");
    ensure!(document.label().is_some_and(|label| label.mode == "outer_race"));
    let window = document.window;
    let counted: i64 = sqlx::query_scalar(
        "select count(*) from reading r join sensor s using (sensor_id) join machine m using (machine_id)
         where m.name = 'm1' and r.captured_at >= $1::text::timestamptz and r.captured_at < $2::text::timestamptz",
    )
    .bind(window.from.to_string())
    .bind(window.to.to_string())
    .fetch_one(stage.store.pool())
    .await?;
    ensure!(
        window.readings == counted as u64,
        "{} of {counted} readings",
        window.readings
    );
    let journal = stage
        .store
        .journal_by_incident(&Scope::All, IncidentId(id), 1_000)
        .await?;
    let kinds = |kind: &str| document.journal.iter().filter(|event| event.kind == kind).count();
    ensure!(kinds("opened") == 1 && kinds("commented") == 1);
    ensure!(document.journal.len() == journal.events.len());
    for (told, kept) in document.journal.iter().zip(&journal.events) {
        let payload: Value = serde_json::from_str(&kept.payload_json)?;
        ensure!(
            (told.seq, told.at, &told.payload) == (kept.seq, kept.at, &payload),
            "{told:?}"
        );
    }
    let pages = stage.store.pages_by_incident(&Scope::All, IncidentId(id)).await?;
    ensure!(!pages.is_empty() && document.pages.len() == pages.len());
    ensure!(
        document
            .pages
            .iter()
            .any(|page| page.attempts.iter().any(|attempt| attempt.outcome == "delivered"))
    );
    let spectra = document.spectra.as_ref().context("spectra")?;
    ensure!(spectra.against == Against::Reconstruction, "it has no baseline");
    let spec = Plant::spec();
    let codec = Codec::for_spec(&spec);
    for capture in &spectra.captures {
        let stored = logged(stage, capture.captured_at)
            .await?
            .spectrum
            .context("a spectrum")?;
        ensure!(
            codec.decode(stored.codes()) == capture.observed,
            "at {}",
            capture.captured_at
        );
        ensure!(capture.reconstructed.len() == 64 && capture.deviation.len() == 64);
    }
    ensure!(document.peers.machines == 2 && document.peers.worst.len() == 2);
    Ok(document)
}

pub(super) async fn csv_is_the_log(stage: &Stage, file: &Path, document: &Document, digest: &str) -> Result<()> {
    let mut reader = csv::Reader::from_path(file)?;
    let columns = reader.headers()?.clone();
    let mut rows = 0;
    for record in reader.records() {
        let record = record?;
        let of = |name: &str| -> Result<&str> {
            let place = columns.iter().position(|column| column == name);
            place
                .and_then(|place| record.get(place))
                .with_context(|| format!("no column {name}"))
        };
        let at = Timestamp::parse("captured_at", of("captured_at")?)?;
        let stored = logged(stage, at).await?.stored;
        ensure!(of("review_digest")? == digest && of("verdict")? == stored.verdict.as_str());
        let set = stored.threshold_set.map(|set| set.0.to_string()).unwrap_or_default();
        let bundle = stored.bundle.map(|bundle| bundle.0.to_string()).unwrap_or_default();
        ensure!((of("threshold_set_id")?, of("bundle_id")?) == (set.as_str(), bundle.as_str()));
        for detector in Detector::ALL {
            let told = of(&format!("{detector}_score"))?;
            let score = stored.scores.get(detector).map(f32::to_bits);
            // A detector that is no member of the limits has no lines, and is left out.
            ensure!(
                told.is_empty() || told.parse::<f32>().ok().map(f32::to_bits) == score,
                "{detector} at {at}: {told}"
            );
        }
        ensure!(of("residual_score")?.is_empty() == stored.scores.get(Detector::Residual).is_none());
        rows += 1;
    }
    ensure!(
        rows == document.window.kept,
        "{rows} of {} readings",
        document.window.kept
    );
    Ok(())
}

/// When, residual score, spectrum, reconstruction, deviation, digest, level.
#[derive(Debug, Deserialize)]
struct Row(
    i64,
    Option<f32>,
    Option<Bins>,
    Option<Bins>,
    Option<Bins>,
    String,
    Option<f32>,
);

const QUERY: &str = "
import duckdb, json, sys
rows = duckdb.sql(f'''select epoch_us(captured_at), residual_score, spectrum, reconstruction, deviation, review_digest, level
    from read_parquet('{sys.argv[1]}') order by captured_at''').fetchall()
print(json.dumps(rows))
";

pub(super) fn parquet_is_the_document(python: &Path, file: &Path, document: &Document, digest: &str) -> Result<()> {
    let output = Command::new(python).args(["-c", QUERY]).arg(file).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<Row> = serde_json::from_slice(&output.stdout)?;
    let readings = &document.sensors[0].readings;
    ensure!(rows.len() == readings.len());
    let spectra = document.spectra.as_ref().context("spectra")?;
    let mut with_spectrum = 0;
    for (row, reading) in rows.iter().zip(readings) {
        let residual = reading
            .detectors
            .iter()
            .find(|one| one.detector == "residual")
            .map(|one| one.score);
        ensure!((row.0, row.1, row.6) == (reading.captured_at.as_micros(), residual, reading.level));
        ensure!(row.5 == digest);
        let capture = spectra
            .captures
            .iter()
            .find(|one| one.captured_at == reading.captured_at);
        ensure!(row.2.as_ref() == capture.map(|one| &one.observed));
        ensure!(row.3.as_ref() == capture.map(|one| &one.reconstructed));
        ensure!(row.4.as_ref() == capture.map(|one| &one.deviation));
        with_spectrum += usize::from(capture.is_some());
    }
    ensure!(
        with_spectrum == spectra.captures.len() && with_spectrum > 50,
        "{with_spectrum} spectra"
    );
    Ok(())
}
