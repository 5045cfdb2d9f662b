//! The review over stored rows in a real Postgres.

#[path = "postgres/incident.rs"]
mod incident;
#[path = "postgres/rebuilt.rs"]
mod rebuilt;
#[path = "postgres/record.rs"]
mod record;

use std::time::Duration;

use http::Request;
use tocsin_contracts::review::v1;
use tocsin_contracts::review::v1::review_service_client::ReviewServiceClient;
use tocsin_contracts::time;
use tocsin_domain::access::Person;
use tocsin_domain::fleet::Sensor;
use tocsin_domain::overall::{Band, OverallQuantity};
use tocsin_domain::{
    AccountId, BaselineId, BundleDigest, BundleId, Clock, Condition, ContentHash, Detector, OverallSpec, PersonRole,
    Principal, ReadingFlags, ReadingKey, Scope, Scores, SensorId, SiteId, SpectrumSpec, ThresholdSetId, Timestamp,
    Unit, Verdict,
};
use tocsin_judge::{Persistence, ThresholdSet};
use tocsin_models::{BundleStore, Objects};
use tocsin_review::{Config, Parts};
use tocsin_scratch::{pump, slug, with_store};
use tocsin_store::Store;
use tocsin_store::bundle::NewBundle;
use tocsin_store::incident::{NewEvidence, evidence_insert};
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
    objects: Objects,
    sensor: Sensor,
    bundle: BundleId,
    set: ThresholdSetId,
    limits: ThresholdSet,
    /// What its readings say that they were held against.
    baseline: Option<BaselineId>,
}

fn at(second: u64) -> Timestamp {
    Timestamp::parse("t", "2026-03-01T12:00:00Z").unwrap() + Duration::from_secs(second)
}

async fn with_stage<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Stage) -> F) {
    with_store(name, async |store| test(stage(store).await).await).await;
}

async fn stage(store: Store) -> Stage {
    let sensor = pump(&store, &spec(), at(0)).await;
    let class = sensor.class;
    let bundle = NewBundle {
        class,
        digest: BundleDigest([7; 32]),
        manifest_json: "{}".to_owned(),
        pushed_by: "ana".to_owned(),
    };
    let bundle = store
        .bundle_insert(&bundle, at(0), tocsin_scratch::audit)
        .await
        .unwrap()
        .id;
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
        by_person: false,
    };
    let set = store
        .threshold_set_insert(&set, at(0), tocsin_scratch::audit)
        .await
        .unwrap()
        .id;
    Stage {
        store,
        objects: Objects::open("memory://").unwrap(),
        sensor,
        bundle,
        set,
        limits,
        baseline: Some(BaselineId(5)),
    }
}

/// Declares a velocity in inches per second and a temperature beside the spectrum.
fn spec() -> SpectrumSpec {
    let velocity = OverallSpec {
        name: slug("velocity_rms"),
        quantity: OverallQuantity::VelocityRms,
        unit: Unit::InchPerSecond,
        band: Some(Band {
            low_hz: 10.0,
            high_hz: 1_000.0,
        }),
    };
    let temperature = OverallSpec {
        name: slug("temperature"),
        quantity: OverallQuantity::Temperature,
        unit: Unit::Kelvin,
        band: None,
    };
    SpectrumSpec {
        overall: vec![velocity, temperature],
        ..SpectrumSpec::corpus_default(64)
    }
}

fn scores(residual: f32) -> Scores {
    let mut scores = Scores::default();
    scores.set(Detector::Residual, residual);
    scores
}

impl Stage {
    /// Stores one reading a second from `first` on, judged by the set; its residual is its velocity too.
    async fn read(&self, first: u64, residuals: &[f32]) {
        self.read_of(self.sensor.id, first, residuals).await;
    }

    async fn read_of(&self, sensor: SensorId, first: u64, residuals: &[f32]) {
        let numbered = residuals.iter().zip(first..);
        let readings: Vec<NewReading> = numbered
            .map(|(residual, second)| self.reading(sensor, second, *residual))
            .collect();
        self.store_readings(&readings).await;
    }

    fn reading(&self, sensor: SensorId, second: u64, residual: f32) -> NewReading {
        let scores = scores(residual);
        NewReading {
            key: ReadingKey {
                sensor,
                captured_at: at(second),
            },
            received_at: at(second + 1),
            content_hash: ContentHash(1),
            threshold_set: Some(self.set),
            bundle: Some(self.bundle),
            baseline: self.baseline,
            scorer_build: None,
            predecessors: None,
            scores,
            condition: Condition {
                rpm: Some(1_500.0),
                load: None,
                ..Condition::default()
            },
            flags: ReadingFlags::default(),
            verdict: self.limits.judge(&scores, Condition::default(), false).verdict,
            state: tocsin_domain::OperatingState::Known,
            overall: vec![Some(residual), None],
            latent: Vec::new(),
            spectrum: vec![second as u8; 64],
        }
    }

