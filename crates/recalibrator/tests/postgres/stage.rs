//! A class with bundles, and clients of a recalibrator.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Request;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::propose_request::Source;
use tocsin_contracts::recalibrator::v1::recalibrator_service_client::RecalibratorServiceClient;
use tocsin_contracts::time;
use tocsin_domain::access::Person;
use tocsin_domain::fleet::Sensor;
use tocsin_domain::lifecycle::BundleState;
use tocsin_domain::{
    AccountId, BundleId, ClassId, Clock, Codec, Condition, ContentHash, Detector, PersonRole, Principal, ReadingFlags,
    ReadingKey, Scope, Scores, SensorId, SpectrumSpec, ThresholdSetId, Timestamp, Verdict,
};
use tocsin_models::bundle::BundleParts;
use tocsin_models::{
    BundleStore, ClassDetectors, HeldOut, HeldOutRow, Lineage, Manifest, Metrics, Objective, TargetSpace, Variant,
};
use tocsin_recalibrator::{Config, Parts};
use tocsin_scratch::{slug, with_store};
use tocsin_store::Store;
use tocsin_store::baseline::{NewBaseline, Profile};
use tocsin_store::bundle::NewBundle;
use tocsin_store::fleet::NewSensor;
use tocsin_store::partition::Day;
use tocsin_store::reading::{NewReading, readings_insert};
use tonic::body::Body;
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceExt};

pub(crate) const BINS: usize = 32;

pub(crate) type Client = RecalibratorServiceClient<BoxCloneService<Request<Body>, http::Response<Body>, BoxError>>;

pub(crate) struct Stage {
    pub(crate) store: Store,
    pub(crate) bundles: BundleStore,
    pub(crate) class: ClassId,
}

pub(crate) fn noon() -> Timestamp {
    Timestamp::parse("t", "2026-03-01T12:00:00Z").unwrap()
}

pub(crate) async fn with_stage<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Stage) -> F) {
    with_store(name, async |store| {
        let class = store
            .class_create(
                &tocsin_store::fleet::NewClass::usual(slug("pump"), Duration::from_secs(10)),
                noon(),
                tocsin_scratch::audit,
            )
            .await
            .unwrap()
            .id;
        let bundles = BundleStore::open("memory://").unwrap();
        test(Stage { store, bundles, class }).await;
    })
    .await;
}

/// Exponential scores of these means in no order, as healthy readings give.
fn held_out(readings: u64, means: &[(Detector, f32)]) -> HeldOut {
    let rows = (0..readings).map(|i| {
        let uniform = ((i * 1_777) % readings) as f64 / readings as f64;
        let mut scores = Scores::default();
        for (detector, mean) in means {
            scores.set(*detector, mean * -(1.0 - uniform).ln() as f32);
        }
        HeldOutRow {
            sensor: 0,
            captured_at: noon() + Duration::from_secs(10 * i),
            scores,
        }
    });
    HeldOut::new(vec!["north/p-1/drive-end".to_owned()], rows.collect())
}

fn manifest() -> Manifest {
    Manifest {
        format: Manifest::FORMAT,
        class: slug("pump"),
        variant: Variant::Dense,
        objective: Objective::default(),
        bins: BINS as u16,
        latent: 4,
        full_scale: 10.0,
        s0: 0.001,
        unit: "g".to_owned(),
        codec: Codec::VERSION,
        target_space: TargetSpace::StandardisedLog,
        lineage: Lineage {
            selection: None,
            corpora: Vec::new(),
            rows_by_split: BTreeMap::new(),
            sensors: Vec::new(),
            seed: 0,
            trainer: "by hand".to_owned(),
            created_at: noon(),
        },
        metrics: Metrics {
            validation_loss: 0.0,
            training_loss: 0.0,
            best_epoch: 1,
            epochs: 1,
            figures: BTreeMap::new(),
        },
        temporal: None,
        files: BTreeMap::new(),
    }
}

