//! What another bundle or other baselines would have opened, over the spectra that are kept.

use std::sync::Arc;
use std::time::Duration;

use tocsin_archive::Archiver;
use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::what_if_request::Limits;
use tocsin_contracts::time;
use tocsin_domain::fleet::Sensor;
use tocsin_domain::{
    BaselineId, BundleId, CanonicalSpectrum, Clock, Codec, Condition, Detector, Label, PersonRole, Reading,
    ReadingFlags, Scope, SensorId, SpectrumSpec, ThresholdSetId, Verdict,
};
use tocsin_models::onnx::proto::GraphProto;
use tocsin_models::{Against, CodedRows, Ready, SensorBaseline, onnx};
use tocsin_store::binding::NewBinding;
use tocsin_store::following::{Group, NewRound, NextVersion};
use tocsin_store::label::{NewLabel, Window};
use tocsin_store::reading::NewReading;
use tocsin_store::threshold::NewThresholdSet;
use tonic::Code;

use crate::stage::{BINS, Client, STEP, Stage, activate, approved, learned, logged, noon, parts, period, with_stage};

const STEPS: u32 = 400;
/// Codes of a healthy spectrum, and of one 30 dB above it.
const HEALTHY: u8 = 150;
const FAILING: u8 = 230;
const LATENT: usize = 4;

fn full_scale() -> f32 {
    SpectrumSpec::corpus_default(BINS as u16).canonical_full_scale()
}

fn s0() -> f32 {
    SpectrumSpec::corpus_default(BINS as u16).canonical_s0()
}

/// A network that rebuilds nothing: its residual is the mean square of the spectrum, in parts of a healthy one's.
fn autoencoder(healthy: f32) -> Vec<u8> {
    let amplitude = Codec::with_full_scale(full_scale()).decode(&[HEALTHY])[0];
    let graph = GraphProto {
        name: "by_hand".to_owned(),
        node: vec![
            onnx::node("Mul", &[onnx::BINS, "gain"], onnx::TARGET),
            onnx::node("Mul", &[onnx::TARGET, "nothing"], onnx::RECONSTRUCTION),
            onnx::node("MatMul", &[onnx::TARGET, "down"], onnx::LATENT),
        ],
        initializer: vec![
            onnx::floats("gain", &[], &[healthy.sqrt() / amplitude]),
            onnx::floats("nothing", &[], &[0.0]),
            onnx::floats("down", &[BINS, LATENT], &[0.0; BINS * LATENT]),
        ],
        input: vec![onnx::rows_of(onnx::BINS, &[BINS])],
        output: vec![
            onnx::rows_of(onnx::TARGET, &[BINS]),
            onnx::rows_of(onnx::RECONSTRUCTION, &[BINS]),
            onnx::rows_of(onnx::LATENT, &[LATENT]),
        ],
        ..GraphProto::default()
    };
    onnx::to_bytes(&onnx::model(graph))
}

/// A bundle whose network says `healthy` of a healthy spectrum and a thousand times that of a failing one. Without the
/// network there are lines for the overall level, which none reaches. Another seed makes another digest and nothing else.
async fn network(stage: &Stage, healthy: f32, seed: u64) -> i32 {
    let mut parts = parts(4_000, &[(Detector::Residual, 1.0), (Detector::OverallLevel, 1_000.0)]);
    parts.autoencoder = autoencoder(healthy);
    parts.manifest.lineage.seed = seed;
    stage.push(parts).await
}

async fn ready(stage: &Stage, bundle: i32) -> Ready {
    let digest = stage.store.bundle_by_id(BundleId(bundle)).await.unwrap().digest;
    Ready::load(stage.bundles.get(&digest).await.unwrap()).unwrap()
}

/// A reading of a step as a bundle judged it: flagged where its spectrum is a failing one.
fn judged(model: &Ready, (sensor, bundle): (SensorId, i32), step: u32, code: u8, against: Against) -> NewReading {
    let baseline = against.active.as_ref().map(|active| active.id);
    let codes = vec![code; BINS];
    let rows = CodedRows {
        codes: &codes,
        bins: BINS,
        full_scale: &[full_scale()],
    };
    let said = model.say(rows, &[Vec::new()], &[against]).unwrap()[0];
    let mut scores = said.detectors;
    scores.set(Detector::Residual, said.residual);
    let by = Detector::Residual;
    let mut reading = NewReading {
        baseline,
        verdict: if code == FAILING {
            Verdict::Page { by }
        } else {
            Verdict::Normal { by }
        },
        spectrum: codes,
        ..logged(sensor, bundle, step, scores)
    };
    let content = Reading {
        key: reading.key,
        spectrum: CanonicalSpectrum::from_codes(reading.spectrum.clone()),
        clipped: false,
        condition: Condition::default(),
        overall: Vec::new(),
    };
    reading.content_hash = content.content_hash();
    reading
}

