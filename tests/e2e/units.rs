//! The same machine declared in another unit, or in decibels, gets the same verdicts.

use anyhow::Result;
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::fleet::v1::{CreateSpecRequest, Spec};
use tocsin_contracts::ingest::v1::Reading;
use tocsin_domain::spec::Unit;
use tocsin_tests::stage::register_sensor;
use tocsin_tests::{Plant, Stage};

/// Metres per second squared in one g.
const STANDARD_GRAVITY: f64 = 9.806_65;

/// What 0 dB is, in metres per second squared (ISO 1683).
const REFERENCE: f64 = 1e-6;

/// Steps of each machine; the last twenty fail.
const STEPS: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_in_another_unit_or_in_decibels_gets_the_same_verdicts() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut spec = Plant::spec();
    spec.unit = Unit::MetrePerSecondSquared;
    spec.full_scale *= STANDARD_GRAVITY;
    spec.s0 *= STANDARD_GRAVITY;
    let spec = Spec {
        name: "pump-metric".to_owned(),
        definition_json: serde_json::to_string(&spec)?,
    };
    let mut fleet = FleetServiceClient::new(stage.running.service_channel());
    fleet.create_spec(CreateSpecRequest { spec: Some(spec) }).await?;
    for machine in ["metric", "decibel"] {
        register_sensor(stage.running.service_channel(), machine, "h", "pump-metric").await?;
    }

    let mut publisher = stage.publisher().await?;
    for n in 0..STEPS {
        let ack = publisher.publish(thrice(n)).await?;
        assert_eq!(ack.stored, 3, "{ack:?}");
    }
    // Of every machine, each step's verdict and canonical spectrum; the machine m1 has its own.
    let same: Vec<(String, i64, i64)> = sqlx::query_as(
        "with named as (select m.name, r.captured_at, r.verdict, r.spectrum
                        from reading r join sensor using (sensor_id) join machine m using (machine_id))
         select other.name, count(*), count(*) filter (where one.verdict = other.verdict and one.spectrum = other.spectrum)
         from named one join named other using (captured_at) where one.name = 'm1' group by 1 order by 1",
    )
    .fetch_all(stage.store.pool())
    .await?;
    let whole = |name: &str| (name.to_owned(), STEPS as i64, STEPS as i64);
    assert_eq!(same, [whole("decibel"), whole("m1"), whole("metric")]);
    let verdicts: i64 = sqlx::query_scalar("select count(distinct verdict) from reading")
        .fetch_one(stage.store.pool())
        .await?;
    assert!(verdicts > 1, "healthy and failing steps were judged alike");
    let opened: Vec<(String, i16)> = sqlx::query_as("select opened_at::text, severity from incident")
        .fetch_all(stage.store.pool())
        .await?;
    assert_eq!(opened.len(), 3, "{opened:?}");
    assert!(opened.iter().all(|incident| *incident == opened[0]), "{opened:?}");
    stage.stop().await
}

/// A step of the three machines: in g, in metres per second squared, and in decibels.
fn thrice(n: u64) -> Vec<Reading> {
    let bins = match n {
        ..40 => Plant::healthy(n),
        _ => Plant::failing(n),
    };
    let metric = bins.iter().map(|g| f64::from(*g) * STANDARD_GRAVITY);
    let decibel = metric.clone().map(|amplitude| 20.0 * (amplitude / REFERENCE).log10());
    let (metric, decibel) = (
        metric.map(|value| value as f32).collect(),
        decibel.map(|value| value as f32).collect(),
    );
    vec![
        Plant::reading("m1/h", n, bins),
        Plant::reading("metric/h", n, metric),
        Reading {
            db_reference: Some(REFERENCE),
            ..Plant::reading("decibel/h", n, decibel)
        },
    ]
}