/// A bundle with that many held-out readings, whose scores have these means, and a network that nobody can run.
pub(crate) fn parts(readings: u64, means: &[(Detector, f32)]) -> BundleParts {
    let mut rng = StdRng::seed_from_u64(readings);
    let healthy: Vec<f32> = (0..128 * BINS).map(|_| rng.random_range(0.01..1.0)).collect();
    BundleParts {
        manifest: manifest(),
        autoencoder: Vec::new(),
        decoder: Vec::new(),
        temporal: None,
        detectors: ClassDetectors::fit(&healthy, BINS, 0.001, &mut rng).unwrap(),
        held_out: held_out(readings, means),
    }
}

impl Stage {
    /// Pushes a verified bundle with that many held-out readings; its number.
    pub(crate) async fn bundle(&self, readings: u64) -> i32 {
        self.push(parts(
            readings,
            &[(Detector::Residual, 1.0), (Detector::OverallLevel, 1.0)],
        ))
        .await
    }

    /// Pushes a verified bundle; its number.
    pub(crate) async fn push(&self, parts: BundleParts) -> i32 {
        let digest = self.bundles.put(&parts.pack()).await.unwrap();
        let new = NewBundle {
            class: self.class,
            digest,
            manifest_json: "{}".to_owned(),
            pushed_by: "ana".to_owned(),
        };
        let bundle = self
            .store
            .bundle_insert(&new, noon(), tocsin_scratch::audit)
            .await
            .unwrap()
            .id;
        self.store
            .bundle_set_state(
                bundle,
                (BundleState::Pending, BundleState::Verified),
                "",
                noon(),
                tocsin_scratch::audit,
            )
            .await
            .unwrap();
        bundle.0
    }

    pub(crate) fn client(&self, role: PersonRole) -> Client {
        self.client_of(role, Scope::All)
    }

    pub(crate) fn client_of(&self, role: PersonRole, scope: Scope) -> Client {
        self.client_named("ana", role, scope)
    }

    pub(crate) fn client_named(&self, name: &str, role: PersonRole, scope: Scope) -> Client {
        let person = Person {
            account: AccountId(1),
            name: name.to_owned(),
            role,
            scope,
        };
        self.client_as(Principal::Person(person))
    }

    /// The service as `principal` sees it.
    pub(crate) fn client_as(&self, principal: Principal) -> Client {
        let parts = Parts {
            store: self.store.clone(),
            bundles: self.bundles.clone(),
            clock: Clock::manual(noon()),
        };
        let service =
            tocsin_recalibrator::build(Config::default(), parts)
                .0
                .map_request(move |mut request: Request<_>| {
                    request.extensions_mut().insert(principal.clone());
                    request
                });
        RecalibratorServiceClient::new(BoxCloneService::new(service.map_err(BoxError::from)))
    }
}

pub(crate) fn propose(bundle: i32) -> v1::ProposeRequest {
    v1::ProposeRequest {
        class: "pump".to_owned(),
        bundle: bundle.to_string(),
        source: Some(Source::HeldOut(v1::HeldOutScores {})),
        reason: "first limits".to_owned(),
        method: None,
    }
}

/// Proposes a set.
pub(crate) async fn proposed(client: &mut Client, request: v1::ProposeRequest) -> v1::ThresholdSet {
    let answer = client.propose(request).await.unwrap().into_inner();
    answer.threshold_set.unwrap()
}

/// Proposes a set and tests it.
pub(crate) async fn tested(client: &mut Client, request: v1::ProposeRequest) -> v1::ThresholdSet {
    let threshold_set_id = proposed(client, request).await.threshold_set_id;
    let answer = client.test(v1::TestRequest { threshold_set_id }).await.unwrap();
    answer.into_inner().threshold_set.unwrap()
}

/// Brings the set a bundle's own scores give to approved; its number.
pub(crate) async fn approved(client: &mut Client, bundle: i32) -> i32 {
    approved_from(client, propose(bundle)).await
}

