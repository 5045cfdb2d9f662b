//! A machine's scores in order of capture, hot and archived alike, as a what-if replays them.

use std::collections::BTreeSet;

use tocsin_corpus::archive::Columns;
use tocsin_domain::{ReadingFlags, ReadingKey, Scope, SensorId, Timestamp};
use tocsin_store::partition::Day;
use tocsin_store::reading::{LoggedScores, ReplayQuery, StoredReading};

use super::Reader;
use crate::Error;

impl Reader {
    /// As [`tocsin_store::Store::scores_in_order`], with what is archived of the period too. An archived day is a page of its
    /// own, whatever the limit: a machine's day of scores fits in memory.
    ///
    /// # Errors
    /// If the database or the object storage fails.
    pub async fn scores_in_order(&self, scope: &Scope, query: &ReplayQuery) -> Result<LoggedScores, Error> {
        loop {
            let days = self.archived_days(scope, query).await?;
            let at = position(query);
            let page = if days.contains(&Day::of(at)) {
                self.archived_day(scope, query, Day::of(at)).await?
            } else {
                let next = days.iter().find(|day| day.start() > at);
                self.hot_until(scope, query, next.map(|day| day.start())).await?
            };
            // A day that was archived in between is looked for in the wrong place.
            if self.archived_days(scope, query).await? == days {
                return Ok(page);
            }
        }
    }

    /// The days of what is left of the period that have an archived part, in any site of the scope.
    async fn archived_days(&self, scope: &Scope, query: &ReplayQuery) -> Result<BTreeSet<Day>, Error> {
        let files = self
            .store
            .archive_files_between(scope, None, (position(query), query.to))
            .await?;
        Ok(files.into_iter().map(|(day, _)| day).collect())
    }

    /// Hot scores up to the next archived day.
    async fn hot_until(
        &self,
        scope: &Scope,
        query: &ReplayQuery,
        until: Option<Timestamp>,
    ) -> Result<LoggedScores, Error> {
        let to = until.unwrap_or(query.to).min(query.to);
        let mut page = self.store.scores_in_order(scope, &ReplayQuery { to, ..*query }).await?;
        if page.next.is_none() && to < query.to {
            page.next = Some(just_before(to));
        }
        Ok(page)
    }

    /// All of one archived day, with what came late and is hot.
    async fn archived_day(&self, scope: &Scope, query: &ReplayQuery, day: Day) -> Result<LoggedScores, Error> {
        let sensors = self.store.sensors_by_machine(scope, query.machine).await?;
        let sensors: Vec<SensorId> = sensors.into_iter().map(|listing| listing.sensor.id).collect();
        let active = if query.active_baselines_only {
            Some(self.store.baselines_of_epochs(query.machine).await?)
        } else {
            None
        };
        let to = day.next().start().min(query.to);
        let mut readings: Vec<StoredReading> = Vec::new();
        let mut hot = ReplayQuery { to, ..*query };
        loop {
            let page = self.store.scores_in_order(scope, &hot).await?;
            readings.extend(page.readings);
            hot.after = page.next;
            if hot.after.is_none() {
                break;
            }
        }
        let from = query.from.max(day.start());
        let mut cold = self.readings(scope, sensors, (from, to), Columns::Decisions).await?;
        while let Some(archived) = cold.next().await? {
            let stored = archived.into_iter().map(|reading| reading.stored);
            readings.extend(stored.filter(|reading| {
                reading.bundle == Some(query.bundle)
                    && query.after.is_none_or(|after| place(reading.key) > place(after))
                    && (query.historical || !reading.flags.contains(ReadingFlags::HISTORICAL))
                    && active.as_ref().is_none_or(|active| {
                        !reading.flags.contains(ReadingFlags::DEGRADED)
                            && reading.baseline.is_some_and(|baseline| active.contains(&baseline))
                    })
            }));
        }
        readings.sort_by_key(|reading| place(reading.key));
        readings.dedup_by_key(|reading| reading.key);
        let next = (to < query.to).then(|| just_before(to));
        Ok(LoggedScores { readings, next })
    }
}

/// Where the next page begins, at the earliest.
fn position(query: &ReplayQuery) -> Timestamp {
    match query.after {
        Some(after) if after == just_before(Day::of(after.captured_at).next().start()) => {
            Day::of(after.captured_at).next().start()
        }
        Some(after) => after.captured_at.max(query.from),
        None => query.from,
    }
}

fn place(key: ReadingKey) -> (Timestamp, SensorId) {
    (key.captured_at, key.sensor)
}

/// The last key that a reading before `to` can have.
fn just_before(to: Timestamp) -> ReadingKey {
    ReadingKey {
        sensor: SensorId(i32::MAX),
        captured_at: Timestamp::from_micros(to.as_micros() - 1),
    }
}
