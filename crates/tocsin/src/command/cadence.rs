//! How often a class decides, held against how often its readings come: a class that decides more often than that never
//! sees a line passed often enough in a row, and nothing of it ever opens.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::fleet::v1::{CreateClassRequest, ListClassesRequest, MachineClass};
use tocsin_corpus::{Reader, Row, SensorName};
use tocsin_domain::Timestamp;
use tocsin_judge::Persistence;
use tocsin_transport::Channel;

use super::corpora::Corpora;
use crate::client::explain;

/// Rows by which the usual interval is told.
const LOOKED_AT: usize = 100_000;

/// Makes a class that does not exist yet, to decide as often as its readings come, and says so on stderr; says there as
/// well where one that exists decides too often for them.
pub(super) async fn prepare(channel: &Channel, class: &str, interval: Option<Duration>) -> Result<()> {
    let mut fleet = FleetServiceClient::new(channel.clone());
    let listed = fleet.list_classes(ListClassesRequest {}).await;
    let classes = listed
        .map_err(|status| explain("listing the classes", &status))?
        .into_inner()
        .classes;
    if let Some(known) = classes.into_iter().find(|known| known.name == class) {
        let step = Duration::from_millis(known.step_ms);
        if let Some(interval) = interval.filter(|interval| is_too_often(step, *interval)) {
            eprintln!(
                "warning: class {class} decides every {step:?}, and its readings come every {interval:?}: nothing of it will open. \
                 Give them a class of their own: tocsin classes create NAME --step {}s",
                interval.as_secs().max(1)
            );
        }
        return Ok(());
    }
    let new = MachineClass {
        name: class.to_owned(),
        step_ms: interval.map_or(0, |interval| interval.as_millis() as u64),
        ..MachineClass::default()
    };
    let made = fleet.create_class(CreateClassRequest { class: Some(new) }).await;
    let made = made
        .map_err(|status| explain("making the class", &status))?
        .into_inner();
    let step = Duration::from_millis(made.class.unwrap_or_default().step_ms);
    eprintln!("class {class} did not exist: made, to decide every {step:?}");
    Ok(())
}

/// Whether readings that come at an interval can't pass a line in enough steps of a window.
fn is_too_often(step: Duration, interval: Duration) -> bool {
    let Persistence { k, n, .. } = Persistence::default();
    interval * (k - 1) >= step * n
}

/// The usual time between two readings of a sensor: the middle one among the first rows of the first corpus.
pub(super) fn of_corpora(corpora: &Corpora) -> Result<Option<Duration>> {
    let Some(path) = corpora.corpus.first() else {
        return Ok(None);
    };
    let rows = Reader::with_filter(path, corpora.filter(None)?)?.take(LOOKED_AT);
    let rows: Vec<(SensorName, Timestamp)> = rows
        .map(|row| row.map(|row| (row.sensor, row.captured_at)))
        .collect::<Result<_, _>>()?;
    Ok(usual_interval(rows.iter().map(|(sensor, at)| (sensor, *at))))
}

/// The same among rows that were read.
pub(super) fn of_rows(rows: &[Row]) -> Option<Duration> {
    let keys = rows.iter().take(LOOKED_AT);
    usual_interval(keys.map(|row| (&row.sensor, row.captured_at)))
}

fn usual_interval<'a>(keys: impl Iterator<Item = (&'a SensorName, Timestamp)>) -> Option<Duration> {
    let mut by_sensor: HashMap<&SensorName, Vec<Timestamp>> = HashMap::new();
    for (sensor, at) in keys {
        by_sensor.entry(sensor).or_default().push(at);
    }
    let mut intervals = Vec::new();
    for times in by_sensor.values_mut() {
        times.sort_unstable();
        intervals.extend(times.windows(2).map(|pair| pair[1].since(pair[0])));
    }
    intervals.retain(|interval| !interval.is_zero());
    intervals.sort_unstable();
    intervals.get(intervals.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_interval_is_that_between_readings_of_one_sensor_in_any_order() {
        let sensors = ["a/b/x", "a/b/y"].map(|name| SensorName::parse(name).unwrap());
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let keys = [(0, 120), (1, 1), (0, 0), (1, 61), (0, 60), (1, 61), (0, 1_000)];
        let keys = keys.map(|(sensor, second)| (&sensors[sensor], at(second)));
        assert_eq!(usual_interval(keys.into_iter()), Some(Duration::from_mins(1)));
        assert_eq!(usual_interval(keys[..2].iter().copied()), None, "one reading of each");
    }

    #[test]
    fn a_step_is_too_short_when_too_few_readings_come_in_a_window() {
        let step = Duration::from_secs(10);
        assert!(!is_too_often(step, step));
        assert!(!is_too_often(step, Duration::from_secs(19)));
        assert!(is_too_often(step, Duration::from_secs(20)));
        assert!(!is_too_often(Duration::from_mins(1), step));
    }
}