/// Healthy but for fifteen steps from `fails_at` on.
async fn keep_machine(stage: &Stage, sensor: &Sensor, bundle: i32, fails_at: Option<u32>) {
    let model = ready(stage, bundle).await;
    let code = |step| match fails_at {
        Some(first) if (first..first + 15).contains(&step) => FAILING,
        _ => HEALTHY,
    };
    let reading = |step| judged(&model, (sensor.id, bundle), step, code(step), Against::default());
    stage.keep(&(0..STEPS).map(reading).collect::<Vec<_>>()).await;
}

/// A machine in the north that fails, and a healthy one in the south, judged by a champion's own limits: bundle, set, and
/// the failing sensor.
async fn two_sites(stage: &Stage) -> (i32, i32, Sensor) {
    let bundle = network(stage, 0.3, 0).await;
    let (north, south) = (stage.sensor("north", "p-1").await, stage.sensor("south", "p-2").await);
    keep_machine(stage, &north, bundle, Some(200)).await;
    keep_machine(stage, &south, bundle, None).await;
    let mut engineer = stage.client(PersonRole::Engineer);
    let set = approved(&mut engineer, bundle).await;
    activate(&mut engineer, set).await.unwrap();
    (bundle, set, north)
}

fn of_set(set: i32) -> v1::WhatIfRequest {
    v1::WhatIfRequest {
        limits: Some(Limits::ThresholdSetId(set)),
        period: Some(period(STEPS)),
        ..v1::WhatIfRequest::default()
    }
}

fn of_bundle(bundle: &str) -> v1::WhatIfRequest {
    v1::WhatIfRequest {
        bundle: bundle.to_owned(),
        period: Some(period(STEPS)),
        ..v1::WhatIfRequest::default()
    }
}

async fn asked(client: &mut Client, request: v1::WhatIfRequest) -> v1::WhatIfResponse {
    client.what_if(request).await.unwrap().into_inner()
}

/// What was opened, without what names sets and bundles.
fn opened(answer: &v1::WhatIfResponse) -> (Option<v1::ExpectedEvents>, Vec<v1::MachineEvents>) {
    (answer.expected, answer.machines.clone())
}

#[tokio::test]
async fn the_same_network_under_another_digest_opens_just_what_the_logged_scores_do() {
    with_stage("rescored_same", |stage| async move {
        let (bundle, set, _) = two_sites(&stage).await;
        let mut engineer = stage.client(PersonRole::Engineer);
        let plain = asked(&mut engineer, of_set(set)).await;
        assert_eq!(
            (plain.coverage.as_ref(), plain.expected.unwrap().pages.unwrap().events),
            (None, 1)
        );

        let unchanged = v1::WhatIfRequest {
            bundle: bundle.to_string(),
            ..of_set(set)
        };
        let unchanged = asked(&mut engineer, unchanged).await;
        assert_eq!(opened(&unchanged), opened(&plain));
        assert_eq!((unchanged.unchanged_incidents, unchanged.changes.len()), (1, 0));

        let twin = network(&stage, 0.3, 1).await;
        let its_set = approved(&mut engineer, twin).await;
        let digest = stage
            .store
            .bundle_by_id(BundleId(twin))
            .await
            .unwrap()
            .digest
            .to_string();
        let anew = asked(&mut engineer, of_bundle(&digest)).await;
        assert_eq!(
            (anew.bundle_id, anew.threshold_set_id),
            (twin, its_set),
            "its newest set"
        );
        assert_eq!((anew.active_bundle_id, anew.active_threshold_set_id), (bundle, set));
        assert_eq!(opened(&anew), opened(&plain), "every score comes out as it was logged");
        assert_eq!(
            (anew.unchanged_incidents, anew.changes.len()),
            (1, 0),
            "{:?}",
            anew.changes
        );
        let coverage = anew.coverage.unwrap();
        assert_eq!(
            (coverage.readings, coverage.scored),
            (u64::from(2 * STEPS), u64::from(2 * STEPS))
        );
        assert_eq!(coverage.note, "all 800 readings could be scored as asked");
    })
    .await;
}

