//! `POST /v1/readings`: the same batch as JSON, for a first try with curl and for small gateways.
//!
//! ```json
//! {"readings": [{"sensor": "press-1/spindle", "captured_at": "2026-03-01T12:00:00Z", "bins": [0.01, 0.02],
//!                "db_reference": 1e-6, "rpm": 1480, "load": 0.6, "state": "running",
//!                "overall": {"velocity_rms": 1.2, "temperature": {"value": 104, "unit": "degree_fahrenheit"}}}]}
//! ```
//!
//! All but `sensor`, `captured_at` and `bins` may be left out. An overall level without a unit is in the declared one. The answer is the stream's ack, and the verdict of each
//! reading stored now. A batch that is not taken is 413, 429 or 503, the latter two with `Retry-After`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tocsin_contracts::Malformed;
use tocsin_contracts::ingest::v1::{Refusal, RefusalCode, RejectionCode};
use tocsin_contracts::ingest::{SentReading, StreamProperties};
use tocsin_domain::fleet::SensorPath;
use tocsin_domain::spectrum::AmplitudeScale;
use tocsin_domain::{Condition, DeclaredState, OverallLevel, Principal, Timestamp, Unit, Verdict};
use tocsin_transport::retry;

use crate::admission::{NewestCaptures, Terms};
use crate::intake::{Answered, Intake};

/// A batch. What is wrong with a reading is that reading's affair, so each is read by itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchJson {
    readings: Vec<Map<String, Value>>,
}

/// An overall level in a unit of its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InUnit {
    value: f32,
    unit: Unit,
}

/// The answer.
#[derive(Debug, Serialize)]
struct AckJson {
    stored: u32,
    duplicates: u32,
    rejections: Vec<RejectionJson>,
    verdicts: Vec<VerdictJson>,
}

#[derive(Debug, Serialize)]
struct RejectionJson {
    index: u32,
    code: &'static str,
    field: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct VerdictJson {
    index: u32,
    #[serde(flatten)]
    verdict: Verdict,
}

/// A call that is not answered with an ack.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after_ms: u32,
}

pub(crate) fn routes(intake: Arc<Intake>) -> axum::Router {
    axum::Router::new()
        .route("/v1/readings", axum::routing::post(publish))
        .with_state(intake)
}

async fn publish(
    State(intake): State<Arc<Intake>>,
    principal: Option<Extension<Principal>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<AckJson>, Problem> {
    let Some(Extension(principal)) = principal else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "no credential came with the call",
        ));
    };
    let gateway = principal.as_gateway("publish readings");
    let gateway =
        gateway.map_err(|error| Problem::new(StatusCode::FORBIDDEN, "permission_denied", error.to_string()))?;
    let body = body.map_err(|error| Problem::new(error.status(), "body", error.body_text()))?;
    let batch: BatchJson = serde_json::from_slice(&body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "malformed", error.to_string()))?;
    let terms = Terms {
        gateway: Arc::new(gateway.clone()),
        stream: StreamProperties::default(),
        newest: NewestCaptures::default(),
    };
    // In a task of its own: a caller that hangs up doesn't stop a commit half way through its answer.
    let arrived = intake.arrive(gateway, 0, batch.readings, sent)?;
    let answer = tokio::spawn(async move { intake.process(&terms, arrived).await }).await;
    let broken = |_| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the batch broke the server's work",
        )
    };
    Ok(Json(answer.map_err(broken)??.into()))
}

