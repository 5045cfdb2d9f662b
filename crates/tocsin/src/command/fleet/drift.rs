//! `tocsin sensors drift`, `accept-plateau`, `rollback-baseline` and `release-baseline`.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tocsin_contracts::recalibrator::v1::recalibrator_service_client::RecalibratorServiceClient;
use tocsin_contracts::recalibrator::v1::{
    AcceptPlateauRequest, ListDriftRequest, ReleaseBaselineRequest, RollbackBaselineRequest, SensorDrift,
};

use crate::client::explain;
use crate::command::{Ask, given, when};

const COLUMNS: &[&str] = &[
    "machine",
    "sensor",
    "at",
    "finding",
    "recent_db",
    "active_db",
    "standing",
    "version",
    "held",
    "held_by",
    "readings",
];

/// Prints where each of a site's sensors stood in the last round.
pub(super) async fn list(ask: &Ask, site: String) -> Result<()> {
    let mut client = RecalibratorServiceClient::new(ask.target.channel()?);
    let answer = client.list_drift(ListDriftRequest { site }).await;
    let answer = answer
        .map_err(|status| explain("looking at drift", &status))?
        .into_inner();
    let views = answer.sensors.into_iter().map(view).collect::<Result<_>>()?;
    ask.output.list("sensors", views, COLUMNS)
}

/// Makes where a sensor stands its baseline.
pub(super) async fn accept_plateau(ask: &Ask, [site, machine, sensor]: [String; 3], reason: String) -> Result<()> {
    let mut client = RecalibratorServiceClient::new(ask.target.channel()?);
    let request = AcceptPlateauRequest {
        site,
        machine,
        sensor,
        reason,
    };
    let answer = client.accept_plateau(request).await;
    let answer = answer
        .map_err(|status| explain("accepting the plateau", &status))?
        .into_inner();
    ask.output
        .item("sensor", view(answer.sensor.context("an answer without a sensor")?)?)
}

/// Takes a followed baseline back.
pub(super) async fn rollback(
    ask: &Ask,
    [site, machine, sensor]: [String; 3],
    (version, reason): (Option<i32>, String),
) -> Result<()> {
    let mut client = RecalibratorServiceClient::new(ask.target.channel()?);
    let request = RollbackBaselineRequest {
        site,
        machine,
        sensor,
        reason,
        version: version.unwrap_or_default(),
    };
    let answer = client.rollback_baseline(request).await;
    let answer = answer
        .map_err(|status| explain("taking the baseline back", &status))?
        .into_inner();
    ask.output
        .item("sensor", view(answer.sensor.context("an answer without a sensor")?)?)
}

/// Lets a baseline that was taken back follow again.
pub(super) async fn release(ask: &Ask, [site, machine, sensor]: [String; 3], reason: String) -> Result<()> {
    let mut client = RecalibratorServiceClient::new(ask.target.channel()?);
    let request = ReleaseBaselineRequest {
        site,
        machine,
        sensor,
        reason,
    };
    let answer = client.release_baseline(request).await;
    let answer = answer
        .map_err(|status| explain("releasing the baseline", &status))?
        .into_inner();
    ask.output
        .item("sensor", view(answer.sensor.context("an answer without a sensor")?)?)
}

fn view(drift: SensorDrift) -> Result<Value> {
    let tenths = |value: f64| (value * 10.0).round() / 10.0;
    Ok(json!({
        "machine": drift.machine,
        "sensor": drift.sensor,
        "at": when(drift.at)?,
        "finding": drift.finding,
        "recent_db": tenths(drift.recent_db),
        "active_db": tenths(drift.active_db),
        "standing": tenths(drift.standing),
        "cusum": tenths(drift.cusum),
        "version": drift.version,
        "held": drift.held,
        "held_by": given(drift.held_by),
        "held_reason": given(drift.held_reason),
        "readings": drift.readings,
    }))
}