#[tokio::test]
async fn a_challenger_that_sees_less_loses_pages_by_site_and_by_label() {
    with_stage("rescored_challenger", |stage| async move {
        let (bundle, set, failing) = two_sites(&stage).await;
        let dull = network(&stage, 0.001, 2).await;
        let mut engineer = stage.client(PersonRole::Engineer);
        let its_set = approved(&mut engineer, dull).await;
        name_challenger(&stage, bundle, set, dull).await;
        let new = NewLabel {
            machine: failing.machine,
            window: Window::Free(noon() + STEP * 190, noon() + STEP * 220),
            label: Label::TrueFailure,
            mode: "outer_race".to_owned(),
            note: String::new(),
            by: "ana".to_owned(),
        };
        let given = stage
            .store
            .label_append(&Scope::All, &new, noon(), tocsin_scratch::audit);
        given.await.unwrap();

        let of_class = v1::WhatIfRequest {
            class: "pump".to_owned(),
            ..of_bundle("challenger")
        };
        let answer = asked(&mut engineer, of_class).await;
        assert_eq!((answer.bundle_id, answer.threshold_set_id), (dull, its_set));
        assert_eq!(answer.expected.unwrap().pages.unwrap().events, 0);
        assert_eq!(answer.active_expected.unwrap().pages.unwrap().events, 1);
        let pages: Vec<_> = answer
            .sites
            .iter()
            .map(|site| (site.site.as_str(), site.pages_added, site.pages_removed))
            .collect();
        assert_eq!(pages, [("north", 0, 1), ("south", 0, 0)]);
        assert!(
            answer.sites[0]
                .active_expected
                .unwrap()
                .pages
                .unwrap()
                .per_person_week
                .is_some()
        );
        let [labelled] = answer.labelled.as_slice() else {
            panic!("{:?}", answer.labelled);
        };
        assert_eq!(
            (
                labelled.machine.as_str(),
                labelled.label.as_str(),
                labelled.mode.as_str()
            ),
            ("p-1", "true_failure", "outer_race")
        );
        assert_eq!((labelled.change.as_str(), labelled.proposed.as_ref()), ("lost", None));
        assert!(labelled.active.as_ref().unwrap().paged_at.is_some());

        let mut local = stage.client_of(PersonRole::Engineer, Scope::site(failing.site));
        let of_site = asked(&mut local, of_bundle(&dull.to_string())).await;
        let sites: Vec<_> = of_site.sites.iter().map(|site| site.site.as_str()).collect();
        assert_eq!(
            (sites, of_site.coverage.unwrap().readings),
            (vec!["north"], STEPS.into())
        );
    })
    .await;
}

async fn name_challenger(stage: &Stage, champion: i32, set: i32, challenger: i32) {
    let present = stage.store.binding_current(stage.class).await.unwrap().unwrap();
    let new = NewBinding {
        class: stage.class,
        expected_version: present.version,
        champion: Some(BundleId(champion)),
        challenger: Some(BundleId(challenger)),
        threshold_set: Some(ThresholdSetId(set)),
        changed_by: "ana".to_owned(),
        reason: "to be tried".to_owned(),
    };
    let named = stage.store.binding_append(&new, noon(), tocsin_scratch::audit);
    named.await.unwrap();
}

