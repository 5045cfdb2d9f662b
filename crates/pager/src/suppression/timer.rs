//! What comes from time alone: a suppression ends when its time is over, whoever forgot it.

use std::time::Duration;

use tocsin_domain::{Clock, MachineId};
use tocsin_store::Store;
use tocsin_store::suppression::machine_service;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{BY_TIME, end, lock};
use crate::Error;

/// Ended at once in a round; the rest follows in the next.
const AT_ONCE: u32 = 100;

/// Ends suppressions, round after round. Any number of pagers may: each takes a machine's lock and looks again.
#[derive(Debug)]
pub(crate) struct Timer {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) pause: Duration,
}

impl Timer {
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "can't look for suppressions whose time is over");
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = sleep(self.pause) => {}
            }
        }
    }

    async fn round(&self) -> Result<(), Error> {
        for machine in self.store.suppressions_due(self.clock.now(), AT_ONCE).await? {
            if let Err(error) = self.end_due(machine).await {
                tracing::error!(%machine, %error, "a suppression whose time is over could not be ended yet");
            }
        }
        Ok(())
    }

    async fn end_due(&self, machine: MachineId) -> Result<(), Error> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let state = lock(&mut tx, machine).await?;
        let service = machine_service(&mut tx, machine).await?;
        let Some(over) = service.overdue(now) else {
            return Ok(());
        };
        let restored = end(tx, state, over, BY_TIME, now).await?;
        let (suppression, kind) = (over.id, over.order.kind.as_str());
        tracing::info!(%suppression, kind, released = restored.released, "a suppression is over");
        Ok(())
    }
}
