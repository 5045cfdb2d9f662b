//! All that is known of an incident, as one document.

use std::time::Duration;

use tocsin_contracts::incident_review::{Document, FORMAT, Facts, Sensor, Text, Window};
use tocsin_domain::{Scope, Timestamp};
use tocsin_store::incident::IncidentListing;

use super::Service;
use super::readings::{self, Readings};
use crate::Error;
use crate::period::Period;

/// Of each sensor at most one reading in each of so many intervals.
const INTERVALS: u32 = 600;

/// What is looked at before the opening: as long as the incident lasted, and so long at least and at most.
const BEFORE: (Duration, Duration) = (Duration::from_hours(2), Duration::from_hours(24 * 7));
/// And after its end: a quarter of that.
const AFTER: (Duration, Duration) = (Duration::from_mins(30), Duration::from_hours(24));
/// Steps of the class that are looked at before and after at least.
const STEPS: (u32, u32) = (200, 40);

impl Service {
    /// Gathers it as it is known now.
    pub(super) async fn gather(
        &self,
        scope: &Scope,
        listing: &IncidentListing,
        review: Text,
    ) -> Result<Document, Error> {
        let incident = &listing.incident;
        let step = self.store.class_by_id(listing.class).await?.step;
        let ended = if let Some(closed) = incident.closed_at() {
            closed
        } else {
            let newest = self.store.reading_newest_at(scope, incident.machine).await?;
            newest.unwrap_or(incident.opened_at)
        };
        let period = around(incident.opened_at, ended, step);
        let sensors = self.store.sensors_by_machine(scope, incident.machine).await?;
        let read = self
            .window_readings(scope, (incident.machine, &sensors), period, INTERVALS)
            .await?;
        let spectra = self.window_spectra(scope, listing, &read).await?;
        let gaps = readings::gaps(&read.times, step);
        let phase = |at| tocsin_contracts::incident_review::Phase::of(at, incident.opened_at, incident.closed_at());
        let of_sensor = |listing: &tocsin_store::fleet::SensorListing| Sensor {
            sensor: listing.name.to_string(),
            readings: read
                .of(listing.sensor.id)
                .iter()
                .map(|judged| readings::reading(judged, phase(judged.reading.key.captured_at)))
                .collect(),
        };
        let (journal, earlier_steps) = self.journal_of(scope, incident.id).await?;
        Ok(Document {
            format: FORMAT.to_owned(),
            review,
            incident: self.facts(scope, listing).await?,
            window: window(period, &read),
            sensors: sensors.iter().map(of_sensor).collect(),
            changes: self.changes_of(listing.class, period).await?,
            gaps: readings::named(gaps, &sensors),
            journal,
            earlier_steps,
            pages: self.pages_of(scope, incident).await?,
            suppressions: self.suppressions_of(scope, listing, period).await?,
            labels: self.labels_of(scope, incident).await?,
            work_order: self.work_order_of(scope, incident.id).await?,
            spectra,
            peers: self.peers_of(scope, incident.machine, period).await?,
        })
    }

    async fn facts(&self, scope: &Scope, listing: &IncidentListing) -> Result<Facts, Error> {
        let incident = &listing.incident;
        Ok(Facts {
            incident_id: incident.id.0,
            site: listing.site_name.to_string(),
            time_zone: self.store.site_by_id(scope, listing.site).await?.time_zone,
            machine: listing.machine_name.to_string(),
            class: listing.class_name.to_string(),
            severity: incident.severity.as_str().to_owned(),
            state: incident.state.as_str().to_owned(),
            opened_at: incident.opened_at,
            paged_at: incident.paged_at,
            closed_at: incident.closed_at(),
            acknowledged_by: incident.acknowledged_by().map(str::to_owned),
            acknowledged_at: incident.acknowledged_at,
            deciding_sensor: listing.deciding_sensor_name.to_string(),
            deciding_detector: incident.deciding_detector.as_str().to_owned(),
            peak_level: incident.peak_level.0,
            threshold_set_id: incident.threshold_set.map(|set| set.0),
            bundle_id: incident.bundle.map(|bundle| bundle.0),
            replay: incident.replay,
            previous_incident_id: incident.previous.map(|previous| previous.0),
        })
    }
}

fn window(period: Period, read: &Readings) -> Window {
    Window {
        from: period.from,
        to: period.to,
        readings: read.times.values().map(|times| times.len() as u64).sum(),
        kept: read.kept.values().map(|kept| kept.len() as u64).sum(),
        intervals: INTERVALS,
    }
}

/// The time that is looked at around an incident.
fn around(opened: Timestamp, ended: Timestamp, step: Duration) -> Period {
    let lasted = ended.since(opened);
    let within = |length: Duration, (least, most): (Duration, Duration), steps: u32| {
        let least = least.max(step * steps);
        length.max(least).min(most.max(least))
    };
    Period {
        from: opened - within(lasted, BEFORE, STEPS.0),
        to: ended + within(lasted / 4, AFTER, STEPS.1) + Duration::from_micros(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_incident_is_seen_with_hours_before_it_and_a_long_one_with_a_week() {
        let (opened, step) = (Timestamp::from_micros(1_000_000_000_000_000), Duration::from_secs(10));
        let hours = |n: u64| Duration::from_hours(n);
        let just = Duration::from_micros(1);
        let short = around(opened, opened + Duration::from_mins(5), step);
        assert_eq!(
            (short.from, short.to),
            (opened - hours(2), opened + Duration::from_mins(35) + just)
        );
        let day = around(opened, opened + hours(24), step);
        assert_eq!((day.from, day.to), (opened - hours(24), opened + hours(30) + just));
        let long = around(opened, opened + hours(24 * 60), step);
        assert_eq!(
            (long.from, long.to),
            (opened - hours(24 * 7), opened + hours(24 * 61) + just)
        );
        let slow = around(opened, opened, hours(6));
        assert_eq!((slow.from, slow.to), (opened - hours(1200), opened + hours(240) + just));
    }
}
