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
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::{Instrument, Span};

use crate::Config;
use crate::assess::{Assessor, History};
use crate::baselines::{Baselines, Follower, Known};
use crate::bindings::{Active, Bindings, SetCache, Watcher};
use crate::commit::Committer;
use crate::error::Failure;
use crate::gather::{self, Gatherer, Job, Queue};
use crate::metrics::Metrics;
use crate::partitions::PartitionKeeper;
use crate::rescore::Rescorer;
use crate::scorer_builds::ScorerBuilds;
use crate::shadow::{self, Sampler, Shadow};
use crate::signals::{self, Signals};
use crate::ticket::Ticket;
use crate::write::Writer;
use crate::zones::{self, Placed, Zones};

/// How long a batch waits for the registry's first word, for the baselines and for the zones, after a start.
const FIRST_WORD: std::time::Duration = std::time::Duration::from_secs(5);

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

/// The running side of the role: drives the groups, the watches, the rescoring and the making of partitions.
#[derive(Debug)]
pub struct Ensemble {
    gatherer: Gatherer,
    watcher: Watcher,
    follower: Follower,
    zones: zones::Follower,
    rescorer: Rescorer,
    shadow: Shadow,
    partitions: PartitionKeeper,
    signals: signals::Keeper,
    pipeline: Pipeline,
}

/// What a group goes through.
#[derive(Debug, Clone)]
struct Pipeline {
    bindings: Bindings,
    baselines: Baselines,
    zones: Zones,
    assessor: Assessor,
    committer: Committer,
    sampler: Sampler,
    metrics: Metrics,
}

/// The service to register, and the role to run beside it.
pub fn build(config: &Config, parts: Parts) -> (EnsembleServiceServer<Service>, Ensemble) {
    let (queue, gatherer) = gather::queue(config);
    let sets = SetCache::new(parts.store.clone());
    let (watcher, bindings) = Watcher::new(parts.registry, parts.store.clone(), sets.clone(), parts.bundles.clone());
    let (follower, baselines) = Follower::new(parts.store.clone());
    let (zones_follower, zones) = zones::follow(parts.store.clone());
    let assessor = Assessor {
        scorers: parts.scorers,
        deadline: config.score_deadline(),
        builds: ScorerBuilds::new(parts.store.clone(), parts.clock.clone()),
    };
    let signals = Signals::default();
    let committer = Committer {
        store: parts.store.clone(),
        sets,
        writer: Writer::default(),
        signals: signals.clone(),
        blocked: Arc::new(Semaphore::new(config.blocked_machines.max(1))),
        waits: TaskTracker::new(),
    };
    let partitions = PartitionKeeper {
        store: parts.store.clone(),
        clock: parts.clock.clone(),
    };
    let signals = signals::Keeper {
        store: parts.store.clone(),
        signals,
        interval: config.signal_interval(),
    };
    let metrics = Metrics::new();
    let (sampler, shadow) = shadow::line(
        config,
        parts.store.clone(),
        assessor.clone(),
        parts.clock.clone(),
        metrics.clone(),
    );
    let rescorer = Rescorer {
        store: parts.store,
        assessor: assessor.clone(),
        clock: parts.clock,
        interval: config.rescore_interval(),
    };
    let service = Service {
        queue,
        metrics: metrics.clone(),
    };
    let pipeline = Pipeline {
        bindings,
        baselines,
        zones,
        assessor,
        committer,
        sampler,
        metrics,
    };
    let server = EnsembleServiceServer::new(service).max_decoding_message_size(usize::MAX);
    (
        server,
        Ensemble {
            gatherer,
            watcher,
            follower,
            zones: zones_follower,
            rescorer,
            shadow,
            partitions,
            signals,
            pipeline,
        },
    )
}

impl Ensemble {
    /// Runs until `shutdown`; returns when everything that was let in has been answered.
    ///
    /// # Panics
    /// When one of its background tasks does.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut background = JoinSet::new();
        background.spawn(self.watcher.run(shutdown.clone()));
        background.spawn(self.follower.run(shutdown.clone()));
        background.spawn(self.zones.run(shutdown.clone()));
        background.spawn(self.rescorer.run(shutdown.clone()));
        background.spawn(self.shadow.run(shutdown.clone()));
        background.spawn(self.partitions.run(shutdown.clone()));
        background.spawn(self.signals.run(shutdown.clone()));
        let pipeline = self.pipeline.clone();
        let waits = pipeline.committer.waits.clone();
        let assess = move |group: Vec<Job>, permit| {
            let pipeline = pipeline.clone();
            // On the heap: a group's future holds every stage it goes through.
            Box::pin(async move {
                let span = span_of(&group);
                Box::pin(pipeline.assess(group)).instrument(span).await;
                drop(permit);
            })
        };
        let work = async {
            self.gatherer.run(assess, shutdown).await;
            waits.close();
            waits.wait().await;
        };
        beside(work, background).await;
    }
}

/// Runs the role's work beside its background tasks to the end of both. One that panics takes the role with it, at
/// once: without the watch, an ensemble looks alive and judges by yesterday's limits.
async fn beside(work: impl Future<Output = ()>, background: JoinSet<()>) {
    tokio::join!(work, background.join_all());
}

/// Batches of many traces are worked on together: under the first one's span, with a link to each of the others.
fn span_of(group: &[Job]) -> Span {
    let mut spans = group.iter().map(|job| job.ticket.span());
    let first = spans.next().and_then(Span::id);
    let span = tracing::info_span!(parent: first, "group", batches = group.len());
    for other in spans {
        span.follows_from(other);
    }
    span
}

impl Pipeline {
    /// What the group is judged by.
    async fn known(&self, group: &[Job]) -> Result<(Active, Known, Placed), Failure> {
        let (active, baselines, zones) = tokio::join!(
            self.bindings.current(FIRST_WORD),
            self.baselines.current(FIRST_WORD),
            self.zones.place(group, FIRST_WORD),
        );
        let active = active.ok_or(Failure::NoBindings)?;
        let baselines = baselines.ok_or(Failure::NoBaselines)?;
        Ok((active, baselines, zones?))
    }

    async fn assess(&self, group: Vec<Job>) {
        let (active, baselines, zones) = match self.known(&group).await {
            Ok(known) => known,
            Err(failure) => return fail(group, &failure),
        };
        let history = match History::read(&self.committer.store, &group, &active).await {
            Ok(history) => Arc::new(history),
            Err(failure) => return fail(group, &failure),
        };
        let known = (&active, &baselines, &zones);
        let assessed = self.assessor.assess(group, known, &history).await;
        self.metrics.assessed(&assessed);
        let span = tracing::info_span!("commit", readings = assessed.len());
        let chosen = self.sampler.choose(&assessed);
        Box::pin(self.committer.commit(assessed)).instrument(span).await;
        self.sampler.offer(chosen);
    }
}

/// Answers every batch of a group that can't be assessed now.
fn fail(group: Vec<Job>, failure: &Failure) {
    for job in group {
        job.ticket.fail(failure.clone());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_background_task_that_panics_takes_the_role_with_it() {
        let mut background = JoinSet::new();
        background.spawn(std::future::pending());
        background.spawn(async { panic!("a bug in the watch") });
        let role = tokio::spawn(beside(std::future::pending(), background));
        let panic = role.await.expect_err("the role ended").into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"a bug in the watch"));
    }

    #[tokio::test]
    async fn the_role_ends_when_its_work_and_all_beside_it_have() {
        let mut background = JoinSet::new();
        background.spawn(async {});
        beside(async {}, background).await;
    }
}
