//! Watches for silence: round after round, one pager at a time, from what was written down of each sensor.
//!
//! **Invariant:** time in which nobody watched counts for no sensor: after a break the watch begins anew.

use std::time::Duration;

use tocsin_domain::{Clock, SensorAlarmChange, Timestamp};
use tocsin_judge::{WatchedSensor, silence};
use tocsin_store::Store;
use tocsin_store::sensor_alarm::SilenceRound;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// The longest time between two rounds that is no break: less than any sensor may say nothing.
const BREAK: Duration = Duration::from_secs(45);

/// What watches.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) interval: Duration,
    pub(crate) metrics: Metrics,
}

impl Watch {
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let work = async {
            loop {
                if let Err(error) = self.round().await {
                    tracing::warn!(%error, "can't watch for silent sensors");
                }
                sleep(self.interval).await;
            }
        };
        shutdown.run_until_cancelled(work).await;
    }

    async fn round(&self) -> tocsin_store::Result<()> {
        let Some(round) = self.store.silence_round().await? else {
            return Ok(());
        };
        self.metrics.sensor_alarms(&round.open);
        let now = self.clock.now();
        let listening_since = listening_since(&round, now);
        let sensors = round.sensors.iter().map(|placed| WatchedSensor {
            signal: placed.signal.clone(),
            machine: placed.machine,
            declared: placed.step,
        });
        let changes = silence::round(&sensors.collect::<Vec<_>>(), &round.open, listening_since, now);
        for change in &changes {
            say(change);
        }
        round.finish(&changes, listening_since, now).await
    }
}

fn listening_since(round: &SilenceRound, now: Timestamp) -> Timestamp {
    match (round.watched_at, round.listening_since) {
        (Some(watched_at), Some(since)) if now.since(watched_at) <= BREAK => since,
        _ => now,
    }
}

fn say(change: &SensorAlarmChange) {
    match change {
        SensorAlarmChange::Raise { subject, since } => {
            tracing::warn!(?subject, %since, "a sensor or gateway is silent or stuck");
        }
        SensorAlarmChange::RaiseAgain { id, since } => {
            tracing::warn!(alarm = id, %since, "a sensor or gateway is silent or stuck again");
        }
        SensorAlarmChange::Return { id } => tracing::info!(alarm = id, "a sensor or gateway is back"),
    }
}
