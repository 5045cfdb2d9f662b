//! Partitions of the days to come, made before they are needed: at the start, and every hour from then on.
//!
//! A commit makes what it misses, so that nothing depends on this; but no reading of the first second of a day waits for
//! its table, with all the fleet behind it.

use std::time::Duration;

use tocsin_domain::Clock;
use tocsin_store::Store;
use tokio_util::sync::CancellationToken;

/// How often to look ahead: a day ahead, so that several misses do no harm.
const INTERVAL: Duration = Duration::from_hours(1);

/// How soon to look again after a failure.
const AFTER_FAILURE: Duration = Duration::from_mins(1);

/// Makes them. Replicas need no agreement: what is there is left as it is.
#[derive(Debug)]
pub(crate) struct PartitionKeeper {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
}

impl PartitionKeeper {
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let work = async {
            loop {
                let pause = match self.store.partitions_ahead(self.clock.now()).await {
                    Ok(()) => INTERVAL,
                    Err(error) => {
                        tracing::warn!(%error, "the partitions of today and tomorrow can't be made yet");
                        AFTER_FAILURE
                    }
                };
                tokio::time::sleep(pause).await;
            }
        };
        shutdown.run_until_cancelled(work).await;
    }
}
