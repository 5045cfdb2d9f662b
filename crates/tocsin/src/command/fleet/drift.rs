//! `tocsin sensors drift` and `accept-plateau`.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tocsin_contracts::recalibrator::v1::recalibrator_service_client::RecalibratorServiceClient;
use tocsin_contracts::recalibrator::v1::{AcceptPlateauRequest, ListDriftRequest, SensorDrift};

use crate::client::explain;
use crate::command::{Ask, when};

const COLUMNS: &[&str] = &[
    "machine",
    "sensor",
    "at",
    "finding",
    "recent_db",
    "active_db",
    "standing",
    "held",
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
        "held": drift.held,
        "readings": drift.readings,
    }))
}
