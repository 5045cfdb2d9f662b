//! A healthy past to train on.

use std::time::Duration;

use tocsin_domain::{Invalid, Slug, Timestamp};

use crate::{Fleet, Schedule};

/// The part of a corpus a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Models are fitted on it.
    Train,
    /// Alarm limits are set on it.
    Cal,
}

impl Split {
    /// The name in a corpus.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Cal => "cal",
        }
    }
}

/// One healthy reading.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingRow {
    /// The site.
    pub site: Slug,
    /// The machine in the site.
    pub machine: Slug,
    /// The sensor on the machine.
    pub sensor: Slug,
    /// When it was taken.
    pub captured_at: Timestamp,
    /// Amplitudes in g peak.
    pub bins: Vec<f32>,
    /// Shaft speed in revolutions per minute.
    pub rpm: f32,
    /// Share of rated power.
    pub load: f32,
    /// Train or calibrate.
    pub split: Split,
}

/// Healthy readings of every sensor, one every `step` from `from` up to `to`, step by step; the last `cal_share` of the
/// time is for calibration. Stopped machines give no row.
///
/// The window should hold whole seasons, and so should its calibration part: see
/// [`crate::FleetConfig::compressed`].
pub fn training_rows(
    fleet: &Fleet,
    from: Timestamp,
    to: Timestamp,
    step: Duration,
    cal_share: f64,
) -> Result<impl Iterator<Item = TrainingRow> + '_, Invalid> {
    if step.is_zero() {
        return Err(Invalid::new("step", "must be above zero"));
    }
    if !(0.0..=1.0).contains(&cal_share) {
        return Err(Invalid::new("cal_share", format!("{cal_share} must be 0 to 1")));
    }
    let cal_from = from + to.since(from).mul_f64(1.0 - cal_share);
    let times = std::iter::successors(Some(from), move |at| Some(*at + step)).take_while(move |at| *at < to);
    let readings = times.flat_map(move |at| (0..fleet.sensors().len()).map(move |sensor| (at, sensor)));
    Ok(readings.filter_map(move |(at, index)| {
        let sensor = &fleet.sensors()[index];
        if fleet.operating_point(sensor.machine, at).is_stopped() {
            return None;
        }
        let machine = &fleet.machines()[sensor.machine];
        let reading = fleet.reading(&Schedule::healthy(), index, at);
        Some(TrainingRow {
            site: machine.site.clone(),
            machine: machine.name.clone(),
            sensor: sensor.name.clone(),
            captured_at: at,
            bins: reading.bins,
            rpm: reading.point.rpm,
            load: reading.point.load,
            split: if at < cal_from { Split::Train } else { Split::Cal },
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FleetConfig;

    #[test]
    fn training_rows_are_running_in_order_and_split_by_time() {
        let config = FleetConfig {
            stop_share: 0.3,
            ..FleetConfig::with_seed(2)
        };
        let fleet = Fleet::generate(config).unwrap();
        let from = Timestamp::parse("from", "2026-03-02T06:00:00Z").unwrap();
        let to = from + Duration::from_hours(4);
        let rows: Vec<_> = training_rows(&fleet, from, to, Duration::from_mins(2), 0.25)
            .unwrap()
            .collect();
        let all = 120 * fleet.sensors().len();
        assert!(rows.len() < all && rows.len() > all / 2, "{} of {all}", rows.len());
        assert!(rows.iter().all(|row| row.rpm > 0.0 && row.bins.len() == 64));
        assert!(rows.is_sorted_by_key(|row| row.captured_at));
        for row in &rows {
            let late = row.captured_at >= from + Duration::from_hours(3);
            assert_eq!(row.split, if late { Split::Cal } else { Split::Train });
        }
        assert_eq!(
            training_rows(&fleet, from, to, Duration::ZERO, 0.2)
                .err()
                .unwrap()
                .field,
            "step"
        );
        assert_eq!(
            training_rows(&fleet, from, to, Duration::from_secs(1), 1.2)
                .err()
                .unwrap()
                .field,
            "cal_share"
        );
    }
}
