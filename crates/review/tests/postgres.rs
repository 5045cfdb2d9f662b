//! The review over stored rows in a real Postgres. `TOCSIN_TEST_DATABASE_URL` names a server on which databases may be
//! made; without it these tests say that they were skipped.

use std::time::Duration;

use http::Request;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tocsin_contracts::review::v1;
use tocsin_contracts::review::v1::review_service_client::ReviewServiceClient;
use tocsin_contracts::time;
use tocsin_domain::access::Person;
use tocsin_domain::fleet::Sensor;
use tocsin_domain::{
    AccountId, BundleDigest, BundleId, Condition, ContentHash, Detector, PersonRole, Principal, ReadingFlags,
    ReadingKey, Scope, Scores, SiteId, Slug, SpectrumSpec, ThresholdSetId, Timestamp,
};
use tocsin_judge::{Persistence, ThresholdSet};
use tocsin_review::{Config, Parts};
use tocsin_store::Store;
use tocsin_store::bundle::NewBundle;
use tocsin_store::fleet::{NewSensor, NewSite};
use tocsin_store::partition::Day;
use tocsin_store::reading::{NewReading, insert::readings_insert};
use tocsin_store::threshold::NewThresholdSet;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::body::Body;
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceExt};

type Client = ReviewServiceClient<BoxCloneService<Request<Body>, http::Response<Body>, BoxError>>;

struct Stage {
    store: Store,
    sensor: Sensor,
    bundle: BundleId,
    set: ThresholdSetId,
    limits: ThresholdSet,
}

fn at(second: u64) -> Timestamp {
    Timestamp::parse("t", "2026-03-01T12:00:00Z").unwrap() + Duration::from_secs(second)
}

fn slug(text: &str) -> Slug {
    Slug::parse("name", text).unwrap()
}

async fn with_stage<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Stage) -> F) {
    let Ok(server) = std::env::var("TOCSIN_TEST_DATABASE_URL") else {
        eprintln!("skipped {name}: TOCSIN_TEST_DATABASE_URL is not set");
        return;
    };
    let options: PgConnectOptions = server.parse().unwrap();
    let database = format!("tocsin_review_{}_{name}", std::process::id());
    let mut admin = PgConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("create database {database}")))
        .execute(&mut admin)
        .await
        .unwrap();
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .connect_with(options.database(&database))
        .await
        .unwrap();
    let store = Store::from_pool(pool);
    store.migrate().await.unwrap();
    test(stage(store.clone()).await).await;
    store.close().await;
    sqlx::raw_sql(AssertSqlSafe(format!("drop database {database} with (force)")))
        .execute(&mut admin)
        .await
        .unwrap();
}

async fn stage(store: Store) -> Stage {
    let site = NewSite {
        name: slug("north"),
        title: "North".to_owned(),
        time_zone: "UTC".to_owned(),
        oldest: Duration::from_hours(24),
        furthest: Duration::from_mins(5),
        auto_register_cap: 0,
    };
    store.site_create(&site, at(0)).await.unwrap();
    let class = store
        .class_create(&slug("pump"), Duration::from_secs(10), at(0))
        .await
        .unwrap()
        .id;
    store
        .spec_create(&slug("spec"), &SpectrumSpec::corpus_default(64), at(0))
        .await
        .unwrap();
    let new = NewSensor {
        site: slug("north"),
        machine: slug("p-1"),
        device: None,
        name: slug("drive-end"),
        class: slug("pump"),
        spec: slug("spec"),
    };
    let sensor = store.sensor_create(&Scope::All, &new, at(0)).await.unwrap().sensor;
    let bundle = NewBundle {
        class,
        digest: BundleDigest([7; 32]),
        manifest_json: "{}".to_owned(),
        pushed_by: "ana".to_owned(),
    };
    let bundle = store.bundle_insert(&bundle, at(0)).await.unwrap().id;
    let healthy: Vec<Scores> = (0..4_000)
        .map(|i| {
            let exponential = -(1.0 - (i as f32 + 0.5) / 4_000.0).ln();
            let mut scores = scores(exponential);
            scores.set(Detector::OverallLevel, exponential); // the lines for without the network need one
            scores
        })
        .collect();
    let limits = ThresholdSet::from_healthy_percentiles(&healthy, Persistence::default()).unwrap();
    let set = NewThresholdSet {
        class,
        bundle,
        definition_json: serde_json::to_string(&limits).unwrap(),
        provenance_json: "{}".to_owned(),
        reason: String::new(),
        created_by: "ana".to_owned(),
    };
    let set = store.threshold_set_insert(&set, at(0)).await.unwrap().id;
    Stage {
        store,
        sensor,
        bundle,
        set,
        limits,
    }
}