/// Proposes a set and brings it to approved; its number.
pub(crate) async fn approved_from(client: &mut Client, request: v1::ProposeRequest) -> i32 {
    let threshold_set_id = tested(client, request).await.threshold_set_id;
    client
        .approve(v1::ApproveRequest {
            threshold_set_id,
            reason: "looks right".to_owned(),
        })
        .await
        .unwrap();
    threshold_set_id
}

pub(crate) async fn activate(client: &mut Client, threshold_set_id: i32) -> Result<v1::ThresholdSet, tonic::Status> {
    let request = v1::ActivateRequest {
        threshold_set_id,
        reason: "go".to_owned(),
    };
    Ok(client.activate(request).await?.into_inner().threshold_set.unwrap())
}

/// A step of the class.
pub(crate) const STEP: Duration = Duration::from_secs(10);

impl Stage {
    /// A sensor `h` of a machine of the class; its site is made when it is new.
    pub(crate) async fn sensor(&self, site: &str, machine: &str) -> Sensor {
        self.sensor_of("pump", (site, machine), "accel").await
    }

    /// The same of any class, and any specification, which is made when it is new.
    pub(crate) async fn sensor_of(&self, class: &str, (site, machine): (&str, &str), spec: &str) -> Sensor {
        if self.store.site_by_name(&Scope::All, &slug(site)).await.is_err() {
            self.store
                .site_create(&tocsin_scratch::site(site), noon(), tocsin_scratch::audit)
                .await
                .unwrap();
        }
        if self.store.spec_by_name(&slug(spec)).await.is_err() {
            let definition = SpectrumSpec::corpus_default(BINS as u16);
            self.store
                .spec_create(&slug(spec), &definition, noon(), tocsin_scratch::audit)
                .await
                .unwrap();
        }
        let new = NewSensor {
            site: slug(site),
            machine: slug(machine),
            device: None,
            name: slug("h"),
            class: slug(class),
            spec: slug(spec),
        };
        self.store
            .sensor_create(&Scope::All, &new, noon(), tocsin_scratch::audit)
            .await
            .unwrap()
            .sensor
    }

    /// Stores readings, made by [`logged`].
    pub(crate) async fn keep(&self, readings: &[NewReading]) {
        self.store.partitions_ensure([Day::of(noon())]).await.unwrap();
        let mut transaction = self.store.begin().await.unwrap();
        readings_insert(&mut transaction, readings).await.unwrap();
        transaction.commit().await.unwrap();
    }
}

/// A reading of a step with such scores, judged normal then.
pub(crate) fn logged(sensor: SensorId, bundle: i32, step: u32, scores: Scores) -> NewReading {
    let captured_at = noon() + STEP * step;
    NewReading {
        key: ReadingKey { sensor, captured_at },
        received_at: captured_at,
        content_hash: ContentHash(i64::from(step)),
        threshold_set: Some(ThresholdSetId(1)),
        bundle: Some(BundleId(bundle)),
        baseline: None,
        scorer_build: None,
        predecessors: None,
        scores,
        condition: Condition::default(),
        flags: ReadingFlags::default(),
        verdict: Verdict::Normal { by: Detector::Residual },
        state: tocsin_domain::OperatingState::Known,
        overall: Vec::new(),
        latent: Vec::new(),
        spectrum: vec![2; BINS],
    }
}

/// The period of the first `steps`.
pub(crate) fn period(steps: u32) -> v1::LoggedScores {
    v1::LoggedScores {
        from: Some(time::to_wire(noon())),
        to: Some(time::to_wire(noon() + STEP * steps)),
    }
}

/// What a sensor is commissioned with by hand: a flat median log spectrum, and a tenth for the scale of every bin.
pub(crate) fn learned(sensor: SensorId, median: f32) -> NewBaseline {
    NewBaseline {
        sensor,
        epoch: 1,
        profile: Profile {
            median: vec![median; BINS],
            spread: vec![0.1; BINS],
            scale: vec![0.1; BINS],
            trend: None,
        },
        log_energy: (-3.0, 0.25),
        pooled_machines: 0,
        readings: 20,
        window: (noon(), noon()),
        created_by: "recalibrator".to_owned(),
        reason: "its own spread".to_owned(),
    }
}
