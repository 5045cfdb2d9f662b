//! A reading goes in at a port, is judged, stored and acknowledged; sending it again changes nothing.

use anyhow::Result;
use tocsin_contracts::ingest::v1::RejectionCode;
use tocsin_tests::{Plant, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_is_stored_once_however_often_it_is_sent() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut publisher = stage.publisher().await?;
    let readings: Vec<_> = (0..50).map(|n| Plant::reading("m1/h", n, Plant::healthy(n))).collect();
    let first = publisher.publish(readings.clone()).await?;
    assert_eq!((first.stored, first.duplicates, first.rejections.len()), (50, 0, 0));
    let again = publisher.publish(readings.clone()).await?;
    assert_eq!((again.stored, again.duplicates, again.rejections.len()), (0, 50, 0));

    let mut other = readings[7].clone();
    other.bins[3] *= 2.0;
    let conflict = publisher.publish(vec![readings[6].clone(), other]).await?;
    assert_eq!((conflict.stored, conflict.duplicates), (0, 1));
    assert_eq!(
        (conflict.rejections[0].index, conflict.rejections[0].code()),
        (1, RejectionCode::Conflict)
    );

    let (rows, judged): (i64, i64) =
        sqlx::query_as("select count(*), count(*) filter (where threshold_set_id > 0 and residual is not null and isolation is not null) from reading")
            .fetch_one(stage.store.pool())
            .await?;
    assert_eq!((rows, judged), (50, 50));
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_reading_is_named_and_the_rest_of_its_batch_goes_on() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut publisher = stage.publisher().await?;
    let good = |n| Plant::reading("m1/h", n, Plant::healthy(n));
    let mut short = good(1);
    short.bins.pop();
    let mut not_a_number = good(2);
    not_a_number.bins[9] = f32::NAN;
    let unknown = Plant::reading("m9/h", 3, Plant::healthy(3));
    let ack = publisher
        .publish(vec![good(0), short, not_a_number, unknown, good(4)])
        .await?;
    assert_eq!(ack.stored, 2);
    let told: Vec<(u32, RejectionCode, &str)> = ack
        .rejections
        .iter()
        .map(|r| (r.index, r.code(), r.field.as_str()))
        .collect();
    let expected = [
        (1, RejectionCode::Malformed, "bins"),
        (2, RejectionCode::Malformed, "bins[9]"),
        (3, RejectionCode::UnknownSensor, "sensor"),
    ];
    assert_eq!(told, expected);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn json_over_http_follows_the_same_rules() -> Result<()> {
    let stage = Stage::judging().await?;
    let token = stage.token().await?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().build()?;
    let url = format!("http://{}/v1/readings", stage.running.grpc_addr());
    let now = tocsin_domain::Clock::system().now().to_string();
    let body = serde_json::json!({"readings": [
        {"sensor": "m1/h", "captured_at": now, "bins": Plant::healthy(1)},
        {"sensor": "m1/h", "captured_at": "1970-01-01T00:00:00Z", "bins": Plant::healthy(2)},
    ]});
    let answer = client.post(&url).bearer_auth(token.expose()).json(&body).send().await?;
    assert_eq!(answer.status(), 200);
    let answer: serde_json::Value = answer.json().await?;
    assert_eq!(
        (answer["stored"].as_u64(), answer["rejections"][0]["index"].as_u64()),
        (Some(1), Some(1)),
        "{answer}"
    );
    assert_eq!(answer["rejections"][0]["field"], "captured_at");
    let refused = client.post(&url).json(&body).send().await?;
    assert_eq!(refused.status(), 401);
    stage.stop().await
}
