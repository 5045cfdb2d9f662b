//! Some sensors' readings with all that is kept of them, hot and archived alike, in portions.

use std::collections::VecDeque;
use std::time::Duration;

use tocsin_corpus::archive::Columns;
use tocsin_domain::{Scope, SensorId, Timestamp};
use tocsin_store::partition::Day;
use tocsin_store::reading::{FullReading, FullReadingsQuery};

use super::{Cold, Reader};
use crate::Error;

/// Hot readings read at once: a spectrum has up to 4096 bytes.
const PAGE: u32 = 1_024;

/// What is read next.
#[derive(Debug)]
pub enum Portion {
    /// Readings of the day at hand: hot ones sensor by sensor, then archived ones file by file, and each sensor's in order of
    /// capture. One that is archived meanwhile comes twice.
    Readings(Vec<FullReading>),
    /// There are no more of the day.
    EndOfDay,
}

/// The readings of some sensors, day after day.
pub struct FullReadings {
    reader: Reader,
    scope: Scope,
    sensors: Vec<SensorId>,
    period: (Timestamp, Timestamp),
    days: VecDeque<Day>,
    at: Option<AtDay>,
}

/// A day that is being read.
struct AtDay {
    period: (Timestamp, Timestamp),
    /// Sensors whose hot readings have not all been read.
    hot: VecDeque<SensorId>,
    /// Where the next page of the first of them begins.
    from: Timestamp,
    cold: Option<Cold>,
}

impl Reader {
    /// The readings of some sensors, captured from the first up to but without the second.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn full_readings(
        &self,
        scope: &Scope,
        sensors: Vec<SensorId>,
        period: (Timestamp, Timestamp),
    ) -> Result<FullReadings, Error> {
        Ok(FullReadings {
            reader: self.clone(),
            scope: scope.clone(),
            days: self.days(scope, &sensors, period).await?,
            sensors,
            period,
            at: None,
        })
    }
}

impl FullReadings {
    /// The next portion; none at the end, after the last day's.
    ///
    /// # Errors
    /// If the database or the object storage fails.
    pub async fn next(&mut self) -> Result<Option<Portion>, Error> {
        loop {
            let Some(day) = self.at.as_mut() else {
                let Some(day) = self.days.pop_front() else {
                    return Ok(None);
                };
                self.at = Some(AtDay::new(day, self.period, &self.sensors));
                continue;
            };
            // First what is hot: a day that is archived meanwhile is seen twice, and not never.
            if let Some(sensor) = day.hot.front().copied() {
                let query = FullReadingsQuery {
                    sensor,
                    from: day.from,
                    to: day.period.1,
                    limit: PAGE,
                };
                let readings = self.reader.store.readings_full(&self.scope, &query).await?;
                day.read(&readings);
                if readings.is_empty() {
                    continue;
                }
                return Ok(Some(Portion::Readings(readings)));
            }
            let cold = if let Some(cold) = &mut day.cold {
                cold
            } else {
                let sensors = self.sensors.clone();
                let cold = self.reader.readings(&self.scope, sensors, day.period, Columns::All);
                day.cold.insert(cold.await?)
            };
            match cold.next().await? {
                Some(readings) if readings.is_empty() => {}
                Some(readings) => return Ok(Some(Portion::Readings(readings))),
                None => {
                    self.at = None;
                    return Ok(Some(Portion::EndOfDay));
                }
            }
        }
    }
}

impl AtDay {
    fn new(day: Day, (from, to): (Timestamp, Timestamp), sensors: &[SensorId]) -> Self {
        let period = (from.max(day.start()), to.min(day.next().start()));
        Self {
            period,
            hot: sensors.iter().copied().collect(),
            from: period.0,
            cold: None,
        }
    }

    /// Goes on after a page of the sensor that is first.
    fn read(&mut self, page: &[FullReading]) {
        if let Some(last) = page.last().filter(|_| page.len() == PAGE as usize) {
            self.from = last.stored.key.captured_at + Duration::from_micros(1);
        } else {
            self.hot.pop_front();
            self.from = self.period.0;
        }
    }
}