#[tokio::test]
async fn archived_spectra_count_where_they_are_kept_and_the_others_are_left_out_of_both_sides() {
    with_stage("rescored_archived", |stage| async move {
        let (_, set, _) = two_sites(&stage).await;
        let twin = network(&stage, 0.3, 1).await;
        let mut engineer = stage.client(PersonRole::Engineer);
        approved(&mut engineer, twin).await;
        let hot = asked(&mut engineer, of_bundle(&twin.to_string())).await;
        let plain = asked(&mut engineer, of_set(set)).await;
        // Sensors that wait to be commissioned would keep all their spectra.
        sqlx::query("delete from commissioning")
            .execute(stage.store.pool())
            .await
            .unwrap();
        let archiver = Archiver::new(
            tocsin_archive::Config::default(),
            stage.store.clone(),
            stage.bundles.objects().clone(),
            Clock::manual(noon() + Duration::from_hours(8 * 24)),
            "review",
        );
        archiver.round().await.unwrap();
        assert_eq!(stage.store.partitions_list().await.unwrap(), []);
        assert_eq!(opened(&asked(&mut engineer, of_set(set)).await), opened(&plain));

        let cold = asked(&mut engineer, of_bundle(&twin.to_string())).await;
        let coverage = cold.coverage.clone().unwrap();
        // Those that were flagged, and the first of every sensor and hour.
        assert_eq!((coverage.readings, coverage.scored), (u64::from(2 * STEPS), 15 + 2 * 2));
        let sites: Vec<_> = coverage
            .sites
            .iter()
            .map(|site| (site.site.as_str(), site.scored))
            .collect();
        assert_eq!(sites, [("north", 17), ("south", 2)]);
        assert!(
            coverage.note.contains("thin at north 4.2 %, south 0.5 %"),
            "{}",
            coverage.note
        );
        assert_eq!(cold.expected.unwrap().readings, 19);
        assert_eq!(
            cold.active_expected.unwrap().readings,
            19,
            "the same readings on both sides"
        );
        assert_eq!(cold.changes, []);
        let pages = |answer: &v1::WhatIfResponse| answer.expected.unwrap().pages.unwrap().events;
        assert_eq!((pages(&hot), pages(&cold)), (1, 1), "what was flagged is kept");

        // What nothing changes for needs no spectrum.
        let unchanged = v1::WhatIfRequest {
            baselines: "active".to_owned(),
            ..of_set(set)
        };
        let unchanged = asked(&mut engineer, unchanged).await;
        assert_eq!(unchanged.coverage.clone().unwrap().scored, u64::from(2 * STEPS));
        assert_eq!(opened(&unchanged), opened(&plain));
    })
    .await;
}

/// A baseline about flat spectra of a code.
fn about(id: BaselineId, code: u8) -> Against {
    let log = log_of(code);
    let baseline = SensorBaseline::from_stored(id, s0(), (vec![log; BINS], vec![0.1; BINS]), None).unwrap();
    Against {
        active: Some(Arc::new(baseline)),
        condition: Condition::default(),
    }
}

fn log_of(code: u8) -> f32 {
    let amplitude = Codec::with_full_scale(full_scale()).decode(&[code])[0];
    (amplitude / s0()).ln_1p()
}

/// Commissions a sensor at one code and lets its baseline follow to another; the first.
pub(crate) async fn followed(stage: &Stage, sensor: &Sensor, (from, to): (u8, u8)) -> BaselineId {
    let learned = learned(sensor.id, log_of(from));
    let first = stage
        .store
        .baseline_activate(&Scope::All, &learned, noon(), tocsin_scratch::audit);
    let first = first.await.unwrap().unwrap();
    let round = NewRound {
        sensor: sensor.id,
        epoch: 1,
        active: first,
        until: noon() + STEP * STEPS,
        readings: 30,
        finding: "drift",
        standing: 0.0,
        cusum: 0.0,
        held: false,
        recent: Some(vec![log_of(to); BINS]),
        recent_db: 7.5,
        active_db: 7.5,
        next: Some(NextVersion {
            median: vec![log_of(to); BINS],
            log_energy_mean: -3.0,
        }),
        by: "recalibrator".to_owned(),
        reason: "followed".to_owned(),
        accepted: false,
    };
    let group = Group {
        class: stage.class,
        spec: sensor.spec,
    };
    let rounds = [round];
    let moved = stage
        .store
        .following_record(group, &rounds, noon(), tocsin_scratch::audit);
    assert_eq!(moved.await.unwrap().len(), 1, "it followed");
    first
}

/// A set like another, whose lines are for growth in place of the residual.
async fn for_growth(stage: &Stage, bundle: i32, set: i32) -> i32 {
    let like = stage.store.threshold_set_get(ThresholdSetId(set)).await.unwrap();
    let new = NewThresholdSet {
        class: stage.class,
        bundle: BundleId(bundle),
        definition_json: like.definition_json.replace("residual", "growth"),
        provenance_json: like.provenance_json,
        reason: "by hand".to_owned(),
        created_by: "ana".to_owned(),
        by_person: false,
    };
    let stored = stage.store.threshold_set_insert(&new, noon(), tocsin_scratch::audit);
    stored.await.unwrap().id.0
}

