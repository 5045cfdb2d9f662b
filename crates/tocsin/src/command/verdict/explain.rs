//! One verdict's derivation, printed.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use tocsin_contracts::review::v1::review_service_client::ReviewServiceClient;
use tocsin_contracts::review::v1::{
    CanonicalReading, Decision, DerivedDetector, DerivedStep, ExplainVerdictRequest, ExplainVerdictResponse,
    LaterScore, OverallValue, StepSensor,
};
use tocsin_transport::Channel;

use super::number;
use crate::client::explain;
use crate::command::{Ask, given, when};
use crate::output::Section;

pub(super) async fn run(
    ask: &Ask,
    mut client: ReviewServiceClient<Channel>,
    request: ExplainVerdictRequest,
) -> Result<()> {
    let sensor = format!("{}/{}/{}", request.site, request.machine, request.sensor);
    let answer = client.explain_verdict(request).await;
    let answer = answer
        .map_err(|status| explain("explaining a verdict", &status))?
        .into_inner();
    print(ask, &sensor, &answer)
}

fn print(ask: &Ask, sensor: &str, answer: &ExplainVerdictResponse) -> Result<()> {
    let step = answer.step.as_ref().context("the answer has no step")?;
    let head = head(sensor, answer, step)?;
    let detectors: Vec<Value> = answer.detectors.iter().map(detector).collect();
    let sensors: Vec<Value> = step.sensors.iter().map(step_sensor).collect();
    let later: Vec<Value> = answer.later.iter().map(later).collect();
    let differences: Vec<Value> = answer
        .differences
        .iter()
        .map(|one| json!({ "difference": one }))
        .collect();
    let reading = answer.reading.as_ref().context("the answer has no reading")?;
    let overall: Vec<Value> = reading.overall.iter().map(overall).collect();
    let mut whole = head.clone();
    whole.insert("detectors".to_owned(), detectors.clone().into());
    whole.insert("step_sensors".to_owned(), sensors.clone().into());
    whole.insert("scored_later".to_owned(), later.clone().into());
    whole.insert("overall".to_owned(), overall.clone().into());
    whole.insert("differences".to_owned(), answer.differences.clone().into());
    whole.insert("spectrum_codes".to_owned(), reading.codes.clone().into());
    let section = |title: &str, items, columns| Section {
        title: title.to_owned(),
        items,
        columns,
    };
    let sections = [
        section("differences", differences, &["difference"]),
        section(
            "detectors",
            detectors,
            &[
                "detector",
                "score",
                "derived_score",
                "role",
                "alert_line",
                "page_line",
                "level",
                "decides",
            ],
        ),
        section("overall levels", overall, &["name", "value", "unit", "zone"]),
        section("the machine's step", sensors, &["sensor", "readings", "level"]),
        section(
            "scored later by the network",
            later,
            &["bundle", "residual", "derived_residual", "scorer_build"],
        ),
    ];
    ask.output
        .report("verdict", &Value::Object(whole), &Value::Object(head), &sections)
}

fn head(sensor: &str, answer: &ExplainVerdictResponse, step: &DerivedStep) -> Result<Map<String, Value>> {
    let stored = answer.stored.clone().unwrap_or_default();
    let derived = answer.derived.clone().unwrap_or_default();
    let (baseline, bundle, set) = (&answer.baseline, &answer.bundle, &answer.threshold_set);
    let mut head = Map::new();
    let mut put = |name: &str, value: Value| head.insert(name.to_owned(), value);
    put("sensor", sensor.into());
    put("captured_at", when(answer.captured_at)?);
    put("received_at", when(answer.received_at)?);
    put("verdict", verdict(&stored));
    put("derived_verdict", verdict(&derived));
    put("derived_level", number(derived.level));
    put("decision_matches", answer.decision_matches.into());
    put("scores_match", answer.scores_match.map_or(Value::Null, Value::from));
    for (name, value) in canonical(answer.reading.as_ref().context("the answer has no reading")?) {
        put(name, value);
    }
    put("condition_cell", answer.condition_cell.clone().into());
    put("baseline", baseline.as_ref().map_or(Value::Null, |one| one.id.into()));
    put(
        "baseline_epoch",
        baseline.as_ref().map_or(Value::Null, |one| one.epoch.into()),
    );
    put(
        "baseline_version",
        baseline.as_ref().map_or(Value::Null, |one| one.version.into()),
    );
    put("bundle", bundle.as_ref().map_or(Value::Null, |one| one.id.into()));
    put(
        "bundle_digest",
        bundle.as_ref().map_or(Value::Null, |one| one.digest.clone().into()),
    );
    put(
        "threshold_set_version",
        set.as_ref().map_or(Value::Null, |one| one.version.into()),
    );
    put("detector_mask", answer.detector_mask.into());
    put("flags", flags(answer).into());
    put("window", bundle.as_ref().map_or(0, |one| one.window).into());
    put("predecessors", answer.predecessors.into());
    put("predecessors_from", when(answer.predecessors_from)?);
    put("step_start", when(step.start)?);
    put("step_interval_s", step.interval_s.into());
    put("step_level", number(step.level));
    put("step_sensor", given(step.sensor.clone()));
    put("step_detector", given(step.detector.clone()));
    put("scorer_build", given(answer.scorer_build.clone()));
    put("deriving_build", answer.deriving_build.clone().into());
    Ok(head)
}

fn canonical(reading: &CanonicalReading) -> [(&'static str, Value); 8] {
    [
        ("bins", reading.bins.into()),
        ("full_scale", number(Some(reading.full_scale))),
        ("unit", reading.unit.clone().into()),
        ("content_hash", reading.content_hash.clone().into()),
        ("content_hash_found", given(reading.content_hash_found.clone())),
        ("rpm", number(reading.rpm)),
        ("load", number(reading.load)),
        ("clipped", reading.clipped.into()),
    ]
}

fn flags(answer: &ExplainVerdictResponse) -> Vec<&'static str> {
    let flags = [
        (answer.degraded, "degraded"),
        (answer.borrowed, "borrowed lines"),
        (answer.historical, "historical"),
        (answer.replay, "replay"),
    ];
    flags.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect()
}

fn verdict(decision: &Decision) -> Value {
    format!("{} ({})", decision.verdict, decision.decided_by).into()
}

fn detector(one: &DerivedDetector) -> Value {
    json!({
        "detector": one.detector,
        "score": number(one.score),
        "derived_score": number(one.derived_score),
        "role": given(one.role.clone()),
        "alert_line": number(one.alert_line),
        "page_line": number(one.page_line),
        "level": number(one.level),
        "decides": one.decides,
    })
}

fn overall(one: &OverallValue) -> Value {
    let level = one.level.clone().unwrap_or_default();
    json!({
        "name": level.name,
        "value": number(one.value),
        "unit": level.unit,
        "zone": given(one.zone.clone()),
    })
}

fn step_sensor(one: &StepSensor) -> Value {
    json!({ "sensor": one.sensor, "readings": one.readings, "level": number(one.level) })
}

fn later(one: &LaterScore) -> Value {
    json!({
        "bundle": one.bundle_id,
        "residual": number(Some(one.residual)),
        "derived_residual": number(one.derived_residual),
        "scorer_build": given(one.scorer_build.clone()),
    })
}
