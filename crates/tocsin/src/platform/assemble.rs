//! Putting the roles together: what each needs, and who calls whom.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use axum::routing::get;
use tocsin_console::Services;
use tocsin_contracts::{FILE_DESCRIPTOR_SET, PUBLIC_METHODS};
use tocsin_domain::{Clock, PersonRole, Principal};
use tocsin_models::BundleStore;
use tocsin_store::Store;
use tocsin_transport::auth::Auth;
use tocsin_transport::{Channel, Replicas, Server};
use tokio_util::sync::CancellationToken;

use super::{Running, verify};
use crate::credential::ServiceCredential;
use crate::supervisor::Supervisor;
use crate::telemetry::{self, Scrape, inject, take_parent};
use crate::{Config, Role};

/// The one route without a credential.
const HEALTHZ: &str = "/healthz";

/// All that the roles are made of.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) config: Config,
    pub(super) roles: Vec<Role>,
    pub(super) credential: ServiceCredential,
    pub(super) clock: Clock,
    pub(super) store: Option<Store>,
    pub(super) bundles: Option<BundleStore>,
    pub(super) metrics: prometheus::Registry,
}

impl Assembly {
    /// Binds the addresses, then starts everything.
    pub(super) async fn start(self) -> Result<Running> {
        let verifier = verify::verifier(self.credential.clone(), self.store.clone(), self.clock.clone());
        let auth = Auth::new(verifier).public(PUBLIC_METHODS.iter().copied().chain([HEALTHZ]));
        let mut server = Server::new(self.config.server.clone(), auth)
            .reflection(FILE_DESCRIPTOR_SET)
            .on_request(take_parent);
        let channel = server.channel();
        let stopping = server.draining();
        server = server.routes(healthz(stopping)).routes(metrics(self.metrics.clone()));

        let mut background = Supervisor::default();
        for role in self.roles.clone() {
            server = self
                .add(role, server, &channel, &mut background)
                .with_context(|| format!("the role {role} doesn't start"))?;
        }

        let server = server.bind().await.context("[server]")?;
        let grpc_addr = server.local_addr();
        let mut facing = Supervisor::default();
        let console_addr = if self.roles.contains(&Role::Console) {
            let services = self.console_services(&channel)?;
            let config = self.console_config(grpc_addr);
            let console = tocsin_console::bind(&config, services, self.clock.clone()).await;
            let console = console.context("[console]")?;
            let address = console.local_addr();
            facing.spawn("the console", |stop| async move {
                console.run(stop).await;
                Ok(())
            });
            Some(address)
        } else {
            None
        };
        let metrics_addr = match self.config.telemetry.metrics_listen {
            Some(address) => {
                let scrape = Scrape::bind(address).await?;
                let address = scrape.address();
                let metrics = self.metrics.clone();
                background.spawn("the metrics listener", |stop| scrape.run(metrics, stop));
                Some(address)
            }
            None => None,
        };
        facing.spawn("the server", |stop| async move {
            server.run(stop).await;
            Ok(())
        });
        let names: Vec<&str> = self.roles.iter().map(|role| role.as_str()).collect();
        tracing::info!(roles = names.join(","), grpc = %grpc_addr, "running");

        let drain_ms = self.config.server.drain_ms.max(self.config.console.drain_ms);
        Ok(Running {
            grpc_addr,
            console_addr,
            metrics_addr,
            channel,
            service_token: self.credential.token().clone(),
            drain: Duration::from_millis(drain_ms),
            facing,
            background,
            store: self.store,
        })
    }