#[tokio::test]
async fn baselines_that_followed_lose_the_page_and_those_of_commissioning_change_nothing() {
    const ROSE: u8 = HEALTHY + 22;
    with_stage("rescored_baselines", |stage| async move {
        let bundle = network(&stage, 0.001, 0).await;
        let sensor = stage.sensor("north", "p-1").await;
        let mut engineer = stage.client(PersonRole::Engineer);
        let set = approved(&mut engineer, bundle).await;
        activate(&mut engineer, set).await.unwrap();
        let set = for_growth(&stage, bundle, set).await;
        let first = followed(&stage, &sensor, (HEALTHY, ROSE)).await;
        let model = ready(&stage, bundle).await;
        let reading = |step| {
            let code = if step < 300 { HEALTHY } else { ROSE };
            let mut reading = judged(&model, (sensor.id, bundle), step, code, about(first, HEALTHY));
            if step >= 350 {
                // Without the network, as it happened.
                reading.flags = ReadingFlags::DEGRADED;
                reading.scores.clear(Detector::Residual);
            }
            reading
        };
        stage.keep(&(0..STEPS).map(reading).collect::<Vec<_>>()).await;
        let with = |baselines: &str| v1::WhatIfRequest {
            baselines: baselines.to_owned(),
            ..of_set(set)
        };
        let plain = asked(&mut engineer, with("judged")).await;
        assert_eq!(plain.expected.unwrap().pages.unwrap().events, 1, "{:?}", plain.expected);
        let commissioned = asked(&mut engineer, with("commissioned")).await;
        assert_eq!(
            opened(&commissioned),
            opened(&plain),
            "it was judged against the first of its epoch"
        );
        assert_eq!(commissioned.baselines, "commissioned");
        let active = asked(&mut engineer, with("active")).await;
        let expected = active.expected.unwrap();
        assert_eq!(
            (expected.pages.unwrap().events, expected.readings),
            (0, u64::from(STEPS))
        );
        assert_eq!(active.coverage.unwrap().scored, u64::from(STEPS));
    })
    .await;
}

#[tokio::test]
async fn a_bundle_that_can_not_be_tried_is_refused_by_the_field() {
    with_stage("rescored_refused", |stage| async move {
        let (bundle, set, _) = two_sites(&stage).await;
        let other = network(&stage, 0.3, 1).await;
        let mut engineer = stage.client(PersonRole::Engineer);
        let mut refused = async |request: v1::WhatIfRequest| {
            let status = engineer.what_if(request).await.unwrap_err();
            (status.code(), status.message().to_owned())
        };
        let (code, message) = refused(of_bundle(&other.to_string())).await;
        assert_eq!(code, Code::InvalidArgument);
        assert!(
            message.starts_with("bundle: ") && message.contains("has no limits yet"),
            "{message}"
        );
        let others = v1::WhatIfRequest {
            bundle: other.to_string(),
            ..of_set(set)
        };
        let (code, message) = refused(others).await;
        assert_eq!(code, Code::InvalidArgument);
        assert!(message.starts_with("threshold_set_id: "), "{message}");
        let (code, message) = refused(of_bundle("challenger")).await;
        assert_eq!(
            (code, message.as_str()),
            (
                Code::InvalidArgument,
                "class: is missing: every class has a challenger of its own"
            )
        );
        let none = v1::WhatIfRequest {
            bundle: "challenger".to_owned(),
            ..of_set(set)
        };
        assert_eq!(
            refused(none).await,
            (Code::FailedPrecondition, "class pump has no challenger".to_owned())
        );
        let (code, _) = refused(of_bundle("0123abcd")).await;
        assert_eq!(code, Code::NotFound);
        let newest = v1::WhatIfRequest {
            baselines: "newest".to_owned(),
            ..of_set(set)
        };
        assert!(refused(newest).await.1.starts_with("baselines: "));
        let early = v1::WhatIfRequest {
            period: Some(v1::LoggedScores {
                from: Some(time::to_wire(noon() - STEP)),
                to: Some(time::to_wire(noon())),
            }),
            ..of_bundle(&bundle.to_string())
        };
        let (code, message) = refused(early).await;
        assert_eq!(code, Code::FailedPrecondition);
        assert!(message.contains("no reading of that period is stored"), "{message}");
    })
    .await;
}
