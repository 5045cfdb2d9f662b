//! A replica of the platform's deciding half: an ensemble and a pager on a line of their own to the database. It is killed
//! as a process is, at once and with all it remembers.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tocsin_contracts::ensemble::v1::ensemble_service_client::EnsembleServiceClient;
use tocsin_contracts::ensemble::v1::ensemble_service_server::EnsembleServiceServer;
use tocsin_contracts::ensemble::{Assessment, ReadingOutcome};
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::incidents::v1::incidents_service_server::IncidentsServiceServer;
use tocsin_contracts::incidents::v1::{
    AcknowledgeIncidentRequest, CommentIncidentRequest, HandOverIncidentRequest, RestoreMachineRequest,
    SuppressMachineRequest,
};
use tocsin_domain::access::Person;
use tocsin_domain::{AccountId, Clock, PersonRole, Principal, Scope, Timestamp};
use tocsin_models::BundleStore;
use tocsin_pager::Destination;
use tocsin_pager::destination::Webhook;
use tocsin_transport::{Channel, Replicas};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

use crate::people::{Deed, Shelf};
use crate::proxy::Lines;
use crate::receivers::Receivers;
use crate::stage::{COLLEAGUE, SITE};

/// Destinations by place: two that take everything, and one that is told of what nobody acknowledges.
pub(crate) const DESTINATIONS: [&str; 3] = ["duty", "control-room", "boss"];
/// The place of the one that pages escalate to.
pub(crate) const BOSS: usize = 2;
/// How often a pager looks for pages.
pub(crate) const POLL: Duration = Duration::from_secs(8);

type Door<S> = InterceptedService<S, fn(Request<()>) -> Result<Request<()>, Status>>;

/// What replicas are made from.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) lines: Lines,
    pub(crate) registry: Channel,
    pub(crate) receivers: Receivers,
}

/// A replica at work.
#[derive(Debug)]
pub(crate) struct Replica {
    ensemble: EnsembleServiceClient<Door<EnsembleServiceServer<tocsin_ensemble::Service>>>,
    incidents: IncidentsServiceClient<Door<IncidentsServiceServer<tocsin_pager::Service>>>,
    pub(crate) clock: Clock,
    work: Vec<JoinHandle<()>>,
    dead: CancellationToken,
}

#[expect(clippy::unnecessary_wraps, reason = "an interceptor may refuse")]
fn as_service(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.extensions_mut().insert(Principal::Service);
    Ok(request)
}

#[expect(clippy::unnecessary_wraps, reason = "an interceptor may refuse")]
fn as_operator(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.extensions_mut().insert(Principal::Person(Person {
        account: AccountId(1),
        name: "ana".into(),
        role: PersonRole::Operator,
        scope: Scope::All,
    }));
    Ok(request)
}

fn pager(receivers: &Receivers) -> tocsin_pager::Config {
    let hook = |(place, name): (usize, &&str)| Destination::Webhook(Webhook::new(*name, receivers.url(place)));
    tocsin_pager::Config {
        destinations: DESTINATIONS.iter().enumerate().map(hook).collect(),
        escalate_to: vec![DESTINATIONS[BOSS].to_owned()],
        poll_ms: POLL.as_millis() as u64,
        concurrency: 2,
        ..tocsin_pager::Config::default()
    }
}

impl Replica {
    /// Starts the replica at `place`, with its line's socket in `folder`; `seed` is of its pager's jitter.
    pub(crate) fn start(parts: &Parts, place: usize, folder: &Path, now: Timestamp, seed: u64) -> Result<Self> {
        let dead = CancellationToken::new();
        let store = parts.lines.store(folder, place, dead.clone())?;
        let clock = Clock::manual(now);
        let config = tocsin_ensemble::Config {
            // Nothing here is ever judged without the network.
            rescore_interval_ms: u64::from(u32::MAX),
            ..tocsin_ensemble::Config::default()
        };
        let made_of = tocsin_ensemble::Parts {
            store: store.clone(),
            bundles: BundleStore::open("memory://")?,
            scorers: Replicas::new([parts.registry.clone()])?,
            registry: parts.registry.clone(),
            clock: clock.clone(),
        };
        let (ensemble, judging) = tocsin_ensemble::build(&config, made_of);
        let made_of = tocsin_pager::Parts {
            store,
            clock: clock.clone(),
            seed,
        };
        let (incidents, paging) = tocsin_pager::build(pager(&parts.receivers), made_of).context("the pager")?;
        let (one, other) = (dead.clone(), dead.clone());
        let work = vec![
            tokio::spawn(async move { judging.run(one).await }),
            tokio::spawn(async move { paging.run(other).await }),
        ];
        Ok(Self {
            ensemble: EnsembleServiceClient::new(InterceptedService::new(ensemble, as_service)),
            incidents: IncidentsServiceClient::new(InterceptedService::new(incidents, as_operator)),
            clock,
            work,
            dead,
        })
    }

    /// Sends readings; their outcomes, or why there are none.
    pub(crate) fn assess(&self, assessment: Assessment) -> JoinHandle<Result<Vec<ReadingOutcome>, String>> {
        let mut client = self.ensemble.clone();
        tokio::spawn(async move {
            let answer = client.assess(tocsin_contracts::ensemble::v1::AssessRequest::from(assessment));
            let outcomes = answer.await.map_err(|status| status.to_string())?.into_inner().outcomes;
            let outcomes = outcomes.into_iter().map(ReadingOutcome::try_from);
            outcomes.collect::<Result<_, _>>().map_err(|error| error.to_string())
        })
    }

    /// A person does something to a machine or an incident of it; whether that was done.
    pub(crate) fn ask(&self, machine: String, deed: Deed) -> JoinHandle<Result<(), String>> {
        let mut client = self.incidents.clone();
        tokio::spawn(async move {
            let (site, note, text) = (SITE.to_owned(), String::new(), "heard it".to_owned());
            let answer = match deed {
                Deed::Acknowledge(_, incident_id) => {
                    let asked = AcknowledgeIncidentRequest { incident_id, note };
                    client.acknowledge_incident(asked).await.map(drop)
                }
                Deed::Comment(_, incident_id) => {
                    let asked = CommentIncidentRequest { incident_id, text };
                    client.comment_incident(asked).await.map(drop)
                }
                Deed::HandOver(_, incident_id) => {
                    let to = COLLEAGUE.to_owned();
                    let asked = HandOverIncidentRequest { incident_id, to, note };
                    client.hand_over_incident(asked).await.map(drop)
                }
                Deed::Suppress(Shelf { kind, time, one_shot }) => {
                    let asked = SuppressMachineRequest {
                        site,
                        machine,
                        kind: kind.to_owned(),
                        for_s: time.as_secs(),
                        one_shot,
                        reason: kind.to_owned(),
                    };
                    client.suppress_machine(asked).await.map(drop)
                }
                Deed::Restore => client
                    .restore_machine(RestoreMachineRequest { site, machine })
                    .await
                    .map(drop),
            };
            answer.map_err(|status| status.to_string())
        })
    }

    /// Kills it.
    pub(crate) fn kill(self) {
        for task in &self.work {
            task.abort();
        }
        self.dead.cancel();
    }
}
