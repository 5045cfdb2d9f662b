//! The life of a threshold set against a real Postgres.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Request;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::propose_request::{Method, Source};
use tocsin_contracts::recalibrator::v1::recalibrator_service_client::RecalibratorServiceClient;
use tocsin_contracts::time;
use tocsin_domain::access::Person;
use tocsin_domain::lifecycle::BundleState;
use tocsin_domain::{
    AccountId, ClassId, Clock, Codec, Detector, PersonRole, Principal, Scope, Scores, SiteId, ThresholdSetId, Timestamp,
};
use tocsin_models::bundle::BundleParts;
use tocsin_models::{
    BundleStore, ClassDetectors, HeldOut, HeldOutRow, Lineage, Manifest, Metrics, TargetSpace, Variant,
};
use tocsin_recalibrator::{Config, Parts, Provenance};
use tocsin_scratch::{slug, with_store};
use tocsin_store::Store;
use tocsin_store::bundle::NewBundle;
use tonic::Code;
use tonic::body::Body;
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceExt};

const BINS: usize = 32;

type Client = RecalibratorServiceClient<BoxCloneService<Request<Body>, http::Response<Body>, BoxError>>;

struct Stage {
    store: Store,
    bundles: BundleStore,
    class: ClassId,
}

fn noon() -> Timestamp {
    Timestamp::parse("t", "2026-03-01T12:00:00Z").unwrap()
}

async fn with_stage<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Stage) -> F) {
    with_store(name, async |store| {
        let class = store
            .class_create(&slug("pump"), Duration::from_secs(10), noon())
            .await
            .unwrap()
            .id;
        let bundles = BundleStore::open("memory://").unwrap();
        test(Stage { store, bundles, class }).await;
    })
    .await;
}

