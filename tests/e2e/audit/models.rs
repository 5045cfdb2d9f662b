//! What people do with baselines, alarm limits and bundles.

use anyhow::{Context, Result};
use tocsin_contracts::recalibrator::v1 as recalibrator;
use tocsin_contracts::registry::v1 as registry;
use tocsin_contracts::training::v1 as training;
use tocsin_tests::stage::{CLASS, SITE};
use tocsin_tests::{Fleet, Plant};

use super::ANA;
use super::record::Record;

pub(super) const RECALIBRATOR: &str = "recalibrator.v1.RecalibratorService";
pub(super) const REGISTRY: &str = "registry.v1.RegistryService";
pub(super) const TRAINING: &str = "training.v1.TrainingService";

/// Bytes of an archive that travel in one message.
const CHUNK_BYTES: usize = 1 << 20;

/// Sensors are commissioned; one baseline moves, is taken back and released.
pub(super) async fn baselines(fleet: &mut Fleet, record: &mut Record) -> Result<()> {
    fleet.healthy_steps(40).await?;
    let (rpc, request) = ((RECALIBRATOR, "Commission"), recalibrator::CommissionRequest {});
    record
        .of_call::<recalibrator::CommissionResponse>(rpc, (ANA, "sensors.commission_ready"), &[request])
        .await?;
    fleet.commission().await?;
    let judged = |reading: &tocsin_store::reading::StoredReading| reading.baseline.is_some();
    fleet.until("readings against a baseline", judged).await?;
    fleet.healthy_steps(40).await?;
    let (rpc, request) = ((RECALIBRATOR, "Follow"), recalibrator::FollowRequest {});
    record
        .of_call::<recalibrator::FollowResponse>(rpc, (ANA, "sensors.follow"), &[request])
        .await?;
    let (site, machine, sensor) = (SITE.to_owned(), "m1".to_owned(), "h".to_owned());
    let reason = "a new impeller".to_owned();
    let request = recalibrator::AcceptPlateauRequest {
        site: site.clone(),
        machine: machine.clone(),
        sensor: sensor.clone(),
        reason: reason.clone(),
    };
    let rpc = (RECALIBRATOR, "AcceptPlateau");
    record
        .of_call::<recalibrator::AcceptPlateauResponse>(rpc, (ANA, "sensor.accept_plateau"), &[request])
        .await?;
    let request = recalibrator::RollbackBaselineRequest {
        site: site.clone(),
        machine: machine.clone(),
        sensor: sensor.clone(),
        reason: reason.clone(),
        version: 1,
    };
    let rpc = (RECALIBRATOR, "RollbackBaseline");
    record
        .of_call::<recalibrator::RollbackBaselineResponse>(rpc, (ANA, "sensor.rollback_baseline"), &[request])
        .await?;
    let request = recalibrator::ReleaseBaselineRequest {
        site,
        machine,
        sensor,
        reason,
    };
    let rpc = (RECALIBRATOR, "ReleaseBaseline");
    record
        .of_call::<recalibrator::ReleaseBaselineResponse>(rpc, (ANA, "sensor.release_baseline"), &[request])
        .await?;
    Ok(())
}

/// Another bundle comes, judges and goes again; so do other limits of the first.
pub(super) async fn bundles(fleet: &Fleet, record: &mut Record) -> Result<()> {
    let archive = Plant::bundle_of(CLASS, 2, Plant::of_mixed_fleet)?.to_bytes();
    let header = registry::PushBundleHeader {
        class: CLASS.to_owned(),
    };
    let mut messages = vec![message(registry::push_bundle_request::Message::Header(header))];
    let chunks = archive.chunks(CHUNK_BYTES);
    messages.extend(chunks.map(|chunk| message(registry::push_bundle_request::Message::Chunk(chunk.to_vec()))));
    let rpc = (REGISTRY, "PushBundle");
    let pushed: registry::PushBundleResponse = record.of_call(rpc, (ANA, "bundle.push"), &messages).await?;
    let bundle = pushed.bundle.context("a bundle")?.digest;
    let request = registry::SetChallengerRequest {
        class: CLASS.to_owned(),
        bundle: bundle.clone(),
    };
    let rpc = (REGISTRY, "SetChallenger");
    record
        .of_call::<registry::SetChallengerResponse>(rpc, (ANA, "challenger.set"), &[request])
        .await?;

    let rpc = (RECALIBRATOR, "Propose");
    let proposed: recalibrator::ProposeResponse = record
        .of_call(rpc, (ANA, "threshold_set.propose"), &[propose(&bundle)])
        .await?;
    let set = proposed.threshold_set.context("a set")?.threshold_set_id;
    approve(record, set).await?;
    let request = registry::PromoteRequest {
        bundle,
        threshold_set_id: set,
        reason: "it fits better".into(),
    };
    let rpc = (REGISTRY, "Promote");
    record
        .of_call::<registry::PromoteResponse>(rpc, (ANA, "bundle.promote"), &[request])
        .await?;
    let request = registry::RollbackRequest {
        class: CLASS.to_owned(),
        reason: "it does not".into(),
    };
    let rpc = (REGISTRY, "Rollback");
    record
        .of_call::<registry::RollbackResponse>(rpc, (ANA, "binding.rollback"), &[request])
        .await?;
    limits(record, &fleet.registered.bundle_id.to_string()).await?;
    train(record).await
}

