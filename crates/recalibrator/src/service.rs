//! The gRPC face.

use std::time::Duration;

use serde_json::json;
use tocsin_archive::Reader;
use tocsin_contracts::Malformed;
use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::recalibrator_service_server::{RecalibratorService, RecalibratorServiceServer};
use tocsin_domain::lifecycle::ThresholdState;
use tocsin_domain::{Clock, PersonRole, Principal, Scope, Slug, ThresholdSetId};
use tocsin_models::BundleStore;
use tocsin_store::Store;
use tocsin_store::access::NewAuditEntry;
use tocsin_store::binding::Binding;
use tocsin_store::bundle::Bundle;
use tocsin_store::threshold::ThresholdSetRecord;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::commission::Commissioner;
use crate::follow::Follower;
use crate::progress::{Answers, Progress};
use crate::scores::{Healthy, NONE_LOGGED};
use crate::steps::APPROVE;
use crate::training::watch::Watch;
use crate::{Config, Error, Source};

/// What the recalibrator works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Postgres.
    pub store: Store,
    /// Bundles.
    pub bundles: BundleStore,
    /// Now.
    pub clock: Clock,
}

impl Parts {
    /// Stored readings, those of archived days too.
    pub(crate) fn archive(&self) -> Reader {
        Reader::new(self.store.clone(), self.bundles.objects().clone())
    }
}

/// The service to register, and what runs beside it.
pub fn build(config: Config, parts: Parts) -> (RecalibratorServiceServer<Service>, Recalibrator) {
    let commissioner = Commissioner {
        store: parts.store.clone(),
        clock: parts.clock.clone(),
    };
    let follower = Follower {
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        rule: config.follow,
        period: Duration::from_secs(config.follow_period_s),
    };
    let watch = Watch {
        store: parts.store.clone(),
        bundles: parts.bundles.clone(),
        clock: parts.clock.clone(),
        rule: config.retrain,
        follow: config.follow,
    };
    let service = Service {
        config,
        parts,
        commissioner: commissioner.clone(),
        follower: follower.clone(),
        progress: Progress::default(),
    };
    let recalibrator = Recalibrator {
        watch,
        commissioner,
        interval: Duration::from_secs(service.config.commission_interval_s),
        follower,
        service: service.clone(),
    };
    (RecalibratorServiceServer::new(service), recalibrator)
}

/// The running side of the role: commissions sensors, lets their baselines follow them, proposes limits on schedule, and asks
/// for training.
#[derive(Debug)]
pub struct Recalibrator {
    watch: Watch,
    commissioner: Commissioner,
    interval: Duration,
    follower: Follower,
    service: Service,
}

impl Recalibrator {
    /// Runs until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::join!(
            self.commissioner.run(self.interval, shutdown.clone()),
            self.follower.run(shutdown.clone()),
            self.service.run_policy(shutdown.clone()),
            self.watch.run(shutdown),
        );
    }
}

/// The gRPC service.
#[derive(Debug, Clone)]
pub struct Service {
    pub(crate) config: Config,
    pub(crate) parts: Parts,
    pub(crate) commissioner: Commissioner,
    pub(crate) follower: Follower,
    /// Who hears how far work over a class's history is.
    pub(crate) progress: Progress,
}

pub(crate) fn caller<T>(request: &Request<T>) -> Result<&Principal, Error> {
    request.extensions().get::<Principal>().ok_or(Error::NoPrincipal)
}

/// Who works on limits: they are a class's at every site, so an engineer who sees all of them.
fn engineer<T>(request: &Request<T>, action: &'static str) -> Result<Principal, Error> {
    Caller::of(request)?.engineer(action)
}

/// Who tries limits on what they see, which changes nothing.
fn local_engineer<T>(request: &Request<T>, action: &'static str) -> Result<Principal, Error> {
    Caller::of(request)?.local_engineer(action)
}

/// Whoever makes a call, before it is known what for.
#[derive(Debug)]
pub(crate) struct Caller(Principal);

impl Caller {
    fn of<T>(request: &Request<T>) -> Result<Self, Error> {
        Ok(Self(caller(request)?.clone()))
    }

    pub(crate) fn engineer(&self, action: &'static str) -> Result<Principal, Error> {
        self.0.require_everywhere(PersonRole::Engineer, action)?;
        Ok(self.0.clone())
    }

    pub(crate) fn local_engineer(&self, action: &'static str) -> Result<Principal, Error> {
        self.0.require(PersonRole::Engineer, action)?;
        Ok(self.0.clone())
    }
}

fn viewer<T>(request: &Request<T>, action: &'static str) -> Result<Principal, Error> {
    let principal = caller(request)?;
    principal.require(PersonRole::Viewer, action)?;
    Ok(principal.clone())
}

pub(crate) fn class_name(text: &str) -> Result<Slug, Error> {
    Ok(Slug::parse("class", text).map_err(Malformed::from)?)
}