/// Reads one reading; the error names its field.
fn sent(mut reading: Map<String, Value>) -> Result<SentReading, Malformed> {
    let sensor: String = required(&mut reading, "sensor")?;
    let captured_at: String = required(&mut reading, "captured_at")?;
    let bins: Vec<f32> = required(&mut reading, "bins")?;
    let db_reference: Option<f64> = optional(&mut reading, "db_reference")?;
    let rpm: Option<f32> = optional(&mut reading, "rpm")?;
    let load: Option<f32> = optional(&mut reading, "load")?;
    let state: Option<String> = optional(&mut reading, "state")?;
    let overall: Option<BTreeMap<String, Value>> = optional(&mut reading, "overall")?;
    if let Some(name) = reading.keys().next() {
        return Err(Malformed::new(name, "is not a field of a reading"));
    }
    let overall = overall
        .unwrap_or_default()
        .into_iter()
        .filter(|(_, value)| !value.is_null());
    let state = state.map(|state| DeclaredState::parse("state", &state)).transpose()?;
    let condition = Condition::parse(rpm, load).map_err(|error| Malformed {
        // Here the condition's numbers stand in the reading itself.
        field: error.field.trim_start_matches("condition.").to_owned(),
        reason: error.reason,
    })?;
    Ok(SentReading {
        sensor: SensorPath::parse(&sensor)?,
        captured_at: Timestamp::parse("captured_at", &captured_at)?,
        bins,
        scale: db_reference.map_or(AmplitudeScale::Linear, |reference| AmplitudeScale::Decibel {
            reference,
        }),
        condition: condition.in_state(state),
        overall: overall.map(overall_level).collect::<Result<_, _>>()?,
    })
}

/// A number, or an object of a number and its unit.
fn overall_level((name, value): (String, Value)) -> Result<OverallLevel, Malformed> {
    let read = if value.is_object() {
        serde_json::from_value(value).map(|InUnit { value, unit }| (value, Some(unit)))
    } else {
        serde_json::from_value(value).map(|value| (value, None))
    };
    match read {
        Ok((value, unit)) => Ok(OverallLevel { name, value, unit }),
        Err(error) => Err(Malformed::new(format!("overall.{name}"), error.to_string())),
    }
}

fn required<T: DeserializeOwned>(reading: &mut Map<String, Value>, field: &str) -> Result<T, Malformed> {
    optional(reading, field)?.ok_or_else(|| Malformed::new(field, "is missing"))
}

fn optional<T: DeserializeOwned>(reading: &mut Map<String, Value>, field: &str) -> Result<Option<T>, Malformed> {
    let value = reading.remove(field).unwrap_or_default();
    serde_json::from_value(value).map_err(|error| Malformed::new(field, error.to_string()))
}

impl From<Answered> for AckJson {
    fn from(answered: Answered) -> Self {
        let Answered { ack, verdicts } = answered;
        let rejections = ack.rejections.into_iter().map(|rejection| RejectionJson {
            index: rejection.index,
            code: code_name(rejection.code()),
            field: rejection.field,
            reason: rejection.reason,
        });
        Self {
            stored: ack.stored,
            duplicates: ack.duplicates,
            rejections: rejections.collect(),
            verdicts: verdicts
                .into_iter()
                .map(|(index, verdict)| VerdictJson { index, verdict })
                .collect(),
        }
    }
}

fn code_name(code: RejectionCode) -> &'static str {
    match code {
        RejectionCode::Unspecified => "unspecified",
        RejectionCode::Malformed => "malformed",
        RejectionCode::OutOfTime => "out_of_time",
        RejectionCode::UnknownSensor => "unknown_sensor",
        RejectionCode::Conflict => "conflict",
        RejectionCode::NotStored => "not_stored",
    }
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after_ms: 0,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match refusal.code() {
            RefusalCode::Overloaded => (StatusCode::TOO_MANY_REQUESTS, "overloaded"),
            RefusalCode::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            RefusalCode::Unavailable | RefusalCode::Unspecified => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        Self {
            retry_after_ms: refusal.retry_after_ms,
            ..Self::new(status, code, refusal.reason)
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message } });
        let mut response = (self.status, Json(body)).into_response();
        if self.retry_after_ms > 0 {
            // Retry-After counts whole seconds: rounded up, for too early is refused again.
            let headers = response.headers_mut();
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(self.retry_after_ms.div_ceil(1_000)),
            );
            headers.insert(retry::RETRY_AFTER_MS, HeaderValue::from(self.retry_after_ms));
        }
        response
    }
}