/// Exponential scores in no order, as healthy readings give.
fn held_out(readings: u64) -> HeldOut {
    let rows = (0..readings).map(|i| {
        let uniform = ((i * 1_777) % readings) as f64 / readings as f64;
        let mut scores = Scores::default();
        for detector in [Detector::Residual, Detector::OverallLevel] {
            scores.set(detector, -(1.0 - uniform).ln() as f32);
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
        bins: BINS as u16,
        latent: 4,
        full_scale: 10.0,
        s0: 0.001,
        unit: "g".to_owned(),
        codec: Codec::VERSION,
        target_space: TargetSpace::StandardisedLog,
        lineage: Lineage {
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
        },
        files: BTreeMap::new(),
    }
}

impl Stage {
    /// Pushes a verified bundle with that many held-out readings; its number.
    async fn bundle(&self, readings: u64) -> i32 {
        let mut rng = StdRng::seed_from_u64(readings);
        let healthy: Vec<f32> = (0..128 * BINS).map(|_| rng.random_range(0.01..1.0)).collect();
        let parts = BundleParts {
            manifest: manifest(),
            autoencoder: Vec::new(), // nobody runs it here
            decoder: Vec::new(),
            detectors: ClassDetectors::fit(&healthy, BINS, 0.001, &mut rng).unwrap(),
            held_out: held_out(readings),
        };
        let digest = self.bundles.put(&parts.pack()).await.unwrap();
        let new = NewBundle {
            class: self.class,
            digest,
            manifest_json: "{}".to_owned(),
            pushed_by: "ana".to_owned(),
        };
        let bundle = self.store.bundle_insert(&new, noon()).await.unwrap().id;
        self.store
            .bundle_set_state(bundle, BundleState::Pending, BundleState::Verified, "")
            .await
            .unwrap();
        bundle.0
    }

    fn client(&self, role: PersonRole) -> Client {
        self.client_of(role, Scope::All)
    }

    fn client_of(&self, role: PersonRole, scope: Scope) -> Client {
        let parts = Parts {
            store: self.store.clone(),
            bundles: self.bundles.clone(),
            clock: Clock::manual(noon()),
        };
        let person = Person {
            account: AccountId(1),
            name: "ana".to_owned(),
            role,
            scope,
        };
        let service =
            tocsin_recalibrator::build(Config::default(), parts)
                .0
                .map_request(move |mut request: Request<_>| {
                    request.extensions_mut().insert(Principal::Person(person.clone()));
                    request
                });
        RecalibratorServiceClient::new(BoxCloneService::new(service.map_err(BoxError::from)))
    }
}

fn propose(bundle: i32) -> v1::ProposeRequest {
    v1::ProposeRequest {
        class: "pump".to_owned(),
        bundle: bundle.to_string(),
        source: Some(Source::HeldOut(v1::HeldOutScores {})),
        reason: "first limits".to_owned(),
        method: None,
    }
}

/// Proposes a set and brings it to approved; its number.
async fn approved(client: &mut Client, bundle: i32) -> i32 {
    let proposed = client
        .propose(propose(bundle))
        .await
        .unwrap()
        .into_inner()
        .threshold_set
        .unwrap();
    let threshold_set_id = proposed.threshold_set_id;
    client.test(v1::TestRequest { threshold_set_id }).await.unwrap();
    client
        .approve(v1::ApproveRequest {
            threshold_set_id,
            reason: "looks right".to_owned(),
        })
        .await
        .unwrap();
    threshold_set_id
}

async fn activate(client: &mut Client, threshold_set_id: i32) -> Result<v1::ThresholdSet, tonic::Status> {
    let request = v1::ActivateRequest {
        threshold_set_id,
        reason: "go".to_owned(),
    };
    Ok(client.activate(request).await?.into_inner().threshold_set.unwrap())
}

#[tokio::test]
async fn a_set_is_proposed_tested_approved_and_activated_and_its_provenance_tells_it_all() {
    with_stage("life", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        let mut client = stage.client(PersonRole::Engineer);
        let proposed = client
            .propose(propose(bundle))
            .await
            .unwrap()
            .into_inner()
            .threshold_set
            .unwrap();
        assert_eq!((proposed.state.as_str(), proposed.bundle_id), ("proposed", bundle));
        let early = activate(&mut client, proposed.threshold_set_id).await.unwrap_err();
        assert_eq!(early.code(), Code::FailedPrecondition);
        let set = approved(&mut client, bundle).await;
        let active = activate(&mut client, set).await.unwrap();
        assert_eq!(active.state, "active");
        let provenance: Provenance = serde_json::from_str(&active.provenance_json).unwrap();
        assert_eq!(
            (provenance.readings, provenance.machines, provenance.bundle_id.0),
            (4_000, 1, bundle)
        );
        assert_eq!(
            (provenance.proposed_by.as_str(), provenance.reason.as_str()),
            ("ana", "first limits")
        );
        assert!(
            provenance
                .detectors
                .iter()
                .all(|source| source.page_line_supported && source.scores == 4_000)
        );
        let trial = provenance.trial.unwrap();
        assert!(
            trial.in_sample && trial.pages == 0 && trial.readings_at_page > 0,
            "{trial:?}"
        );
        assert_eq!(provenance.approval.unwrap().reason, "looks right");
        let binding = stage.store.binding_current(stage.class).await.unwrap().unwrap();
        assert_eq!(binding.threshold_set, Some(ThresholdSetId(set)));
        let audited = stage.store.audit_list(None, 10).await.unwrap();
        let actions: Vec<_> = audited.iter().rev().map(|entry| entry.action.as_str()).collect();
        let one = ["threshold_set.propose", "threshold_set.propose", "threshold_set.tested"];
        assert_eq!(
            actions,
            [one.as_slice(), &["threshold_set.approved", "threshold_set.activate"]].concat()
        );
    })
    .await;
}

#[tokio::test]
async fn few_scores_leave_the_page_lines_marked_as_extrapolated() {
    with_stage("few", |stage| async move {
        let bundle = stage.bundle(600).await;
        let mut client = stage.client(PersonRole::Engineer);
        let set = client
            .propose(propose(bundle))
            .await
            .unwrap()
            .into_inner()
            .threshold_set
            .unwrap();
        let provenance: Provenance = serde_json::from_str(&set.provenance_json).unwrap();
        assert!(provenance.detectors.iter().all(|source| !source.page_line_supported));
    })
    .await;
}

#[tokio::test]
async fn a_rollback_goes_to_the_set_before_and_not_to_a_time_without_limits() {
    with_stage("rollback", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        let mut client = stage.client(PersonRole::Engineer);
        let rollback = || v1::RollbackRequest {
            class: "pump".to_owned(),
            reason: "worse".to_owned(),
        };
        let first = approved(&mut client, bundle).await;
        activate(&mut client, first).await.unwrap();
        let nothing = client.rollback(rollback()).await.unwrap_err();
        assert_eq!(nothing.code(), Code::FailedPrecondition);
        let second = approved(&mut client, bundle).await;
        activate(&mut client, second).await.unwrap();
        let back = client
            .rollback(rollback())
            .await
            .unwrap()
            .into_inner()
            .threshold_set
            .unwrap();
        assert_eq!((back.threshold_set_id, back.state.as_str()), (first, "active"));
        let request = v1::ListThresholdSetsRequest {
            class: "pump".to_owned(),
        };
        let listed = client
            .list_threshold_sets(request)
            .await
            .unwrap()
            .into_inner()
            .threshold_sets;
        let states: Vec<_> = listed
            .iter()
            .map(|set| (set.threshold_set_id, set.state.as_str()))
            .collect();
        assert_eq!(states, [(second, "retired"), (first, "active")]);
    })
    .await;
}