impl Service {
    pub(crate) async fn healthy(&self, scope: &Scope, bundle: &Bundle, source: Source) -> Result<Healthy, Error> {
        let (healthy, none) = match source {
            Source::HeldOut => {
                let loaded = self.parts.bundles.get(&bundle.digest).await?;
                (Healthy::held_out(loaded.held_out()), "the bundle brings none along")
            }
            Source::Logged { from, to } => (self.logged(scope, bundle, (from, to)).await?, NONE_LOGGED),
        };
        if healthy.readings.is_empty() {
            return Err(Error::NoScores(none));
        }
        Ok(healthy)
    }

    async fn do_commission(&self, by: &Principal) -> Result<u32, Error> {
        self.asked_for(by, "sensors.commission_ready").await?;
        self.commissioner.round(&by.actor()).await
    }

    /// Puts on record that somebody asks for a round over all sensors, before it begins: what it then changes is put on
    /// record sensor by sensor.
    pub(crate) async fn asked_for(&self, by: &Principal, action: &str) -> Result<(), Error> {
        let entry = NewAuditEntry::new(by.actor(), action, "sensors", &json!({}));
        Ok(self.parts.store.audit_append(&entry, self.parts.clock.now()).await?)
    }
}

/// The entry of what `by` did to a set.
pub(crate) fn set_entry(by: &Principal, action: &str, record: &ThresholdSetRecord) -> NewAuditEntry {
    let detail = json!({ "class": record.class_name, "state": record.state, "bundle": record.bundle });
    NewAuditEntry::new(by.actor(), action, format!("threshold_set:{}", record.id), &detail)
}

/// The entry of a set that came into force as `by` did `action`.
pub(crate) fn in_force_entry(by: &Principal, action: &str, binding: &Binding, reason: &str) -> NewAuditEntry {
    let set = binding
        .threshold_set
        .map_or_else(|| "none".to_owned(), |set| set.to_string());
    let bundle = binding.champion.as_ref().map(|(bundle, _)| bundle);
    let detail = json!({
        "class": binding.class_name, "state": ThresholdState::Active, "bundle": bundle, "version": binding.version,
        "reason": reason,
    });
    NewAuditEntry::new(by.actor(), action, format!("threshold_set:{set}"), &detail)
}

#[tonic::async_trait]
impl RecalibratorService for Service {
    #[tracing::instrument(skip_all, fields(class = request.get_ref().class))]
    async fn propose(&self, request: Request<v1::ProposeRequest>) -> Result<Response<v1::ProposeResponse>, Status> {
        let by = engineer(&request, "propose alarm limits")?;
        let set = self.do_propose(&by, request.into_inner()).await?;
        Ok(Response::new(v1::ProposeResponse {
            threshold_set: Some(self.shown(&by.scope(), set).await?),
        }))
    }

    #[tracing::instrument(skip_all, fields(set = request.get_ref().threshold_set_id))]
    async fn test(&self, request: Request<v1::TestRequest>) -> Result<Response<v1::TestResponse>, Status> {
        let by = engineer(&request, "test alarm limits")?;
        let set = self
            .do_test(&by, ThresholdSetId(request.into_inner().threshold_set_id))
            .await?;
        Ok(Response::new(v1::TestResponse {
            threshold_set: Some(self.shown(&by.scope(), set).await?),
        }))
    }

    #[tracing::instrument(skip_all, fields(set = request.get_ref().threshold_set_id))]
    async fn approve(&self, request: Request<v1::ApproveRequest>) -> Result<Response<v1::ApproveResponse>, Status> {
        // Who sees some sites alone may be the second person that one of these asks for.
        let by = local_engineer(&request, APPROVE)?;
        let set = self.do_approve(&by, request.into_inner()).await?;
        Ok(Response::new(v1::ApproveResponse {
            threshold_set: Some(self.shown(&by.scope(), set).await?),
        }))
    }

    #[tracing::instrument(skip_all, fields(set = request.get_ref().threshold_set_id))]
    async fn activate(&self, request: Request<v1::ActivateRequest>) -> Result<Response<v1::ActivateResponse>, Status> {
        let by = engineer(&request, "activate alarm limits")?;
        let set = self.do_activate(&by, request.into_inner()).await?;
        Ok(Response::new(v1::ActivateResponse {
            threshold_set: Some(self.shown(&by.scope(), set).await?),
        }))
    }

    #[tracing::instrument(skip_all, fields(class = request.get_ref().class))]
    async fn rollback(&self, request: Request<v1::RollbackRequest>) -> Result<Response<v1::RollbackResponse>, Status> {
        let by = engineer(&request, "roll back alarm limits")?;
        let set = self.do_rollback(&by, request.into_inner()).await?;
        Ok(Response::new(v1::RollbackResponse {
            threshold_set: Some(self.shown(&by.scope(), set).await?),
        }))
    }

