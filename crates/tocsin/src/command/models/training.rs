//! `tocsin models retrain`, `jobs` and `compare`.

use anyhow::{Context, Result};
use prost_types::Timestamp as WireTimestamp;
use serde_json::{Value, json};
use tocsin_contracts::time;
use tocsin_contracts::training::v1::training_service_client::TrainingServiceClient;
use tocsin_contracts::training::v1::{
    CompareModelsRequest, CompareModelsResponse, DetectorComparison, ListTrainingJobsRequest, Percentile,
    RequestTrainingRequest, ScoreSummary, TrainingJob,
};
use tocsin_domain::Timestamp;

use crate::client::explain;
use crate::command::{Ask, given, when};
use crate::output::Section;

const JOB_COLUMNS: &[&str] = &[
    "training_job_id",
    "class",
    "state",
    "progress",
    "attempts",
    "bundle_id",
    "requested_at",
    "requested_by",
    "reason",
    "error",
];

const COMPARE_COLUMNS: &[&str] = &[
    "detector",
    "bundle",
    "median",
    "p99_5",
    "p99_5_bounds",
    "alert_line",
    "healthy_above_alert",
    "healthy_above_page",
    "incident_above_alert",
    "incident_above_page",
    "rank_correlation",
];

/// Asks for a class's models to be fitted anew.
pub(super) async fn retrain(ask: &Ask, class: String, period: [Option<String>; 2], reason: String) -> Result<()> {
    let [since, until] = period;
    let request = RequestTrainingRequest {
        class,
        reason,
        since: at("--since", since)?,
        until: at("--until", until)?,
    };
    let answer = TrainingServiceClient::new(ask.target.channel()?)
        .request_training(request)
        .await;
    let answer = answer
        .map_err(|status| explain("asking for training", &status))?
        .into_inner();
    let job = answer.job.context("the answer holds no training job")?;
    ask.output.item("training_job", job_view(job)?)
}

/// Lists training jobs.
pub(super) async fn jobs(ask: &Ask, class: String) -> Result<()> {
    let answer = TrainingServiceClient::new(ask.target.channel()?)
        .list_training_jobs(ListTrainingJobsRequest { class })
        .await;
    let answer = answer
        .map_err(|status| explain("listing training jobs", &status))?
        .into_inner();
    let views = answer.jobs.into_iter().map(job_view).collect::<Result<_>>()?;
    ask.output.list("training_jobs", views, JOB_COLUMNS)
}

/// Holds a class's challenger against its champion.
pub(super) async fn compare(ask: &Ask, class: String, since: Option<String>) -> Result<()> {
    let request = CompareModelsRequest {
        class,
        since: at("--since", since)?,
    };
    let answer = TrainingServiceClient::new(ask.target.channel()?)
        .compare_models(request)
        .await;
    let told = answer
        .map_err(|status| explain("comparing models", &status))?
        .into_inner();
    let head = json!({
        "champion_bundle_id": told.champion_bundle_id,
        "challenger_bundle_id": told.challenger_bundle_id,
        "healthy": told.healthy,
        "around_incidents": told.around_incidents,
        "first_at": when(told.first_at)?,
        "last_at": when(told.last_at)?,
        "insufficient": given(told.insufficient.clone()),
    });
    let section = Section {
        title: "each under lines of its own, at the 99.5th and 99.95th percentile of what was held out".to_owned(),
        items: told.detectors.iter().flat_map(rows_of).collect(),
        columns: COMPARE_COLUMNS,
    };
    let whole = comparison_view(&told, head.clone());
    ask.output.report("comparison", &whole, &head, &[section])
}

fn at(field: &str, text: Option<String>) -> Result<Option<WireTimestamp>> {
    let at = text.map(|text| Timestamp::parse(field, &text)).transpose()?;
    Ok(at.map(time::to_wire))
}

fn job_view(job: TrainingJob) -> Result<Value> {
    Ok(json!({
        "training_job_id": job.training_job_id,
        "class": job.class,
        "state": job.state,
        "progress": (f64::from(job.progress) * 100.0).round() / 100.0,
        "attempts": job.attempts,
        "bundle_id": given(job.bundle_id),
        "requested_at": when(job.requested_at)?,
        "requested_by": job.requested_by,
        "reason": job.reason,
        "since": when(job.since)?,
        "until": when(job.until)?,
        "error": given(job.error),
        "finished_at": when(job.finished_at)?,
    }))
}

fn comparison_view(told: &CompareModelsResponse, head: Value) -> Value {
    let detectors = told.detectors.iter().map(|one| {
        json!({
            "detector": one.detector,
            "champion": one.champion.as_ref().map(summary_view),
            "challenger": one.challenger.as_ref().map(summary_view),
            "rank_correlation": one.rank_correlation,
        })
    });
    let mut whole = head;
    whole["detectors"] = detectors.collect();
    whole
}

fn summary_view(summary: &ScoreSummary) -> Value {
    let percentile = |one: &Percentile| json!({ "value": one.value, "lower": one.lower, "upper": one.upper });
    json!({
        "median": summary.median.as_ref().map(percentile),
        "p99_5": summary.p99_5.as_ref().map(percentile),
        "alert_line": summary.alert_line,
        "page_line": summary.page_line,
        "healthy_above_alert": summary.healthy_above_alert,
        "healthy_above_page": summary.healthy_above_page,
        "incident_above_alert": summary.incident_above_alert,
        "incident_above_page": summary.incident_above_page,
    })
}

/// Two lines of the table: champion and challenger.
fn rows_of(one: &DetectorComparison) -> Vec<Value> {
    let figure = |value: f64| format!("{value:.3}");
    let bound = |value: Option<f64>| value.map_or("?".to_owned(), figure);
    let sides = [("champion", &one.champion), ("challenger", &one.challenger)];
    let rows = sides.into_iter().filter_map(|(bundle, summary)| {
        let summary = summary.as_ref()?;
        let value = |one: &Option<Percentile>| one.as_ref().map(|one| figure(one.value));
        let bounds = |one: &Percentile| format!("{} to {}", bound(one.lower), bound(one.upper));
        Some(json!({
            "detector": one.detector,
            "bundle": bundle,
            "median": value(&summary.median),
            "p99_5": value(&summary.p99_5),
            "p99_5_bounds": summary.p99_5.as_ref().map(bounds),
            "alert_line": summary.alert_line.map(figure),
            "healthy_above_alert": summary.healthy_above_alert,
            "healthy_above_page": summary.healthy_above_page,
            "incident_above_alert": summary.incident_above_alert,
            "incident_above_page": summary.incident_above_page,
            "rank_correlation": one.rank_correlation.map(figure),
        }))
    });
    rows.collect()
}
