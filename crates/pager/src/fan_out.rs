//! Makes each new page's deliveries, one pager at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use tocsin_domain::{Clock, Level, Timestamp};
use tocsin_judge::flood::FloodRules;
use tocsin_store::outbox::{Deferral, OwedPage, deliveries_hasten, deliveries_insert};
use tocsin_store::{Error as StoreError, Store};

use crate::day_shift;
use crate::flood::Floods;
use crate::message::Page;
use crate::routing::route;
use crate::{Config, Error};

/// What fans out, round after round.
pub(crate) struct FanOut {
    config: Arc<Config>,
    store: Store,
    clock: Clock,
    /// Pages that were looked at, and when: routes give the same answer each time.
    settled: BTreeMap<i64, Timestamp>,
    /// Rounds in a row that another pager held the lock.
    denied: u64,
}

/// Rounds after which that is said: the other may be cut off.
const DENIED_OFTEN: u64 = 20;

impl FanOut {
    pub(crate) fn new(config: Arc<Config>, store: Store, clock: Clock) -> Self {
        Self {
            config,
            store,
            clock,
            settled: BTreeMap::new(),
            denied: 0,
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
        Ok(self.store.canaries_fan_out(now - watchdog.period(), now).await?)
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

    /// Those of pages; none when another pager is at it.
    async fn pages(&mut self, names: &[String], now: Timestamp) -> Result<u64, Error> {
        let Some(mut tx) = self.store.fan_out_try_lock().await? else {
            self.denied += 1;
            if self.denied.is_multiple_of(DENIED_OFTEN) {
                tracing::warn!(
                    rounds = self.denied,
                    "another pager has been finding out who is owed pages all the time"
                );
            }
            return Ok(0);
        };
        self.denied = 0;
        let escalated = self.escalate(now).await?;
        let since = now - self.config.catch_up();
        // A page of an open incident is owed however old it is: it is looked at anew once in that time, and no more.
        self.settled.retain(|_, looked_at| *looked_at >= since);
        let settled: Vec<i64> = self.settled.keys().copied().collect();
        let pages = self.store.pages_owed(names, since, &settled).await?;
        let routed = route(&self.config, &pages);
        let steps = if routed.owed.is_empty() {
            BTreeMap::new()
        } else {
            let classes = self.store.class_list().await?;
            classes.into_iter().map(|class| (class.name, class.step)).collect()
        };
        let floods = Floods {
            config: &self.config,
            rules: FloodRules::default(),
            steps: &steps,
            now,
        };
        // What is over first: a flood of before the pager was away takes nothing in.
        let ended = floods.end(&mut tx).await?;
        let sorted = floods.sort(&mut tx, &pages, routed.owed).await?;
        let deferred = self.deferred(&pages, now);
        let new = deliveries_insert(&mut tx, &sorted.send, &deferred, now).await?;
        let hastened = deliveries_hasten(&mut tx, now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        for page in routed.untaken {
            tracing::warn!(page, "no destination takes this page by its routes: nobody is told");
        }
        let looked_at = pages.iter().map(|owed| owed.page.id);
        let done = looked_at.filter(|number| !sorted.held.contains(number));
        self.settled.extend(done.map(|number| (number, now)));
        Ok(new + hastened + escalated + sorted.floods + ended)
    }

    /// Pages that wait for the day shift.
    fn deferred(&self, pages: &[OwedPage], now: Timestamp) -> BTreeMap<i64, Deferral> {
        let waits = |owed: &OwedPage| {
            let payload = Page::parse(&owed.page).ok()?.payload;
            let until = day_shift::waits_until(&self.config.day_shifts, &payload, now)?;
            let level = Level(payload.level);
            Some((owed.page.id, Deferral { until, level }))
        };
        if self.config.day_shifts.is_empty() {
            return BTreeMap::new();
        }
        pages.iter().filter_map(waits).collect()
    }
}