    async fn store_readings(&self, readings: &[NewReading]) {
        self.store.partitions_ensure([Day::of(at(0))]).await.unwrap();
        let mut transaction = self.store.begin().await.unwrap();
        readings_insert(&mut transaction, readings).await.unwrap();
        transaction.commit().await.unwrap();
    }

    /// Archives the one day that there is.
    async fn archive(&self) {
        let archiver = tocsin_archive::Archiver::new(
            tocsin_archive::Config::default(),
            self.store.clone(),
            self.objects.clone(),
            Clock::manual(at(0) + Duration::from_hours(24 * 30)),
            "review",
        );
        assert_eq!(archiver.round().await.unwrap().archived.len(), 1);
        assert_eq!(self.store.partitions_list().await.unwrap(), []);
    }

    fn client(&self, config: Config, scope: Scope) -> (Client, tocsin_review::Review) {
        self.client_as(PersonRole::Viewer, config, scope)
    }

    fn client_as(&self, role: PersonRole, config: Config, scope: Scope) -> (Client, tocsin_review::Review) {
        let parts = Parts {
            store: self.store.clone(),
            scorers: None,
            bundles: BundleStore::over(self.objects.clone()),
            clock: Clock::manual(at(90_000)),
        };
        let (service, review) = tocsin_review::build(config, parts).unwrap();
        let person = Person {
            account: AccountId(1),
            name: "ana".to_owned(),
            role,
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
        let [velocity, temperature] = &thinned.sensors[0].overall[..] else {
            panic!("one for each level declared: {:?}", thinned.sensors[0].overall);
        };
        let values: Vec<f32> = velocity.points.iter().map(|point| point.value).collect();
        assert_eq!(values, [0.5, 0.5, 0.5, 0.5, 30.0, 0.5, 0.5, 0.5, 0.5, 0.5]);
        assert!(temperature.points.is_empty(), "declared, but never sent");
    })
    .await;
}

#[tokio::test]
async fn an_archived_day_is_shown_as_it_was_when_it_was_hot() {
    with_stage("cold", |stage| async move {
        let mut residuals = vec![0.5; 300];
        residuals[123] = 30.0;
        stage.read(0, &residuals).await;
        let (mut client, _) = stage.client(Config::default(), Scope::All);
        let spectra = v1::GetSpectrogramRequest {
            site: "north".to_owned(),
            machine: "p-1".to_owned(),
            sensor: "drive-end".to_owned(),
            from: None,
            to: None,
            columns: 10,
            with_rebuilt: false,
        };
        let verdict = |second| v1::GetVerdictRequest {
            site: "north".to_owned(),
            machine: "p-1".to_owned(),
            sensor: "drive-end".to_owned(),
            at: Some(time::to_wire(at(second))),
        };
        let hot = client.get_machine_series(series(10)).await.unwrap().into_inner();
        let hot_spectra = client.get_spectrogram(spectra.clone()).await.unwrap().into_inner();
        let hot_verdict = client.get_verdict(verdict(7)).await.unwrap().into_inner();

        stage.archive().await;
        assert_eq!(client.get_machine_series(series(10)).await.unwrap().into_inner(), hot);
        // The sensor waits to be commissioned, so all its spectra are kept.
        assert_eq!(client.get_spectrogram(spectra).await.unwrap().into_inner(), hot_spectra);
        assert_eq!(client.get_verdict(verdict(7)).await.unwrap().into_inner(), hot_verdict);
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
            (shown.threshold_set_id, shown.bundle_id, shown.baseline_id, shown.rpm),
            (stage.set.0, stage.bundle.0, 5, Some(1_500.0))
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
        let levels: Vec<_> = shown
            .overall
            .iter()
            .map(|one| (one.level.clone().unwrap(), one.value))
            .collect();
        let expected = v1::OverallLevel {
            name: "velocity_rms".to_owned(),
            quantity: "velocity_rms".to_owned(),
            unit: "mm/s".to_owned(),
            low_hz: Some(10.0),
            high_hz: Some(1_000.0),
        };
        assert_eq!((&levels[0].0, levels[0].1), (&expected, Some(30.0)));
        assert_eq!((levels[1].0.unit.as_str(), levels[1].1), ("°C", None));
        let early = v1::GetVerdictRequest {
            at: Some(time::to_wire(at(0) - Duration::from_secs(1))),
            ..request
        };
        assert_eq!(client.get_verdict(early).await.unwrap_err().code(), Code::NotFound);
    })
    .await;
}

