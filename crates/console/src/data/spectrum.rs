//! One reading: observed and reconstructed spectrum (or, where it is not kept, the one rebuilt from its latent), the error of each bin, and what each detector said.

use axum::extract::{Path, Query};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tocsin_contracts::review::v1::GetVerdictRequest;
use tocsin_contracts::time::to_wire;
use tocsin_domain::Timestamp;

use super::{json, millis};
use crate::failure::{Failure, Part};
use crate::rebuilding;
use crate::session::Session;
use crate::view;

/// What the address says: the newest reading at or before `at` (microseconds since the epoch), or the newest of all.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    sensor: String,
    at: Option<i64>,
}

#[derive(Serialize)]
struct Reading {
    captured_at: Option<f64>,
    received_at: Option<f64>,
    verdict: String,
    decided_by: String,
    threshold_set: i32,
    bundle: i32,
    /// 0 without one.
    baseline: i32,
    degraded: bool,
    condition_unseen: bool,
    rpm: Option<f32>,
    load: Option<f32>,
    detectors: Vec<Detector>,
    /// The overall levels that the sensor declares.
    overall: Vec<Overall>,
    observed: Vec<f32>,
    reconstructed: Vec<f32>,
    bin_error: Vec<f32>,
    /// Of a reading whose spectrum is not kept; null otherwise.
    rebuilt: Option<Rebuilt>,
    centre: Vec<f64>,
    axis_unit: String,
    amplitude_unit: String,
}

/// Never evidence.
#[derive(Serialize)]
struct Rebuilt {
    /// Empty where it could not be rebuilt.
    amplitude: Vec<f32>,
    /// Null where it is not known.
    error: Option<f32>,
    /// By what, with its usual error, or why not.
    said: String,
}

#[derive(Serialize)]
struct Overall {
    label: String,
    unit: String,
    /// Null where the reading does not have it.
    value: Option<f32>,
    /// Its zone; empty where there is none.
    zone: String,
}

#[derive(Serialize)]
struct Detector {
    label: String,
    score: f32,
    level: f32,
    alert_line: f32,
    page_line: f32,
    role: String,
}

/// `GET …/spectrum`.
pub(crate) async fn show(
    session: Session,
    Path((site, machine)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let request = GetVerdictRequest {
        site,
        machine,
        sensor: asked.sensor,
        at: asked.at.map(|at| to_wire(Timestamp::from_micros(at))),
    };
    let answer = session
        .review()
        .get_verdict(request)
        .await
        .map_err(Part::Review.failed())?
        .into_inner();
    let detectors = answer.detectors.into_iter().map(|level| Detector {
        label: view::detector(&level.detector).to_owned(),
        score: level.score,
        level: level.level,
        alert_line: level.alert_line,
        page_line: level.page_line,
        role: level.role,
    });
    let overall = answer.overall.into_iter().map(|one| {
        let level = one.level.unwrap_or_default();
        Overall {
            label: view::overall_level(&level),
            unit: level.unit,
            value: one.value,
            zone: one.zone,
        }
    });
    Ok(json(&Reading {
        captured_at: millis(answer.captured_at),
        received_at: millis(answer.received_at),
        decided_by: view::detector(&answer.decided_by).to_owned(),
        verdict: answer.verdict,
        threshold_set: answer.threshold_set_id,
        bundle: answer.bundle_id,
        baseline: answer.baseline_id,
        degraded: answer.degraded,
        condition_unseen: answer.condition_unseen,
        rpm: answer.rpm,
        load: answer.load,
        detectors: detectors.collect(),
        overall: overall.collect(),
        observed: answer.observed,
        reconstructed: answer.reconstructed,
        bin_error: answer.bin_error,
        rebuilt: answer.rebuilt.map(|rebuilt| Rebuilt {
            amplitude: rebuilt.amplitude,
            error: rebuilt.error,
            said: rebuilding::said(&rebuilt.by.unwrap_or_default().into()),
        }),
        centre: answer.bin_centre,
        axis_unit: answer.axis_unit,
        amplitude_unit: answer.amplitude_unit,
    }))
}