    /// Adds a role's services to the server, and its background work to the supervisor.
    fn add(&self, role: Role, server: Server, local: &Channel, background: &mut Supervisor) -> Result<Server> {
        let config = &self.config;
        let limit = server.max_message_bytes();
        Ok(match role {
            Role::Ingest => {
                let ensemble = self.reach(role, Role::Ensemble, local)?;
                let ingest = tocsin_ingest::build(&config.ingest, self.store()?, ensemble, self.clock.clone());
                server.service(ingest.service(limit)).routes(ingest.routes())
            }
            Role::Scorer => {
                let registry = self.reach(role, Role::Registry, local)?;
                let scorer = tocsin_scorer::build(&config.scorer, self.bundles()?)?;
                let service = scorer.service(limit);
                background.spawn("the scorer", |stop| async move {
                    scorer.run(registry, stop).await;
                    Ok(())
                });
                server.service(service)
            }
            Role::Ensemble => {
                let parts = tocsin_ensemble::Parts {
                    store: self.store()?,
                    bundles: self.bundles()?,
                    scorers: self.reach(role, Role::Scorer, local)?,
                    registry: self.reach(role, Role::Registry, local)?.channel(),
                    clock: self.clock.clone(),
                };
                let (service, ensemble) = tocsin_ensemble::build(&config.ensemble, parts);
                background.spawn("the ensemble", |stop| async move {
                    ensemble.run(stop).await;
                    Ok(())
                });
                server.service(service)
            }
            Role::Recalibrator => {
                let parts = tocsin_recalibrator::Parts {
                    store: self.store()?,
                    bundles: self.bundles()?,
                    clock: self.clock.clone(),
                };
                let recalibrator_config = config.recalibrator.clone().parse()?;
                let training = tocsin_recalibrator::training(&recalibrator_config, parts.clone());
                let (service, recalibrator) = tocsin_recalibrator::build(recalibrator_config, parts);
                background.spawn("the recalibrator", |stop| async move {
                    recalibrator.run(stop).await;
                    Ok(())
                });
                server.service(service).service(training)
            }
            Role::Registry => {
                let registry = config.registry.clone();
                let registry = tocsin_registry::build(registry, self.store()?, self.bundles()?, self.clock.clone())?;
                background.spawn("the registry", |stop| async move {
                    registry.background.run(stop).await;
                    Ok(())
                });
                server
                    .service(registry.access)
                    .service(registry.fleet)
                    .service(registry.bundles)
            }
            Role::Pager => {
                let parts = tocsin_pager::Parts {
                    store: self.store()?,
                    clock: self.clock.clone(),
                    seed: random_seed()?,
                };
                let (service, pager) = tocsin_pager::build(config.pager.clone(), parts)?;
                let sensor_alarms = pager.sensor_alarms();
                background.spawn("the pager", |stop| async move {
                    pager.run(stop).await;
                    Ok(())
                });
                server.service(service).service(sensor_alarms)
            }
            Role::Review => {
                // Without scorers it shows everything but reconstructions.
                let scorers = self
                    .can_reach(Role::Scorer)
                    .then(|| self.reach(role, Role::Scorer, local))
                    .transpose()?;
                let parts = tocsin_review::Parts {
                    store: self.store()?,
                    scorers,
                    bundles: self.bundles()?,
                    clock: self.clock.clone(),
                };
                self.add_archive(background)?;
                let (service, review) = tocsin_review::build(config.review.clone(), parts)?;
                background.spawn("the review", |stop| async move {
                    review.run(stop).await;
                    Ok(())
                });
                server.service(service)
            }
            // It has a listener of its own, bound when all services are known.
            Role::Console => server,
            #[cfg(feature = "trainer")]
            Role::Trainer => {
                self.add_trainer(self.reach(role, Role::Registry, local)?.channel(), background)?;
                server
            }
        })
    }

    /// Trains in the background: nobody calls a trainer.
    #[cfg(feature = "trainer")]
    fn add_trainer(&self, registry: Channel, background: &mut Supervisor) -> Result<()> {
        let parts = tocsin_trainer::Parts {
            store: self.store()?,
            registry,
            clock: self.clock.clone(),
        };
        let trainer = tocsin_trainer::build(self.config.trainer.clone().parse()?, parts);
        background.spawn("the trainer", |stop| async move {
            trainer.run(stop).await;
            Ok(())
        });
        Ok(())
    }