#[tokio::test]
async fn without_a_scorer_the_kept_errors_stand_in_and_shares_of_a_deviation_do_not() {
    with_stage("kept", |stage| async move {
        stage.read(0, &[30.0]).await;
        let evidence = NewEvidence {
            key: ReadingKey {
                sensor: stage.sensor.id,
                captured_at: at(0),
            },
            machine: stage.sensor.machine,
            incident: None,
            bin_error: Some([0, 60].repeat(64)), // one, as a half float
        };
        let mut transaction = stage.store.begin().await.unwrap();
        evidence_insert(&mut transaction, &[evidence]).await.unwrap();
        transaction.commit().await.unwrap();
        let (mut client, _) = stage.client(Config::default(), Scope::All);
        let mut errors = async || {
            let request = v1::GetVerdictRequest {
                site: "north".to_owned(),
                machine: "p-1".to_owned(),
                sensor: "drive-end".to_owned(),
                at: None,
            };
            client.get_verdict(request).await.unwrap().into_inner().bin_error
        };
        assert_eq!(errors().await, [1.0; 64]);
        let by_growth = Verdict::Page { by: Detector::Growth };
        sqlx::query("update reading set verdict = $1")
            .bind(by_growth.to_code())
            .execute(stage.store.pool())
            .await
            .unwrap();
        assert!(errors().await.is_empty());
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
            with_rebuilt: false,
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
async fn a_watcher_hears_of_new_readings_of_their_sites_alone() {
    with_stage("watch", |stage| async move {
        let stop = CancellationToken::new();
        let watch = async |scope: Scope| {
            let config = Config {
                watch_interval_ms: 10,
                ..Config::default()
            };
            let (mut client, review) = stage.client(config, scope);
            let running = tokio::spawn(review.run(stop.clone()));
            let watched = client.watch_readings(v1::WatchReadingsRequest {}).await;
            (running, watched.unwrap().into_inner())
        };
        let (running, mut here) = watch(Scope::site(stage.sensor.site)).await;
        let (running_too, mut elsewhere) = watch(Scope::site(SiteId(stage.sensor.site.0 + 1))).await;
        let mut last = here.next().await.unwrap().unwrap().change;
        assert_eq!(elsewhere.next().await.unwrap().unwrap().change, last);
        for first in [0, 10] {
            stage.read(first, &[0.5; 3]).await;
            let next = here.next().await.unwrap().unwrap().change;
            assert!(next > last);
            last = next;
        }
        let told = tokio::time::timeout(Duration::from_millis(50), elsewhere.next()).await;
        assert!(told.is_err(), "{told:?}");
        stop.cancel();
        running.await.unwrap();
        running_too.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn alarm_performance_is_told_for_the_callers_sites_alone_with_a_target_for_each_figure() {
    with_stage("performance", |stage| async move {
        let new = tocsin_store::incident::NewIncident {
            machine: stage.sensor.machine,
            severity: tocsin_domain::Severity::Page,
            opened_at: at(10),
            paged_at: Some(at(10)),
            deciding_sensor: stage.sensor.id,
            deciding_detector: Detector::Residual,
            level: tocsin_domain::Level(2.5),
            threshold_set: Some(stage.set),
            bundle: Some(stage.bundle),
            replay: false,
        };
        let mut transaction = stage.store.begin().await.unwrap();
        tocsin_store::incident::incident_insert(&mut transaction, &new)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        let asked = |site: &str, days: u64| v1::GetAlarmPerformanceRequest {
            site: site.to_owned(),
            from: Some(time::to_wire(at(0))),
            to: Some(time::to_wire(at(days * 86_400))),
        };
        let (mut client, _) = stage.client(Config::default(), Scope::All);
        let found = client
            .get_alarm_performance(asked("north", 30))
            .await
            .unwrap()
            .into_inner();
        assert_eq!((found.alarms, found.stale_alarms, found.days[0].pages), (1, 1, 1));
        assert_eq!(found.most_frequent[0].machine, "p-1");
        assert!((found.machine_hours - 720.0).abs() < 1e-6);
        assert_eq!((found.budget_per_week, found.budget_per_night), (2, 1));
        let standing = |name: &str| {
            found
                .marks
                .iter()
                .find(|mark| mark.name == name)
                .unwrap()
                .standing
                .clone()
        };
        assert_eq!(standing("alarms_per_10_min"), "within");
        assert_eq!(
            standing("most_pages_in_a_week"),
            "not judged",
            "nobody was told anything"
        );

        let refused = async |request| client.clone().get_alarm_performance(request).await.unwrap_err();
        assert_eq!(refused(asked("nowhere", 1)).await.code(), Code::NotFound);
        let long = refused(asked("", 367)).await;
        assert!(long.message().starts_with("to: "), "{long:?}");
        assert_eq!(
            refused(v1::GetAlarmPerformanceRequest::default()).await.code(),
            Code::InvalidArgument
        );
        let elsewhere = Scope::site(SiteId(stage.sensor.site.0 + 1));
        let (mut client, _) = stage.client(Config::default(), elsewhere);
        let named = client.get_alarm_performance(asked("north", 1)).await.unwrap_err();
        assert_eq!(named.code(), Code::NotFound);
        let other = client.get_alarm_performance(asked("", 1)).await.unwrap().into_inner();
        assert_eq!((other.alarms, other.positions.len()), (0, 0));
    })
    .await;
}
