//! Makes each new page's deliveries.

use std::collections::BTreeMap;
use std::sync::Arc;

use tocsin_domain::{Clock, Timestamp};
use tocsin_store::{Error, Store};

use crate::Config;
use crate::routing::route;

/// What fans out, round after round.
pub(crate) struct FanOut {
    config: Arc<Config>,
    store: Store,
    clock: Clock,
    /// Pages that were looked at, and when: routes give the same answer each time.
    settled: BTreeMap<i64, Timestamp>,
}

impl FanOut {
    pub(crate) fn new(config: Arc<Config>, store: Store, clock: Clock) -> Self {
        Self {
            config,
            store,
            clock,
            settled: BTreeMap::new(),
        }
    }

    /// Tells those whom pages escalate to of what nobody acknowledged in time; answers how many deliveries are new.
    async fn escalate(&self, now: Timestamp) -> Result<u64, Error> {
        let names = &self.config.escalate_to;
        if names.is_empty() {
            return Ok(0);
        }
        let decided_by = now - self.config.escalate_after();
        let new = self.store.deliveries_escalate(names, decided_by, now).await?;
        if new > 0 {
            tracing::warn!(deliveries = new, "nobody acknowledged in time: pages escalate");
        }
        Ok(new)
    }

    /// Makes the deliveries of canaries' marks that are young enough to show something; answers how many are new.
    async fn canaries(&self, now: Timestamp) -> Result<u64, Error> {
        let watchdog = &self.config.watchdog;
        if !watchdog.is_on() {
            return Ok(0);
        }
        self.store.canaries_fan_out(now - watchdog.period(), now).await
    }

    /// Makes the deliveries that are owed; answers how many are new.
    pub(crate) async fn round(&mut self) -> Result<u64, Error> {
        let names = self.config.names();
        let now = self.clock.now();
        let pages = if names.is_empty() {
            0
        } else {
            self.pages(&names, now).await?
        };
        // After the pages: a canary comes through only where they do.
        Ok(pages + self.canaries(now).await?)
    }

    async fn pages(&mut self, names: &[String], now: Timestamp) -> Result<u64, Error> {
        let escalated = self.escalate(now).await?;
        let since = now - self.config.catch_up();
        // A page of an open incident is owed however old it is: it is looked at anew once in that time, and no more.
        self.settled.retain(|_, looked_at| *looked_at >= since);
        let settled: Vec<i64> = self.settled.keys().copied().collect();
        let pages = self.store.pages_owed(names, since, &settled).await?;
        let routed = route(&self.config, &pages);
        let new = if routed.owed.is_empty() {
            0
        } else {
            self.store.deliveries_insert(&routed.owed, now).await?
        };
        for page in routed.untaken {
            tracing::warn!(page, "no destination takes this page by its routes: nobody is told");
        }
        self.settled.extend(pages.into_iter().map(|owed| (owed.page.id, now)));
        Ok(new + escalated)
    }
}