fn scores(residual: f32) -> Scores {
    let mut scores = Scores::default();
    scores.set(Detector::Residual, residual);
    scores
}

impl Stage {
    /// Stores one reading a second from `first` on, judged by the set.
    async fn read(&self, first: u64, residuals: &[f32]) {
        let readings: Vec<NewReading> = residuals
            .iter()
            .zip(first..)
            .map(|(residual, second)| {
                let scores = scores(*residual);
                NewReading {
                    key: ReadingKey {
                        sensor: self.sensor.id,
                        captured_at: at(second),
                    },
                    received_at: at(second + 1),
                    content_hash: ContentHash(1),
                    threshold_set: Some(self.set),
                    bundle: Some(self.bundle),
                    baseline: None,
                    predecessors: None,
                    scores,
                    condition: Condition {
                        rpm: Some(1_500.0),
                        load: None,
                    },
                    flags: ReadingFlags::default(),
                    verdict: self.limits.judge(&scores, Condition::default(), false).verdict,
                    condition_cell: 0,
                    overall: Vec::new(),
                    latent: Vec::new(),
                    spectrum: vec![second as u8; 64],
                }
            })
            .collect();
        self.store.partitions_ensure([Day::of(at(0))]).await.unwrap();
        let mut transaction = self.store.begin().await.unwrap();
        readings_insert(&mut transaction, &readings).await.unwrap();
        transaction.commit().await.unwrap();
    }

    fn client(&self, config: Config, scope: Scope) -> (Client, tocsin_review::Review) {
        let parts = Parts {
            store: self.store.clone(),
            scorers: None,
        };
        let (service, review) = tocsin_review::build(config, parts).unwrap();
        let person = Person {
            account: AccountId(1),
            name: "ana".to_owned(),
            role: PersonRole::Viewer,
            scope,
        };
        let service = service.map_request(move |mut request: Request<_>| {
            request.extensions_mut().insert(Principal::Person(person.clone()));
            request
        });
        (
            ReviewServiceClient::new(BoxCloneService::new(service.map_err(BoxError::from))),
            review,
        )
    }
}

fn series(points: u32) -> v1::GetMachineSeriesRequest {
    v1::GetMachineSeriesRequest {
        site: "north".to_owned(),
        machine: "p-1".to_owned(),
        from: None,
        to: None,
        points,
    }
}

#[tokio::test]
async fn a_series_keeps_the_highest_level_however_it_is_read() {
    with_stage("series", |stage| async move {
        let mut residuals = vec![0.5; 300];
        residuals[123] = 30.0;
        stage.read(0, &residuals).await;
        let few_at_once = Config {
            rows_at_once: 7,
            default_period_ms: 300_000,
            ..Config::default()
        };
        let (mut client, _) = stage.client(few_at_once, Scope::All);
        let thinned = client.get_machine_series(series(10)).await.unwrap().into_inner();
        let (mut client, _) = stage.client(
            Config {
                default_period_ms: 300_000,
                ..Config::default()
            },
            Scope::All,
        );
        assert_eq!(
            client.get_machine_series(series(10)).await.unwrap().into_inner(),
            thinned
        );
        let points = &thinned.sensors[0].points;
        let highest = points
            .iter()
            .max_by(|a, b| a.level.unwrap().total_cmp(&b.level.unwrap()))
            .unwrap();
        assert_eq!(
            (points.len(), highest.at, highest.verdict.as_str()),
            (10, Some(time::to_wire(at(123))), "page")
        );
        assert_eq!(highest.level, Some(stage.limits.members[0].level(30.0).0));
        assert_eq!(thinned.to, Some(time::to_wire(at(299) + Duration::from_micros(1))));
    })
    .await;
}