fn message(message: registry::push_bundle_request::Message) -> registry::PushBundleRequest {
    registry::PushBundleRequest { message: Some(message) }
}

fn propose(bundle: &str) -> recalibrator::ProposeRequest {
    use recalibrator::propose_request::{Method, Source};
    recalibrator::ProposeRequest {
        class: CLASS.to_owned(),
        bundle: bundle.to_owned(),
        source: Some(Source::HeldOut(recalibrator::HeldOutScores {})),
        reason: "held out".into(),
        method: Some(Method::Tail(recalibrator::Tail {})),
    }
}

/// A proposed set is tested and approved.
async fn approve(record: &mut Record, threshold_set_id: i32) -> Result<()> {
    let rpc = (RECALIBRATOR, "Test");
    let request = recalibrator::TestRequest { threshold_set_id };
    record
        .of_call::<recalibrator::TestResponse>(rpc, (ANA, "threshold_set.tested"), &[request])
        .await?;
    let request = recalibrator::ApproveRequest {
        threshold_set_id,
        reason: "it holds".into(),
    };
    let rpc = (RECALIBRATOR, "Approve");
    record
        .of_call::<recalibrator::ApproveResponse>(rpc, (ANA, "threshold_set.approved"), &[request])
        .await?;
    Ok(())
}

/// Limits that are proposed with progress come into force, and those before them again.
async fn limits(record: &mut Record, bundle: &str) -> Result<()> {
    use recalibrator::run_with_progress_request::Work;
    use recalibrator::run_with_progress_response::Said;
    let request = recalibrator::RunWithProgressRequest {
        work: Some(Work::Propose(propose(bundle))),
    };
    let rpc = (RECALIBRATOR, "RunWithProgress");
    let last: recalibrator::RunWithProgressResponse =
        record.of_call(rpc, (ANA, "threshold_set.propose"), &[request]).await?;
    let Some(Said::ThresholdSet(set)) = last.said else {
        anyhow::bail!("no set: {last:?}")
    };
    approve(record, set.threshold_set_id).await?;
    let request = recalibrator::ActivateRequest {
        threshold_set_id: set.threshold_set_id,
        reason: "anew".into(),
    };
    let rpc = (RECALIBRATOR, "Activate");
    record
        .of_call::<recalibrator::ActivateResponse>(rpc, (ANA, "threshold_set.activate"), &[request])
        .await?;
    let request = recalibrator::RollbackRequest {
        class: CLASS.to_owned(),
        reason: "as before".into(),
    };
    let rpc = (RECALIBRATOR, "Rollback");
    record
        .of_call::<recalibrator::RollbackResponse>(rpc, (ANA, "threshold_set.rollback"), &[request])
        .await?;
    Ok(())
}

async fn train(record: &mut Record) -> Result<()> {
    let request = training::RequestTrainingRequest {
        class: CLASS.to_owned(),
        reason: "a year has gone by".into(),
        ..training::RequestTrainingRequest::default()
    };
    let rpc = (TRAINING, "RequestTraining");
    record
        .of_call::<training::RequestTrainingResponse>(rpc, (ANA, "training.request"), &[request])
        .await?;
    Ok(())
}
