//! The watch over Tocsin itself. A canary per site publishes a reading every minute, as a gateway does; where it was
//! judged and stored, a mark in the outbox comes here as a page comes to its destination; and only when those of all sites
//! have come does a heartbeat go out. Whoever takes the heartbeats is elsewhere, and raises the alarm when they stop.
//!
//! ```text
//! canary ──POST /v1/readings──> ingest ──> ensemble ──commit: reading, mark──> fan out ──> delivery ──> here ──> heartbeat
//! ```
//!
//! **Invariant:** no heartbeat without a mark of each site's canary received within the last period: it stops within two
//! periods of the moment in which ingest, ensembles, Postgres or the pagers do.

mod canary;
mod config;
mod rounds;

use std::sync::Arc;
use std::time::Duration;

use tocsin_domain::{Clock, Invalid, Slug, Timestamp};
use tocsin_store::outbox::canary::LeasedCanary;
use tocsin_store::outbox::{AfterAttempt, AttemptOutcome, FinishedAttempt};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub use config::{Canary, Config};

use crate::BuildError;
use crate::target::{Sender, Target};
use canary::Singer;
use rounds::Rounds;

/// How long marks are kept.
const KEEP: Duration = Duration::from_hours(1);

/// What watches.
#[derive(Debug)]
pub(crate) struct Watchdog {
    config: Config,
    sender: Sender,
    targets: Vec<Arc<Target>>,
    singers: Vec<Singer>,
    rounds: Rounds,
    lease: Duration,
    poll: Duration,
    /// Told when there may be a mark.
    pub(crate) wake: Arc<Notify>,
}

impl Watchdog {
    /// One for these settings, which were checked; none when nobody is to watch.
    pub(crate) fn new(
        config: &crate::Config,
        sender: &Sender,
        targets: &[Arc<Target>],
    ) -> Result<Option<Self>, BuildError> {
        let (watchdog, period) = (&config.watchdog, config.watchdog.period());
        if !watchdog.is_on() {
            return Ok(None);
        }
        let singers = watchdog.canaries.iter().map(|canary| Singer::new(canary, period));
        let sites = watchdog.canaries.iter().map(|canary| Slug::parse("site", &canary.site));
        Ok(Some(Self {
            config: watchdog.clone(),
            sender: sender.clone(),
            targets: targets.to_vec(),
            singers: singers.collect::<Result<_, _>>()?,
            rounds: Rounds::new(sites.collect::<Result<Vec<_>, Invalid>>()?, period),
            lease: config.lease(),
            poll: config.poll().min(period / 4),
            wake: Arc::default(),
        }))
    }

    /// Watches until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut singing = JoinSet::new();
        for singer in self.singers.drain(..) {
            singing.spawn(singer.run(self.sender.clock.clone(), shutdown.clone()));
        }
        while !shutdown.is_cancelled() {
            if let Err(error) = self.follow_up().await {
                tracing::warn!(%error, "can't look for canaries");
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.wake.notified() => {}
                () = sleep(self.poll) => {}
            }
        }
        singing.join_all().await;
    }

    /// Takes the marks that have come, and sends a heartbeat for each round that they complete.
    async fn follow_up(&mut self) -> tocsin_store::Result<()> {
        let clock: Clock = self.sender.clock.clone();
        for leased in self.sender.store.canaries_lease(clock.now(), self.lease).await? {
            let finished = self.take(leased, clock.now()).await;
            self.sender.store.delivery_record(&finished).await?;
        }
        Ok(())
    }

    async fn take(&mut self, leased: LeasedCanary, now: Timestamp) -> FinishedAttempt {
        let LeasedCanary {
            id,
            attempt,
            site,
            received_at,
        } = leased;
        let finished = |outcome, answer: &str, after| FinishedAttempt {
            remaining: Vec::new(),
            delivery: id,
            attempt,
            at: now,
            outcome,
            answer: answer.to_owned(),
            after,
        };
        if !self.rounds.is_fresh(received_at, now) {
            tracing::warn!(%site, %received_at, "a canary's reading was longer on its way than a period");
            return finished(
                AttemptOutcome::Refused,
                "longer on its way than a period",
                AfterAttempt::GiveUp,
            );
        }
        if !self.rounds.complete(site, received_at, now) {
            return finished(
                AttemptOutcome::Delivered,
                "waits for the other sites",
                AfterAttempt::Done,
            );
        }
        self.beat(now).await;
        finished(AttemptOutcome::Delivered, "a heartbeat went out", AfterAttempt::Done)
    }

    /// Tells everybody who listens that a round is complete. What one of them does not take comes again with the next.
    async fn beat(&self, now: Timestamp) {
        if let Some(url) = self.config.heartbeat_url.as_ref().and_then(|url| url.parse().ok()) {
            let answered = self.sender.client.get(url).send().await;
            match answered.and_then(reqwest::Response::error_for_status) {
                Ok(_) => tracing::debug!("a heartbeat went out"),
                Err(error) => tracing::warn!(error = %error.without_url(), "a heartbeat was not taken"),
            }
        }
        for alertmanager in self.targets.iter().filter_map(|target| target.levels()) {
            if let Err(error) = alertmanager.watchdog(&self.sender, self.config.period(), now).await {
                tracing::warn!(destination = alertmanager.name, error, "a heartbeat was not taken");
            }
        }
        if let Err(error) = self.sender.store.canaries_forget(now - KEEP).await {
            tracing::warn!(%error, "old marks of canaries can't be taken away");
        }
    }
}
