use std::num::NonZeroUsize;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tocsin_transport::server::Stack;
use tonic::body::Body;
use tower::ServiceExt;

use crate::fixture::{self, BINS, FakeEnsemble, Tokens};
use crate::{Config, MAX_BATCH_READINGS};

fn stack(ensemble: &FakeEnsemble, config: &Config) -> Stack {
    let ingest = fixture::ingest(config, [ensemble.channel()]);
    fixture::server(&ingest, &Tokens::default())
        .assemble()
        .expect("a whole server")
}

async fn post(stack: &Stack, token: &str, body: String) -> Response<Body> {
    let request = Request::post("/v1/readings").header("authorization", format!("Bearer {token}"));
    let request = request.body(Full::<axum::body::Bytes>::from(body)).expect("a request");
    let Ok(response) = stack.clone().oneshot(request).await;
    response
}

async fn read(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&body).expect("JSON"))
}

fn reading(sensor: &str, ago_s: u64) -> Value {
    let captured_at = (fixture::now() - std::time::Duration::from_secs(ago_s)).to_string();
    json!({"sensor": sensor, "captured_at": captured_at, "bins": vec![0.5; BINS]})
}

fn with(mut reading: Value, field: &str, value: Value) -> Value {
    reading[field] = value;
    reading
}

fn batch(readings: &[Value]) -> String {
    json!({ "readings": readings }).to_string()
}

#[tokio::test]
async fn readings_are_acknowledged_with_verdicts_and_bad_ones_are_named() {
    let ensemble = FakeEnsemble::new();
    let stack = stack(&ensemble, &Config::default());
    let full = with(with(reading("m1/s0", 5), "rpm", json!(1480)), "load", json!(0.5));
    let body = batch(&[
        full,
        with(reading("m1/s0", 4), "captured_at", json!("yesterday")),
        with(reading("m1/s0", 4), "bins", json!([0.1, null])),
        with(reading("m1/s0", 4), "rpm", json!(-1)),
        with(reading("m1/s0", 4), "bin", json!([])),
        with(reading("m1/s0", 4), "overall", json!({"undeclared": 1.2})),
        json!({"sensor": "m1/s0"}),
        with(reading("m1/s0", 4), "state", json!("off")),
        reading("m0/gone", 3),
        with(reading("m1/s0", 3), "rpm", json!(1)),
        with(
            with(reading("m1/s0", 2), "db_reference", json!(1e-6)),
            "overall",
            Value::Null,
        ),
    ]);
    let (status, ack) = read(post(&stack, "gateway", body).await).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&ack["stored"], &ack["duplicates"]), (&json!(2), &json!(1)));
    let rejections = ack["rejections"].as_array().expect("a list").iter();
    let rejections: Vec<_> = rejections.map(|r| json!([r["index"], r["code"], r["field"]])).collect();
    let expected = json!([
        [1, "malformed", "captured_at"],
        [2, "malformed", "bins"],
        [3, "malformed", "rpm"],
        [4, "malformed", "bin"],
        [5, "malformed", "overall.undeclared"],
        [6, "malformed", "captured_at"],
        [7, "malformed", "state"],
        [8, "unknown_sensor", "sensor"],
    ]);
    assert_eq!(Value::from(rejections), expected);
    let normal = |index| json!({"index": index, "verdict": "normal", "by": "residual"});
    assert_eq!(ack["verdicts"], json!([normal(0), normal(10)]));
    let call = &ensemble.called(1).await[0];
    assert!(!call.clock_is_capture && !call.historical);
    assert_eq!((call.readings[0].rpm, call.readings[0].load), (Some(1480.0), Some(0.5)));
}

#[tokio::test]
async fn an_overall_level_is_a_number_or_a_number_with_its_unit() {
    let ensemble = FakeEnsemble::new();
    let stack = stack(&ensemble, &Config::default());
    let level = |ago_s, level: Value| with(reading("m1/s0", ago_s), "overall", json!({"velocity_rms": level}));
    let body = batch(&[
        level(9, json!(1.25)),
        level(8, json!({"value": 0.5, "unit": "inch_per_second"})),
        level(7, Value::Null),
        level(6, json!("1.2")),
        level(5, json!({"value": 0.5, "unit": "kelvin"})),
        level(4, json!({"value": 0.5, "unit": "furlong"})),
        level(3, json!(1e39)),
    ]);
    let (_, ack) = read(post(&stack, "gateway", body).await).await;
    assert_eq!(ack["stored"], json!(3));
    let rejections = ack["rejections"].as_array().expect("a list").iter();
    let rejections: Vec<_> = rejections.map(|r| json!([r["index"], r["field"]])).collect();
    let expected: Vec<_> = (3..7).map(|index| json!([index, "overall.velocity_rms"])).collect();
    assert_eq!(rejections, expected);
    let call = &ensemble.called(1).await[0];
    let first = |place: usize| call.readings[place].overall.first().copied();
    assert_eq!((first(0), first(1), first(2)), (Some(1.25), Some(12.7), None));
}

#[tokio::test]
async fn a_body_that_is_no_batch_is_refused_with_what_is_wrong() {
    let stack = stack(&FakeEnsemble::new(), &Config::default());
    for (body, says) in [
        ("garbage", "expected value"),
        (r#"{"reading": []}"#, "unknown field `reading`"),
        (r#"{"readings": [1]}"#, "expected a map"),
        ("{}", "missing field `readings`"),
    ] {
        let (status, answer) = read(post(&stack, "gateway", body.to_owned()).await).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (StatusCode::BAD_REQUEST, &json!("malformed"))
        );
        let message = answer["error"]["message"].as_str().expect("words");
        assert!(message.contains(says), "{body}: {message}");
    }
    let many = batch(&vec![json!({}); MAX_BATCH_READINGS + 1]);
    assert_eq!(
        post(&stack, "gateway", many).await.status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let (status, answer) = read(post(&stack, "service", batch(&[])).await).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::FORBIDDEN, &json!("permission_denied"))
    );
    assert_eq!(
        post(&stack, "stranger", batch(&[])).await.status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn an_overloaded_server_says_when_to_come_back() {
    let ensemble = FakeEnsemble::new();
    ensemble.hold(0);
    let config = Config {
        in_flight_readings: NonZeroUsize::new(1).expect("not 0"),
        retry_after_ms: 1_200,
        ..Config::default()
    };
    let stack = stack(&ensemble, &config);
    let held = tokio::spawn({
        let stack = stack.clone();
        async move { post(&stack, "gateway", batch(&[reading("m0/s0", 1)])).await.status() }
    });
    ensemble.called(1).await;
    let response = post(&stack, "gateway", batch(&[reading("m1/s0", 1)])).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "2");
    assert_eq!(response.headers()["retry-after-ms"], "1200");
    ensemble.let_go();
    assert_eq!(held.await.expect("no panic"), StatusCode::OK);
}
