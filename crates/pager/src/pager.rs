//! How the parts are put together, and what runs beside the service.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tocsin_contracts::incidents::v1::incidents_service_server::IncidentsServiceServer;
use tocsin_contracts::incidents::v1::sensor_alarms_service_server::SensorAlarmsServiceServer;
use tocsin_domain::{Clock, Scope, SiteId};
use tocsin_store::{Channel, Store};
use tocsin_transport::watch::Watch;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::circuit::Circuit;
use crate::fan_out::FanOut;
use crate::metrics::Metrics;
use crate::suppression::Timer;
use crate::target::{Sender, Target};
use crate::watchdog::Watchdog;
use crate::worker::Worker;
use crate::{BuildError, Config, SensorAlarms, Service, link, silence};

/// Pause before listening again to a database that was lost.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);

/// What the pager works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Postgres.
    pub store: Store,
    /// Now.
    pub clock: Clock,
    /// Seed of the jitter between attempts.
    pub seed: u64,
}

/// The running side of the role: delivers pages and hears of changes.
pub struct Pager {
    config: Arc<Config>,
    sender: Sender,
    targets: Vec<Arc<Target>>,
    watch: Watch<SiteId>,
    watchdog: Option<Watchdog>,
    seed: u64,
}

impl fmt::Debug for Pager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pager")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The service to register, and the role to run beside it. A process-wide rustls crypto provider must be installed.
///
/// # Errors
/// If a setting is no good, or a token file can't be read.
pub fn build(config: Config, parts: Parts) -> Result<(IncidentsServiceServer<Service>, Pager), BuildError> {
    let config = Arc::new(config.parse()?);
    config.acknowledge_secret_file.as_deref().map(link::read).transpose()?;
    let sender = Sender::new(&config, parts.store.clone(), parts.clock.clone())?;
    let targets = config
        .destinations
        .iter()
        .map(|d| Target::new(d).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()?;
    let watchdog = Watchdog::new(&config, &sender, &targets)?;
    let watch = Watch::default();
    let service = Service::new(sender.clone(), config.clone(), watch.clone());
    Ok((
        IncidentsServiceServer::new(service),
        Pager {
            config,
            sender,
            targets,
            watch,
            watchdog,
            seed: parts.seed,
        },
    ))
}

impl Pager {
    /// The service that shows alarms about instruments, to register beside the other.
    pub fn sensor_alarms(&self) -> SensorAlarmsServiceServer<SensorAlarms> {
        SensorAlarmsServiceServer::new(SensorAlarms {
            store: self.sender.store.clone(),
            clock: self.sender.clock.clone(),
        })
    }

    /// Runs until `shutdown`; returns when the pages on their way have been answered and recorded.
    ///
    /// # Panics
    /// When one of its background tasks does.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut seeds = StdRng::seed_from_u64(self.seed);
        let mut tasks = JoinSet::new();
        let mut wakes = Vec::new();
        for target in &self.targets {
            let wake = Arc::new(Notify::new());
            wakes.push(wake.clone());
            let worker = Worker {
                config: self.config.clone(),
                sender: self.sender.clone(),
                target: target.clone(),
                wake,
                rng: StdRng::from_rng(&mut seeds),
                circuit: Circuit::default(),
                metrics: Metrics::new(),
            };
            tasks.spawn(worker.run(shutdown.clone()));
        }
        if let Some(watchdog) = self.watchdog.take() {
            wakes.push(watchdog.wake.clone());
            tasks.spawn(watchdog.run(shutdown.clone()));
        }
        let silence = silence::Watch {
            store: self.sender.store.clone(),
            clock: self.sender.clock.clone(),
            interval: self.config.silence_interval(),
            metrics: Metrics::new(),
        };
        tasks.spawn(silence.run(shutdown.clone()));
        let store = self.sender.store.clone();
        let watch = self.watch.clone();
        tasks.spawn(listen(
            store.clone(),
            Channel::Incident,
            shutdown.clone(),
            move |at| match at {
                Scope::All => watch.changed_anywhere(),
                Scope::Sites(sites) => watch.changed(sites),
            },
        ));
        let timer = Timer {
            store: store.clone(),
            clock: self.sender.clock.clone(),
            pause: self.config.poll(),
        };
        tasks.spawn(timer.run(shutdown.clone()));
        let new_page = Arc::new(Notify::new());
        let heard = new_page.clone();
        tasks.spawn(listen(store, Channel::Outbox, shutdown.clone(), move |_| {
            heard.notify_one();
        }));
        beside(self.fan_out(&wakes, &new_page, &shutdown), tasks).await;
    }

    /// Makes each new page's deliveries and wakes the workers: when told of a page, and every now and then.
    async fn fan_out(&self, wakes: &[Arc<Notify>], new_page: &Notify, shutdown: &CancellationToken) {
        let (store, clock) = (self.sender.store.clone(), self.sender.clock.clone());
        let mut fan_out = FanOut::new(self.config.clone(), store, clock);
        while !shutdown.is_cancelled() {
            match fan_out.round().await {
                Ok(0) => {}
                Ok(_) => wakes.iter().for_each(|wake| wake.notify_one()),
                Err(error) => tracing::warn!(%error, "can't look for new pages"),
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = new_page.notified() => {}
                () = sleep(self.config.poll()) => {}
            }
        }
    }
}

/// Runs the role's work beside its background tasks to the end of both. One that panics takes the role with it, at
/// once: without a worker, a pager looks alive and pages nobody.
async fn beside(work: impl Future<Output = ()>, background: JoinSet<()>) {
    tokio::join!(work, background.join_all());
}

/// Calls `tell` whenever something on `channel` may have changed, and after each time it could not be heard.
async fn listen(store: Store, channel: Channel, shutdown: CancellationToken, tell: impl Fn(Scope)) {
    let hear = async {
        loop {
            match store.changes(channel).await {
                Ok(mut changes) => {
                    tell(Scope::All);
                    let error = loop {
                        match changes.changed().await {
                            Ok(at) => tell(at),
                            Err(error) => break error,
                        }
                    };
                    tracing::warn!(%error, channel = channel.as_str(), "changes can't be heard");
                }
                Err(error) => tracing::warn!(%error, channel = channel.as_str(), "can't listen for changes"),
            }
            sleep(LISTEN_PAUSE).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = hear => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_background_task_that_panics_takes_the_role_with_it() {
        let mut background = JoinSet::new();
        background.spawn(std::future::pending());
        background.spawn(async { panic!("a bug in a worker") });
        let role = tokio::spawn(beside(std::future::pending(), background));
        let panic = role.await.expect_err("the role ended").into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"a bug in a worker"));
    }

    #[tokio::test]
    async fn the_role_ends_when_its_work_and_all_beside_it_have() {
        let mut background = JoinSet::new();
        background.spawn(async {});
        beside(async {}, background).await;
    }
}