    async fn list_threshold_sets(
        &self,
        request: Request<v1::ListThresholdSetsRequest>,
    ) -> Result<Response<v1::ListThresholdSetsResponse>, Status> {
        let scope = viewer(&request, "list alarm limits")?.scope();
        let store = &self.parts.store;
        let class = match request.into_inner().class.as_str() {
            "" => None,
            text => Some(store.class_by_name(&class_name(text)?).await.map_err(Error::from)?.id),
        };
        let sets = store.threshold_set_list(class).await.map_err(Error::from)?;
        let threshold_sets = self.all_shown(&scope, sets).await?;
        Ok(Response::new(v1::ListThresholdSetsResponse { threshold_sets }))
    }

    async fn get_threshold_set(
        &self,
        request: Request<v1::GetThresholdSetRequest>,
    ) -> Result<Response<v1::GetThresholdSetResponse>, Status> {
        let by = viewer(&request, "look at alarm limits")?;
        let id = ThresholdSetId(request.into_inner().threshold_set_id);
        let set = self.parts.store.threshold_set_get(id).await.map_err(Error::from)?;
        Ok(Response::new(v1::GetThresholdSetResponse {
            threshold_set: Some(self.shown(&by.scope(), set).await?),
        }))
    }

    async fn commission(
        &self,
        request: Request<v1::CommissionRequest>,
    ) -> Result<Response<v1::CommissionResponse>, Status> {
        let by = engineer(&request, "commission sensors")?;
        let commissioned = self.do_commission(&by).await?;
        Ok(Response::new(v1::CommissionResponse { commissioned }))
    }

    async fn follow(&self, request: Request<v1::FollowRequest>) -> Result<Response<v1::FollowResponse>, Status> {
        let by = engineer(&request, "let baselines follow their sensors")?;
        let activated = self.do_follow(&by).await?;
        Ok(Response::new(v1::FollowResponse { activated }))
    }

    #[tracing::instrument(skip_all, fields(site = request.get_ref().site))]
    async fn list_drift(
        &self,
        request: Request<v1::ListDriftRequest>,
    ) -> Result<Response<v1::ListDriftResponse>, Status> {
        let scope = viewer(&request, "look at drift")?.scope();
        let sensors = self.drift_of_site(&scope, &request.into_inner().site).await?;
        Ok(Response::new(v1::ListDriftResponse { sensors }))
    }

    #[tracing::instrument(skip_all, fields(site = request.get_ref().site, machine = request.get_ref().machine))]
    async fn accept_plateau(
        &self,
        request: Request<v1::AcceptPlateauRequest>,
    ) -> Result<Response<v1::AcceptPlateauResponse>, Status> {
        let by = local_engineer(&request, "accept a plateau")?;
        let sensor = self.do_accept_plateau(&by, request.into_inner()).await?;
        Ok(Response::new(v1::AcceptPlateauResponse { sensor }))
    }

    #[tracing::instrument(skip_all, fields(site = request.get_ref().site, machine = request.get_ref().machine))]
    async fn rollback_baseline(
        &self,
        request: Request<v1::RollbackBaselineRequest>,
    ) -> Result<Response<v1::RollbackBaselineResponse>, Status> {
        let by = local_engineer(&request, "take a baseline back")?;
        let sensor = self.do_rollback_baseline(&by, request.into_inner()).await?;
        Ok(Response::new(v1::RollbackBaselineResponse { sensor }))
    }

    #[tracing::instrument(skip_all, fields(site = request.get_ref().site, machine = request.get_ref().machine))]
    async fn release_baseline(
        &self,
        request: Request<v1::ReleaseBaselineRequest>,
    ) -> Result<Response<v1::ReleaseBaselineResponse>, Status> {
        let by = local_engineer(&request, "release a baseline")?;
        let sensor = self.do_release_baseline(&by, request.into_inner()).await?;
        Ok(Response::new(v1::ReleaseBaselineResponse { sensor }))
    }

    #[tracing::instrument(skip_all, fields(class = request.get_ref().class))]
    async fn what_if(&self, request: Request<v1::WhatIfRequest>) -> Result<Response<v1::WhatIfResponse>, Status> {
        let by = local_engineer(&request, "try alarm limits")?;
        Ok(Response::new(self.do_what_if(&by, request.into_inner()).await?))
    }

    #[tracing::instrument(skip_all, fields(site = request.get_ref().site, machine = request.get_ref().machine))]
    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        let by = viewer(&request, "look at a sensor's alarm limits")?;
        Ok(Response::new(self.do_explain(&by, request.into_inner()).await?))
    }

    type RunWithProgressStream = Answers;

    #[tracing::instrument(skip_all)]
    async fn run_with_progress(
        &self,
        request: Request<v1::RunWithProgressRequest>,
    ) -> Result<Response<Answers>, Status> {
        let by = Caller::of(&request)?;
        Ok(Response::new(self.work_with_progress(&by, request.into_inner().work)?))
    }
}