#[tokio::test]
async fn an_engineer_of_one_site_changes_no_limits_as_they_hold_for_every_site() {
    with_stage("one_site", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        let threshold_set_id = approved(&mut stage.client(PersonRole::Engineer), bundle).await;
        let mut local = stage.client_of(PersonRole::Engineer, Scope::site(SiteId(1)));
        let approve = v1::ApproveRequest {
            threshold_set_id,
            reason: "looks right".to_owned(),
        };
        let rollback = v1::RollbackRequest {
            class: "pump".to_owned(),
            reason: "worse".to_owned(),
        };
        for refused in [
            local.propose(propose(bundle)).await.unwrap_err(),
            local.test(v1::TestRequest { threshold_set_id }).await.unwrap_err(),
            local.approve(approve).await.unwrap_err(),
            activate(&mut local, threshold_set_id).await.unwrap_err(),
            local.rollback(rollback).await.unwrap_err(),
        ] {
            assert_eq!(refused.code(), Code::PermissionDenied, "{}", refused.message());
            let reason = "that holds for every site, and ana sees some sites only";
            assert!(refused.message().ends_with(reason), "{}", refused.message());
        }
        let request = v1::GetThresholdSetRequest { threshold_set_id };
        let seen = local.get_threshold_set(request).await.unwrap().into_inner();
        assert_eq!(seen.threshold_set.unwrap().state, "approved");
    })
    .await;
}

#[tokio::test]
async fn what_can_not_be_done_is_refused_with_the_reason() {
    with_stage("refused", |stage| async move {
        let bundle = stage.bundle(20).await;
        let mut engineer = stage.client(PersonRole::Engineer);
        let few = engineer.propose(propose(bundle)).await.unwrap_err();
        assert_eq!(few.code(), Code::FailedPrecondition);
        assert!(few.message().contains("20 scores"), "{}", few.message());
        let unnamed = v1::ProposeRequest {
            bundle: String::new(),
            ..propose(bundle)
        };
        let unbound = engineer.propose(unnamed).await.unwrap_err();
        assert!(unbound.message().contains("has no champion"), "{}", unbound.message());
        let period = v1::LoggedScores {
            from: Some(time::to_wire(noon())),
            to: Some(time::to_wire(noon() + Duration::from_mins(1))),
        };
        let logged = v1::ProposeRequest {
            source: Some(Source::Logged(period)),
            ..propose(bundle)
        };
        let empty = engineer.propose(logged).await.unwrap_err();
        assert_eq!(empty.code(), Code::FailedPrecondition, "{}", empty.message());
        let replay = |source| v1::ProposeRequest {
            source: Some(source),
            method: Some(Method::FleetReplay(v1::FleetReplay::default())),
            ..propose(bundle)
        };
        let held_out = engineer
            .propose(replay(Source::HeldOut(v1::HeldOutScores {})))
            .await
            .unwrap_err();
        assert!(
            held_out.message().contains("know no baseline"),
            "{}",
            held_out.message()
        );
        let nothing = engineer.propose(replay(Source::Logged(period))).await.unwrap_err();
        assert_eq!(nothing.code(), Code::FailedPrecondition);
        assert!(nothing.message().contains("active baselines"), "{}", nothing.message());
        let mut operator = stage.client(PersonRole::Operator);
        let now = operator.commission(v1::CommissionRequest {}).await.unwrap_err();
        assert_eq!(now.code(), Code::PermissionDenied);
        assert_eq!(
            operator.propose(propose(bundle)).await.unwrap_err().code(),
            Code::PermissionDenied
        );
        let unknown = v1::GetThresholdSetRequest { threshold_set_id: 99 };
        assert_eq!(
            operator.get_threshold_set(unknown).await.unwrap_err().code(),
            Code::NotFound
        );
    })
    .await;
}