    /// Archives old days in the background, where that is wanted.
    fn add_archive(&self, background: &mut Supervisor) -> Result<()> {
        let config = self.config.archive.clone().parse()?;
        let objects = self.bundles()?.objects().clone();
        let archiver = tocsin_archive::Archiver::new(config, self.store()?, objects, self.clock.clone(), "review");
        if let Some(archive) = tocsin_archive::Background::new(archiver) {
            background.spawn("the archive", |stop| async move {
                archive.run(stop).await;
                Ok(())
            });
        }
        Ok(())
    }

    fn can_reach(&self, role: Role) -> bool {
        self.roles.contains(&role) || self.config.peers.knows(role)
    }

    /// The channels by which `caller` reaches the processes of `role`: with the service credential and the trace on.
    fn reach(&self, caller: Role, role: Role, local: &Channel) -> Result<Replicas> {
        let replicas = if self.roles.contains(&role) {
            Replicas::new([local.clone()])?
        } else {
            self.config.peers.remote(caller, role)?
        };
        let token = self.credential.token();
        Ok(replicas.map(|channel| channel.with_token(token).on_request(inject)))
    }

    /// The console's settings, with where this process takes readings, if it does and they name no other place.
    fn console_config(&self, grpc_addr: SocketAddr) -> tocsin_console::Config {
        let mut config = self.config.console.clone();
        if config.ingest_url.is_none() && self.roles.contains(&Role::Ingest) {
            let scheme = if self.config.server.tls.is_some() {
                "https"
            } else {
                "http"
            };
            config.ingest_url = Some(format!("{scheme}://{grpc_addr}"));
        }
        config
    }

    /// The console's channels carry no credential: each call shows that of the person who looks.
    fn console_services(&self, local: &Channel) -> Result<Services> {
        let to = |role: Role| -> Result<Channel> {
            let channel = if self.roles.contains(&role) {
                local.clone()
            } else {
                self.config.peers.remote(Role::Console, role)?.channel()
            };
            Ok(channel.on_request(inject))
        };
        let registry = to(Role::Registry)?;
        Ok(Services {
            access: registry.clone(),
            fleet: registry.clone(),
            registry,
            incidents: to(Role::Pager)?,
            review: to(Role::Review)?,
            recalibrator: to(Role::Recalibrator)?,
        })
    }

    fn store(&self) -> Result<Store> {
        self.store.clone().context("it works on Postgres, and none was given")
    }

    fn bundles(&self) -> Result<BundleStore> {
        self.bundles
            .clone()
            .context("it works on object storage, and none was given")
    }
}

/// `/metrics` beside the other routes: for Tocsin's own roles and for people, not for gateways.
fn metrics(metrics: prometheus::Registry) -> Router {
    let people_only = async |request: Request, next: Next| {
        let principal = request.extensions().get::<Principal>();
        match principal.map(|principal| principal.require(PersonRole::Viewer, "read metrics")) {
            Some(Ok(())) => next.run(request).await,
            Some(Err(forbidden)) => (StatusCode::FORBIDDEN, format!("{forbidden}\n")).into_response(),
            None => StatusCode::UNAUTHORIZED.into_response(),
        }
    };
    telemetry::router(metrics).layer(from_fn(people_only))
}

/// Whether the process lives: for load balancers and container runtimes, without a credential.
fn healthz(stopping: CancellationToken) -> Router {
    let answer = move || {
        let stopping = stopping.is_cancelled();
        std::future::ready(if stopping {
            (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
        } else {
            (StatusCode::OK, "ok\n")
        })
    };
    Router::new().route(HEALTHZ, get(answer))
}

/// Replicas that failed together must not try again together.
fn random_seed() -> Result<u64> {
    getrandom::u64().context("drawing a seed")
}
