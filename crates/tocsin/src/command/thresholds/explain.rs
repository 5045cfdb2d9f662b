//! `tocsin thresholds explain`: why a sensor is judged as it is.

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use tocsin_contracts::recalibrator::v1::{
    ExplainRequest, ExplainResponse, ExplainedLevel, ExplainedLimits, ExplainedMember, ExplainedReading,
    SensorBaseline, SensorCommissioning,
};

use super::Client;
use crate::client;
use crate::command::{given, when};
use crate::output::{Output, Section};

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// SITE/MACHINE/SENSOR
    #[arg(value_name = "PATH")]
    path: String,
}

impl Explain {
    pub(super) async fn run(self, mut client: Client, output: Output) -> Result<()> {
        let mut parts = self.path.splitn(3, '/').map(str::to_owned);
        let mut part = || {
            parts
                .next()
                .with_context(|| format!("{:?} is not SITE/MACHINE/SENSOR", self.path))
        };
        let request = ExplainRequest {
            site: part()?,
            machine: part()?,
            sensor: part()?,
        };
        let answer = client.explain(request).await;
        let answer = answer
            .map_err(|status| client::explain("explaining the sensor's limits", &status))?
            .into_inner();
        print(&answer, output)
    }
}

fn print(answer: &ExplainResponse, output: Output) -> Result<()> {
    let head = head(answer)?;
    let limits = answer.limits.as_ref().map(limits).transpose()?;
    let commissioning = answer.commissioning.as_ref().map(commissioning).transpose()?;
    let baseline = answer.baseline.as_ref().map(baseline).transpose()?;
    let newest = answer.newest.as_ref().map(newest).transpose()?;
    let mut whole = head.clone();
    for (name, part) in [
        ("limits", &limits),
        ("commissioning", &commissioning),
        ("baseline", &baseline),
        ("newest", &newest),
    ] {
        whole[name] = part.clone().unwrap_or_default();
    }
    let one = |title: &str, item: &Option<Value>, columns| Section {
        title: title.to_owned(),
        items: item.iter().cloned().collect(),
        columns,
    };
    let many = |title: &str, item: &Option<Value>, field: &str, columns| Section {
        title: title.to_owned(),
        items: item
            .as_ref()
            .and_then(|item| item[field].as_array().cloned())
            .unwrap_or_default(),
        columns,
    };
    let sections = [
        one("commissioning", &commissioning, COMMISSIONING),
        one("baseline", &baseline, BASELINE),
        one("limits", &limits, LIMITS),
        many("lines", &limits, "members", LINES),
        one("newest reading", &newest, NEWEST),
        many("its scores", &newest, "levels", &["detector", "role", "score", "level"]),
    ];
    output.report("sensor", &whole, &head, &sections)
}

const COMMISSIONING: &[&str] = &[
    "state",
    "epoch",
    "readings",
    "readings_needed",
    "started_at",
    "started_by",
    "reason",
];
const BASELINE: &[&str] = &[
    "baseline_id",
    "epoch",
    "readings",
    "first_at",
    "last_at",
    "pooled_machines",
    "usual_rpm",
    "usual_load",
    "created_at",
    "created_by",
    "reason",
];
const LIMITS: &[&str] = &[
    "threshold_set_id",
    "proposed_by",
    "proposed_at",
    "approved_by",
    "reason",
    "method",
];
const LINES: &[&str] = &[
    "detector",
    "role",
    "alert_line",
    "page_line",
    "waits_for_baseline",
    "origin",
];
const NEWEST: &[&str] = &[
    "captured_at",
    "verdict",
    "deciding_detector",
    "unjudged_reason",
    "level",
    "threshold_set_id",
    "bundle_id",
    "baseline_id",
    "degraded",
    "condition_unseen",
];

fn head(answer: &ExplainResponse) -> Result<Value> {
    Ok(json!({
        "site": answer.site,
        "machine": answer.machine,
        "sensor": answer.sensor,
        "class": answer.class,
        "spec": answer.spec,
        "bundle_id": given(answer.bundle_id),
        "bundle_digest": given(answer.bundle_digest.clone()),
        "in_force_since": when(answer.in_force_since)?,
        "in_force_by": given(answer.in_force_by.clone()),
        "borrows_limits": answer.borrows_limits,
    }))
}

fn limits(limits: &ExplainedLimits) -> Result<Value> {
    Ok(json!({
        "threshold_set_id": limits.threshold_set_id,
        "method": limits.method,
        "proposed_by": limits.proposed_by,
        "proposed_at": when(limits.proposed_at)?,
        "reason": given(limits.reason.clone()),
        "approved_by": given(limits.approved_by.clone()),
        "members": limits.members.iter().map(member).collect::<Vec<_>>(),
    }))
}

fn member(member: &ExplainedMember) -> Value {
    json!({
        "detector": member.detector,
        "role": member.role,
        "alert_line": member.alert_line,
        "page_line": member.page_line,
        "page_line_supported": member.page_line_supported,
        "origin": member.origin,
        "scores": member.scores,
        "machines": given(member.machines),
        "waits_for_baseline": member.waits_for_baseline,
    })
}

fn commissioning(stands: &SensorCommissioning) -> Result<Value> {
    Ok(json!({
        "state": stands.state,
        "epoch": stands.epoch,
        "readings": stands.readings,
        "readings_needed": given(stands.readings_needed),
        "started_at": when(stands.started_at)?,
        "started_by": stands.started_by,
        "reason": given(stands.reason.clone()),
    }))
}

fn baseline(baseline: &SensorBaseline) -> Result<Value> {
    Ok(json!({
        "baseline_id": baseline.baseline_id,
        "epoch": baseline.epoch,
        "readings": baseline.readings,
        "first_at": when(baseline.first_at)?,
        "last_at": when(baseline.last_at)?,
        "pooled_machines": baseline.pooled_machines,
        "usual_rpm": baseline.usual_rpm,
        "usual_load": baseline.usual_load,
        "created_at": when(baseline.created_at)?,
        "created_by": baseline.created_by,
        "reason": given(baseline.reason.clone()),
    }))
}

fn newest(reading: &ExplainedReading) -> Result<Value> {
    let level = |level: &ExplainedLevel| {
        json!({
            "detector": level.detector,
            "role": given(level.role.clone()),
            "score": level.score,
            "level": level.level,
        })
    };
    Ok(json!({
        "captured_at": when(reading.captured_at)?,
        "threshold_set_id": given(reading.threshold_set_id),
        "bundle_id": given(reading.bundle_id),
        "baseline_id": given(reading.baseline_id),
        "degraded": reading.degraded,
        "condition_unseen": reading.condition_unseen,
        "verdict": reading.verdict,
        "deciding_detector": given(reading.deciding_detector.clone()),
        "unjudged_reason": given(reading.unjudged_reason.clone()),
        "level": reading.level,
        "levels": reading.levels.iter().map(level).collect::<Vec<_>>(),
    }))
}
