//! One destination's worker: leases what is due, sends it, records the answer.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use tocsin_domain::Timestamp;
use tocsin_store::outbox::{AfterAttempt, AttemptOutcome, FinishedAttempt, LeasedDelivery};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::attempt::{Attempt, Next, Outcome};
use crate::circuit::{Change, Circuit};
use crate::destination::Alertmanager;
use crate::metrics::Metrics;
use crate::target::{Sender, Target};

/// What the history says of an attempt that would have been the last, had the incident been over.
const TRIED_ON: &str = " (tried on: the incident is open)";

/// Pause between tries to record an answer.
const RECORD_PAUSE: Duration = Duration::from_millis(200);

pub(crate) struct Worker {
    pub(crate) config: Arc<Config>,
    pub(crate) sender: Sender,
    pub(crate) target: Arc<Target>,
    /// Told when there may be something new.
    pub(crate) wake: Arc<Notify>,
    pub(crate) rng: StdRng,
    pub(crate) circuit: Circuit,
    pub(crate) metrics: Metrics,
}

/// A page that was sent, with what came of it.
struct Sent {
    leased: LeasedDelivery,
    leased_until: Timestamp,
    attempt: Attempt,
}

impl Worker {
    /// Works until `shutdown`; then finishes and records what is on its way.
    #[tracing::instrument(name = "deliver", skip_all, fields(destination = self.target.name))]
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        self.metrics.circuit(&self.target.name, &self.circuit);
        let target = self.target.clone();
        match target.levels() {
            None => self.run_edges(&shutdown).await,
            Some(alertmanager) => self.run_levels(alertmanager, &shutdown).await,
        }
    }

    /// For receivers that take each page by itself: attempts overlap, up to the configured number.
    async fn run_edges(&mut self, shutdown: &CancellationToken) {
        let mut under_way = JoinSet::new();
        let mut wake_at = Instant::now();
        loop {
            if wake_at <= Instant::now() {
                wake_at = Instant::now() + self.config.poll();
                self.start(&mut under_way).await;
            }
            tokio::select! {
                // What is done makes room before more is begun: the same every time.
                biased;
                () = shutdown.cancelled() => break,
                Some(sent) = under_way.join_next(), if !under_way.is_empty() => {
                    // A page that is done makes room, and may have held up the next of its incident.
                    let retry_in = self.finish(sent).await.unwrap_or_default();
                    let wait = self.circuit.wait(self.sender.clock.now()).unwrap_or_default();
                    wake_at = wake_at.min(Instant::now() + retry_in.max(wait));
                }
                () = self.wake.notified() => wake_at = Instant::now(),
                () = sleep_until(wake_at) => {}
            }
        }
        while let Some(sent) = under_way.join_next().await {
            self.finish(sent).await;
        }
    }

    /// For receivers that are told what is open, again and again. A page that ends an alert must not be overtaken by
    /// one that says it still holds, from here or from another pager: so these take turns, under a lock.
    async fn run_levels(&mut self, alertmanager: &Alertmanager, shutdown: &CancellationToken) {
        let mut resend_at = Instant::now();
        let mut wake_at = Instant::now();
        loop {
            if wake_at <= Instant::now() {
                wake_at = Instant::now() + self.config.poll();
                match self.sender.store.destination_try_lock(&self.target.name).await {
                    Ok(Some(lock)) => {
                        if let Some(retry_in) = self.drain(shutdown).await {
                            wake_at = wake_at.min(Instant::now() + retry_in);
                        }
                        if resend_at <= Instant::now() {
                            resend_at = Instant::now() + self.resend(alertmanager).await;
                        }
                        wake_at = wake_at.min(resend_at);
                        if let Err(error) = lock.rollback().await {
                            tracing::debug!(%error, "the lock of this destination went with its connection");
                        }
                    }
                    Ok(None) => tracing::debug!("another pager works for this destination"),
                    Err(error) => tracing::warn!(%error, "can't take the lock of this destination"),
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.wake.notified() => wake_at = Instant::now(),
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// Delivers everything that is due; answers when the soonest retry is.
    async fn drain(&mut self, shutdown: &CancellationToken) -> Option<Duration> {
        let mut soonest: Option<Duration> = None;
        while !shutdown.is_cancelled() {
            let mut under_way = JoinSet::new();
            if self.start(&mut under_way).await == 0 {
                break;
            }
            while let Some(sent) = under_way.join_next().await {
                soonest = soonest.into_iter().chain(self.finish(sent).await).min();
            }
        }
        soonest
    }

    /// Leases as many pages as there is room for and starts to send them; answers how many.
    async fn start(&self, under_way: &mut JoinSet<Sent>) -> usize {
        let now = self.sender.clock.now();
        let room = self.config.concurrency.saturating_sub(under_way.len());
        let room = self.circuit.room(room, under_way.len(), now);
        if room == 0 {
            return 0;
        }
        let leased = self
            .sender
            .store
            .deliveries_lease(&self.target.name, now, self.config.lease(), room as u32)
            .await;
        let leased = leased.unwrap_or_else(|error| {
            tracing::warn!(%error, "can't lease pages");
            Vec::new()
        });
        let count = leased.len();
        for leased in leased {
            let (target, sender) = (self.target.clone(), self.sender.clone());
            let leased_until = now + self.config.lease();
            under_way.spawn(async move {
                let attempt = target.deliver(&sender, &leased).await;
                Sent {
                    leased,
                    leased_until,
                    attempt,
                }
            });
        }
        count
    }

    /// Records what came of an attempt; answers when it is to be repeated.
    async fn finish(&mut self, sent: Result<Sent, tokio::task::JoinError>) -> Option<Duration> {
        let Sent {
            leased,
            leased_until,
            attempt,
        } = match sent {
            Ok(sent) => sent,
            Err(error) => {
                tracing::error!(%error, "an attempt broke; its outcome stays unknown until its lease ends");
                return None;
            }
        };
        let number = u32::try_from(leased.attempt_since_resend).unwrap_or(u32::MAX);
        // Where some of its receivers have it, somebody was told: it is never dead, and not tried on for good.
        let is_told = !leased.remaining.is_empty();
        let next = match attempt.next(number, leased.must_arrive && !is_told, &self.config, &mut self.rng) {
            Next::Dead if is_told => {
                let (page, missing) = (&leased.page.page_key, leased.remaining.join(", "));
                tracing::error!(
                    page,
                    missing,
                    "given up on receivers that were put off: the others have the page"
                );
                Next::Delivered
            }
            next => next,
        };
        let now = self.sender.clock.now();
        let outcome = match attempt.outcome {
            Outcome::Delivered | Outcome::Partial { .. } => AttemptOutcome::Delivered,
            Outcome::Refused { .. } => AttemptOutcome::Refused,
            Outcome::Unknown => AttemptOutcome::Unknown,
        };
        self.note(&attempt.outcome, now);
        self.metrics.attempt(&self.target.name, outcome.as_str());
        let (page, attempt_number) = (&leased.page, leased.attempt);
        let mut answer = attempt.answer;
        let remaining = match attempt.outcome {
            Outcome::Partial { remaining } => remaining,
            _ => Vec::new(),
        };
        let (after, retry_in) = match next {
            Next::Delivered => {
                tracing::info!(
                    page = page.page_key,
                    action = page.action.as_str(),
                    attempt_number,
                    "page delivered"
                );
                (AfterAttempt::Done, None)
            }
            Next::RetryAfter(pause) => {
                let retry_in_ms = pause.as_millis() as u64;
                tracing::warn!(
                    page = page.page_key,
                    answer,
                    attempt_number,
                    retry_in_ms,
                    "page not delivered yet"
                );
                (AfterAttempt::RetryAt(now + pause), Some(pause))
            }
            Next::PersistAfter(pause) => {
                let retry_in_ms = pause.as_millis() as u64;
                tracing::error!(
                    page = page.page_key,
                    answer,
                    attempt_number,
                    retry_in_ms,
                    "nobody was told of an open incident yet: its page is tried on"
                );
                answer.push_str(TRIED_ON);
                (AfterAttempt::RetryAt(now + pause), Some(pause))
            }
            Next::Dead => {
                tracing::error!(
                    page = page.page_key,
                    answer,
                    attempt_number,
                    "page given up: nobody was told"
                );
                (AfterAttempt::GiveUp, None)
            }
        };
        let finished = FinishedAttempt {
            delivery: leased.id,
            attempt: leased.attempt,
            at: now,
            outcome,
            answer,
            after,
            remaining,
        };
        self.record(&finished, leased_until).await;
        retry_in
    }

    /// Takes note of how the destination answered, and says so when that changes what it is sent.
    fn note(&mut self, outcome: &Outcome, now: Timestamp) {
        match self.circuit.note(outcome, now, &self.config, &mut self.rng) {
            Change::None => {}
            Change::Opened(pause) => {
                let pause_ms = pause.as_millis() as u64;
                tracing::error!(
                    pause_ms,
                    "the destination does not answer: its pages wait, then one probes"
                );
            }
            Change::Closed => tracing::info!("the destination answers again"),
        }
        self.metrics.circuit(&self.target.name, &self.circuit);
    }

    /// Writes the outcome down, trying until the lease ends. After that the attempt stays unknown and is repeated.
    async fn record(&self, finished: &FinishedAttempt, leased_until: Timestamp) {
        while let Err(error) = self.sender.store.delivery_record(finished).await {
            if self.sender.clock.now() >= leased_until {
                tracing::error!(%error, "an outcome could not be recorded: the page will be sent again");
                return;
            }
            tracing::warn!(%error, "an outcome can't be recorded yet");
            sleep(RECORD_PAUSE).await;
        }
    }

    /// Posts open incidents again; answers after how long to do so again. Sooner after a failure: an Alertmanager that is
    /// back must hear of them before it takes them for over, so these posts don't wait for the circuit.
    async fn resend(&mut self, alertmanager: &Alertmanager) -> Duration {
        let interval = alertmanager.resend_interval();
        match alertmanager.resend(&self.sender).await {
            Ok((0, _)) => return interval,
            Ok((alerts, Attempt { outcome, answer })) => {
                self.note(&outcome, self.sender.clock.now());
                if outcome == Outcome::Delivered {
                    tracing::debug!(alerts, "open incidents posted again");
                    return interval;
                }
                tracing::warn!(alerts, answer, "open incidents could not be posted again");
            }
            Err(error) => tracing::warn!(%error, "open incidents could not be posted again"),
        }
        interval / 4
    }
}
