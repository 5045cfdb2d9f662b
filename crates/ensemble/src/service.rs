//! The gRPC face, and how the parts are put together.

use std::sync::Arc;

use tocsin_contracts::ensemble::Assessment;
use tocsin_contracts::ensemble::v1::ensemble_service_server::{EnsembleService, EnsembleServiceServer};
use tocsin_contracts::ensemble::v1::{AssessRequest, AssessResponse};
use tocsin_domain::{Clock, Principal};
use tocsin_models::BundleStore;
use tocsin_store::Store;
use tocsin_transport::{Channel, Replicas};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::Config;
use crate::assess::Assessor;
use crate::bindings::{Bindings, SetCache, Watcher};
use crate::commit::Committer;
use crate::error::Failure;
use crate::gather::{self, Gatherer, Job, Queue};
use crate::metrics::Metrics;
use crate::rescore::Rescorer;
use crate::ticket::Ticket;

/// How long a batch waits for the registry's first word after a start.
const FIRST_BINDINGS: std::time::Duration = std::time::Duration::from_secs(5);

/// What the ensemble works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Postgres.
    pub store: Store,
    /// Bundles.
    pub bundles: BundleStore,
    /// The scorers.
    pub scorers: Replicas,
    /// The registry, whose bindings are watched.
    pub registry: Channel,
    /// Now.
    pub clock: Clock,
}

/// The running side of the role: drives the groups, the watch and the rescoring.
#[derive(Debug)]
pub struct Ensemble {
    gatherer: Gatherer,
    watcher: Watcher,
    rescorer: Rescorer,
    pipeline: Pipeline,
}

/// What a group goes through.
#[derive(Debug, Clone)]
struct Pipeline {
    bindings: Bindings,
    sets: SetCache,
    assessor: Assessor,
    committer: Committer,
    metrics: Metrics,
}

/// The service to register, and the role to run beside it.
pub fn build(config: &Config, parts: Parts) -> (EnsembleServiceServer<Service>, Ensemble) {
    let (queue, gatherer) = gather::queue(config);
    let (watcher, bindings) = Watcher::new(parts.registry, parts.store.clone(), parts.bundles.clone());
    let sets = SetCache::new(parts.store.clone());
    let assessor = Assessor {
        scorers: parts.scorers,
        deadline: config.score_deadline(),
    };
    let committer = Committer {
        store: parts.store.clone(),
        sets: sets.clone(),
        blocked: Arc::new(Semaphore::new(config.blocked_machines.max(1))),
        waits: TaskTracker::new(),
    };
    let rescorer = Rescorer {
        store: parts.store,
        assessor: assessor.clone(),
        clock: parts.clock,
        interval: config.rescore_interval(),
    };
    let metrics = Metrics::new();
    let service = Service {
        queue,
        metrics: metrics.clone(),
    };
    let pipeline = Pipeline {
        bindings,
        sets,
        assessor,
        committer,
        metrics,
    };
    let server = EnsembleServiceServer::new(service).max_decoding_message_size(usize::MAX);
    (
        server,
        Ensemble {
            gatherer,
            watcher,
            rescorer,
            pipeline,
        },
    )
}

impl Ensemble {
    /// Runs until `shutdown`; returns when everything that was let in has been answered.
    pub async fn run(self, shutdown: CancellationToken) {
        let watcher = tokio::spawn(self.watcher.run(shutdown.clone()));
        let rescorer = tokio::spawn(self.rescorer.run(shutdown.clone()));
        let pipeline = self.pipeline.clone();
        let waits = pipeline.committer.waits.clone();
        let assess = move |group, permit| {
            let pipeline = pipeline.clone();
            // On the heap: a group's future holds every stage it goes through.
            Box::pin(async move {
                Box::pin(pipeline.assess(group)).await;
                drop(permit);
            })
        };
        self.gatherer.run(assess, shutdown).await;
        waits.close();
        waits.wait().await;
        for background in [watcher, rescorer] {
            if let Err(error) = background.await {
                tracing::error!(%error, "a background task of the ensemble broke");
            }
        }
    }
}

impl Pipeline {
    #[tracing::instrument(skip_all, fields(batches = group.len()))]
    async fn assess(&self, group: Vec<Job>) {
        let Some(active) = self.bindings.current(FIRST_BINDINGS).await else {
            for job in group {
                job.ticket.fail(Failure::NoBindings);
            }
            return;
        };
        for class in active.values() {
            self.sets.remember(class.threshold_set_id, &class.set).await;
        }
        let assessed = self.assessor.assess(group, &active).await;
        self.metrics.assessed(&assessed);
        Box::pin(self.committer.commit(assessed)).await;
    }
}

/// The gRPC service.
#[derive(Debug, Clone)]
pub struct Service {
    queue: Queue,
    metrics: Metrics,
}

#[tonic::async_trait]
impl EnsembleService for Service {
    #[tracing::instrument(skip_all, fields(readings = request.get_ref().readings.len()))]
    async fn assess(&self, request: Request<AssessRequest>) -> Result<Response<AssessResponse>, Status> {
        let principal = request.extensions().get::<Principal>();
        let principal = principal.ok_or_else(|| Status::unauthenticated("the call has no principal"))?;
        principal
            .require_service("assess readings")
            .map_err(|forbidden| Status::permission_denied(forbidden.to_string()))?;
        let assessment = Assessment::try_from(request.into_inner())?;
        let (sender, answer) = oneshot::channel();
        let ticket = Ticket::new(assessment.readings.len(), sender);
        self.queue.put(Job { assessment, ticket })?;
        let outcomes = answer.await.map_err(|_| Status::from(Failure::Closing))??;
        self.metrics.answered(&outcomes);
        Ok(Response::new(AssessResponse {
            outcomes: outcomes.into_iter().map(Into::into).collect(),
        }))
    }
}
