//! From a trained bundle to a judged class: push, propose alarm limits, test them, approve, promote.

use anyhow::{Context, Result};
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::fleet::v1::{CreateClassRequest, MachineClass};
use tocsin_contracts::recalibrator::v1::propose_request::{Method, Source};
use tocsin_contracts::recalibrator::v1::recalibrator_service_client::RecalibratorServiceClient;
use tocsin_contracts::recalibrator::v1::{
    ApproveRequest, HeldOutScores, ProposeRequest, Tail, TestRequest, ThresholdSet,
};
use tocsin_contracts::registry::v1::registry_service_client::RegistryServiceClient;
use tocsin_contracts::registry::v1::{ListBindingsRequest, PromoteRequest, SetChallengerRequest};
use tocsin_models::BundleArchive;
use tocsin_transport::Channel;
use tonic::Code;

use crate::client::explain;
use crate::command::push_bundle;

/// What a registered bundle became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// Its number.
    pub bundle_id: i32,
    /// The alarm limits made for it.
    pub threshold_set_id: i32,
    /// It judges its class now; otherwise it is the challenger.
    pub champion: bool,
}

/// Registers a bundle for a class, which is made if it doesn't exist, with alarm limits from the healthy scores it holds.
///
/// A class without a champion is judged by the bundle from then on. In a class that has one it becomes the challenger,
/// for a person to promote.
pub async fn register(channel: &Channel, class: &str, archive: &BundleArchive) -> Result<Rollout> {
    class_exists(channel, class).await?;
    let bundle = push_bundle(channel.clone(), class, archive.to_bytes()).await?;
    let set = limits(channel, class, &bundle.digest).await?;
    let mut registry = RegistryServiceClient::new(channel.clone());
    let bindings = registry
        .list_bindings(ListBindingsRequest {
            class: class.to_owned(),
        })
        .await;
    let bindings = bindings
        .map_err(|status| explain("reading the class's bindings", &status))?
        .into_inner()
        .bindings;
    let judged = bindings.first().is_some_and(|present| present.champion_bundle_id != 0);
    if judged {
        let request = SetChallengerRequest {
            class: class.to_owned(),
            bundle: bundle.digest.clone(),
        };
        registry
            .set_challenger(request)
            .await
            .map_err(|status| explain("naming the challenger", &status))?;
    } else {
        let request = PromoteRequest {
            bundle: bundle.digest.clone(),
            threshold_set_id: set.threshold_set_id,
            reason: "first bundle of its class".to_owned(),
        };
        registry
            .promote(request)
            .await
            .map_err(|status| explain("promoting the bundle", &status))?;
    }
    Ok(Rollout {
        bundle_id: bundle.bundle_id,
        threshold_set_id: set.threshold_set_id,
        champion: !judged,
    })
}

async fn class_exists(channel: &Channel, class: &str) -> Result<()> {
    let class = MachineClass {
        name: class.to_owned(),
        step_ms: 0,
        ..MachineClass::default()
    };
    let made = FleetServiceClient::new(channel.clone())
        .create_class(CreateClassRequest { class: Some(class) })
        .await;
    match made {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        Err(status) => Err(explain("making the class", &status)),
    }
}

/// Proposes alarm limits from the bundle's held-out scores, tests and approves them.
async fn limits(channel: &Channel, class: &str, bundle: &str) -> Result<ThresholdSet> {
    let mut recalibrator = RecalibratorServiceClient::new(channel.clone());
    let propose = ProposeRequest {
        class: class.to_owned(),
        bundle: bundle.to_owned(),
        source: Some(Source::HeldOut(HeldOutScores {})),
        reason: "healthy scores the trainer held out".to_owned(),
        method: Some(Method::Tail(Tail {})),
    };
    let proposed = recalibrator
        .propose(propose)
        .await
        .map_err(|status| explain("proposing alarm limits", &status))?;
    let id = proposed
        .into_inner()
        .threshold_set
        .context("the proposal holds no threshold set")?
        .threshold_set_id;
    let test = TestRequest { threshold_set_id: id };
    let tested = recalibrator
        .test(test)
        .await
        .map_err(|status| explain("testing the alarm limits", &status))?
        .into_inner()
        .threshold_set
        .context("the test holds no threshold set")?;
    // Where a site asks for a second person, approving is for persons: the bundle can be challenger meanwhile.
    if !tested.approval_needed_at.is_empty() {
        return Ok(tested);
    }
    let approve = ApproveRequest {
        threshold_set_id: id,
        reason: "registered by their trainer".to_owned(),
    };
    let approved = recalibrator.approve(approve).await;
    let approved = approved
        .map_err(|status| explain("approving the alarm limits", &status))?
        .into_inner();
    approved.threshold_set.context("the approval holds no threshold set")
}