#[tokio::test]
async fn a_verdict_shows_what_was_observed_and_by_what_it_was_judged() {
    with_stage("verdict", |stage| async move {
        stage.read(0, &[0.5, 30.0, 0.5]).await;
        let (mut client, _) = stage.client(Config::default(), Scope::All);
        let request = v1::GetVerdictRequest {
            site: "north".to_owned(),
            machine: "p-1".to_owned(),
            sensor: "drive-end".to_owned(),
            at: Some(time::to_wire(at(1))),
        };
        let shown = client.get_verdict(request.clone()).await.unwrap().into_inner();
        assert_eq!(
            (shown.verdict.as_str(), shown.decided_by.as_str()),
            ("page", "residual")
        );
        assert_eq!(
            (shown.threshold_set_id, shown.bundle_id, shown.rpm),
            (stage.set.0, stage.bundle.0, Some(1_500.0))
        );
        assert_eq!(
            (
                shown.observed.len(),
                shown.reconstructed.len(),
                shown.axis_unit.as_str()
            ),
            (64, 0, "Hz")
        );
        assert_eq!(shown.bin_centre[0].to_bits(), 100f64.to_bits());
        let early = v1::GetVerdictRequest {
            at: Some(time::to_wire(at(0) - Duration::from_secs(1))),
            ..request
        };
        assert_eq!(client.get_verdict(early).await.unwrap_err().code(), Code::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_spectrogram_is_a_matrix_of_columns_by_bins() {
    with_stage("spectrogram", |stage| async move {
        stage.read(0, &[0.5; 20]).await;
        let (mut client, _) = stage.client(Config::default(), Scope::All);
        let request = v1::GetSpectrogramRequest {
            site: "north".to_owned(),
            machine: "p-1".to_owned(),
            sensor: "drive-end".to_owned(),
            from: Some(time::to_wire(at(0))),
            to: Some(time::to_wire(at(20))),
            columns: 5,
        };
        let shown = client.get_spectrogram(request).await.unwrap().into_inner();
        assert_eq!(
            (shown.at.len(), shown.amplitude.len(), shown.bin_centre.len()),
            (5, 5 * 64, 64)
        );
        assert_eq!(shown.amplitude_unit, "g");
    })
    .await;
}

#[tokio::test]
async fn another_sites_machine_does_not_exist_and_silence_is_no_error() {
    with_stage("scope", |stage| async move {
        let elsewhere = Scope::site(SiteId(stage.sensor.site.0 + 1));
        let (mut client, _) = stage.client(Config::default(), elsewhere);
        assert_eq!(
            client.get_machine_series(series(0)).await.unwrap_err().code(),
            Code::NotFound
        );
        let (mut client, _) = stage.client(Config::default(), Scope::All);
        let silent = client.get_machine_series(series(0)).await.unwrap().into_inner();
        assert_eq!((silent.sensors.len(), silent.from), (1, None));
        assert_eq!(
            client.get_machine_series(series(5_001)).await.unwrap_err().code(),
            Code::InvalidArgument
        );
    })
    .await;
}

#[tokio::test]
async fn a_watcher_hears_of_new_readings() {
    with_stage("watch", |stage| async move {
        let (mut client, review) = stage.client(
            Config {
                watch_interval_ms: 10,
                ..Config::default()
            },
            Scope::All,
        );
        let stop = CancellationToken::new();
        let running = tokio::spawn(review.run(stop.clone()));
        let mut changes = client
            .watch_readings(v1::WatchReadingsRequest {})
            .await
            .unwrap()
            .into_inner();
        let mut last = changes.next().await.unwrap().unwrap().change;
        for first in [0, 10] {
            stage.read(first, &[0.5; 3]).await;
            let next = changes.next().await.unwrap().unwrap().change;
            assert!(next > last);
            last = next;
        }
        stop.cancel();
        running.await.unwrap();
    })
    .await;
}
