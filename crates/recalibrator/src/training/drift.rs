//! Whether a class has left its model behind. Pure.
//!
//! Two signs, each told over machines, never over readings: readings of one machine are alike for hours, and a test that
//! took them for independent would call every class drifted as soon as it has sent enough of them.
//!
//! - **The class has moved.** Per bin the median over its healthy machines of what each moved since it was commissioned (or
//!   since the champion was fitted), and of that the root mean square over bins, rises and falls apart: above what baselines
//!   may follow without a person ([`FollowRule`]), no baseline can make up for it.
//! - **The model rebuilds the class worse, or better, than it did.** The median residual of each machine lately against
//!   the same of the machines whose healthy readings the trainer held out, by the rank-sum test at [`SIGNIFICANT`]. Its
//!   p-value counts the machines on both sides; how far apart they are has a bound of its own ([`APART`]), so that a large
//!   fleet's certain but small difference asks for nothing. Too few machines (three and nineteen, or seven and seven are
//!   enough) can't reach the level, and then this sign stays silent.

use std::collections::{BTreeMap, BTreeSet};

use tocsin_detect::drift::{FollowRule, common_rise};
use tocsin_domain::{MachineId, SpecId};
use tocsin_models::HeldOut;
use tocsin_store::training_job::{Departure, SensorResidual};

use super::rank::rank_sum;

/// Decibels of a natural logarithm of an amplitude.
const DB_PER_LN: f64 = 20.0 / std::f64::consts::LN_10;

/// The fewest machines that speak for a class.
const FEWEST_MACHINES: usize = 3;

/// Level of the rank-sum test. A class is looked at often, and one false job a class and cool-down is the most there can be.
const SIGNIFICANT: f64 = 0.001;

/// Of pairs of a machine lately and one held out, at least this share is the same way round.
const APART: f64 = 0.8;

/// Why the class should be fitted anew, if its machines have moved further than baselines may follow.
pub(super) fn moved(departures: &[Departure], rule: FollowRule) -> Option<String> {
    let mut by_spec: BTreeMap<SpecId, Vec<&Departure>> = BTreeMap::new();
    for departure in departures {
        by_spec.entry(departure.spec).or_default().push(departure);
    }
    by_spec.into_values().find_map(|sensors| {
        let machines: BTreeSet<MachineId> = sensors.iter().map(|sensor| sensor.machine).collect();
        let bins = sensors.first()?.move_ln.len();
        let alike = sensors.iter().all(|sensor| sensor.move_ln.len() == bins);
        if machines.len() < FEWEST_MACHINES || !alike {
            return None;
        }
        let common = common_rise(sensors.iter().map(|sensor| (sensor.machine, sensor.move_ln.as_slice())))?;
        let (up, down) = (rms_db(&common, 1.0), rms_db(&common, -1.0));
        let told = |way, db: f64, most| {
            format!(
                "the median of {} machines has {way} by {db:.1} dB, baselines may follow by {most} dB",
                machines.len()
            )
        };
        if up > rule.common_up_db {
            Some(told("risen", up, rule.common_up_db))
        } else if down > rule.down_db {
            Some(told("fallen", down, rule.down_db))
        } else {
            None
        }
    })
}

/// Root mean square over all bins of the moves in one direction, dB.
fn rms_db(moves: &[f32], sign: f64) -> f64 {
    let squares = moves.iter().map(|ln| (sign * f64::from(*ln)).max(0.0).powi(2));
    DB_PER_LN * (squares.sum::<f64>() / moves.len().max(1) as f64).sqrt()
}

/// Why the class should be fitted anew, if its residuals have left the distribution the bundle brought along.
pub(super) fn residual_moved(lately: &[SensorResidual], held_out: &HeldOut) -> Option<String> {
    let mut by_machine: BTreeMap<MachineId, Vec<f64>> = BTreeMap::new();
    for sensor in lately {
        by_machine.entry(sensor.machine).or_default().push(sensor.median);
    }
    let lately: Vec<f64> = by_machine.into_values().filter_map(median).collect();
    let then = held_out_machines(held_out);
    let test = rank_sum(&then, &lately)?;
    let (way, share) = if test.superiority >= 0.5 {
        ("above", test.superiority)
    } else {
        ("below", 1.0 - test.superiority)
    };
    let drifted = lately.len() >= FEWEST_MACHINES && test.p < SIGNIFICANT && share >= APART;
    drifted.then(|| {
        format!(
            "the residuals of {} machines lie {way} those of the {} the model was held against ({:.0} % of pairs, p = {:.1e})",
            lately.len(),
            then.len(),
            100.0 * share,
            test.p
        )
    })
}

/// The median residual of each machine that rows were held out of: a sensor's path is `site/machine/sensor`.
fn held_out_machines(held_out: &HeldOut) -> Vec<f64> {
    let mut by_machine: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (path, rows) in held_out.by_sensor() {
        let machine = path.rsplit_once('/').map_or(path, |(machine, _)| machine);
        let residuals = rows
            .iter()
            .filter_map(|row| row.scores.get(tocsin_domain::Detector::Residual));
        let of_sensor = median(residuals.map(f64::from).collect());
        by_machine.entry(machine).or_default().extend(of_sensor);
    }
    by_machine.into_values().filter_map(median).collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let count = values.len();
    let (below, above) = (values.get(count.checked_sub(1)? / 2)?, values.get(count / 2)?);
    Some((below + above) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::{Detector, Scores, Timestamp};
    use tocsin_models::HeldOutRow;

    fn departure(machine: i32, db: f64) -> Departure {
        Departure {
            machine: MachineId(machine),
            spec: SpecId(1),
            move_ln: vec![(db / DB_PER_LN) as f32; 8],
        }
    }

    #[test]
    fn a_class_that_rose_further_than_baselines_may_follow_asks_for_training_and_one_machine_does_not() {
        let rule = FollowRule::default();
        let class = [departure(1, 3.4), departure(2, 3.2), departure(3, 4.0)];
        let reason = moved(&class, rule).unwrap();
        assert!(reason.contains("risen by 3.4 dB"), "{reason}");
        let one = [departure(1, 9.0), departure(2, 0.2), departure(3, 0.1)];
        assert_eq!(moved(&one, rule), None);
        assert_eq!(moved(&class[..2], rule), None, "two machines are no class");
        let channels: Vec<Departure> = [1, 1, 1, 1, 2, 3]
            .map(|machine| departure(machine, if machine == 1 { 9.0 } else { 0.1 }))
            .into();
        assert_eq!(
            moved(&channels, rule),
            None,
            "one machine with four sensors is one machine"
        );
        let quieter = class.map(|departure| Departure {
            move_ln: departure.move_ln.iter().map(|ln| -ln).collect(),
            ..departure
        });
        assert!(moved(&quieter, rule).unwrap().contains("fallen"));
        assert_eq!(moved(&[], rule), None);
    }

    fn held_out(machines: u32) -> HeldOut {
        let sensors = (0..machines).map(|machine| format!("north/p{machine}/h")).collect();
        let rows = (0..machines * 9).map(|at| {
            let mut scores = Scores::default();
            scores.set(
                Detector::Residual,
                1.0 + 0.1 * (at % machines) as f32 + 0.001 * at as f32,
            );
            HeldOutRow {
                sensor: at % machines,
                captured_at: Timestamp::from_micros(i64::from(at)),
                scores,
            }
        });
        HeldOut::new(sensors, rows.collect())
    }

    fn lately(machines: i32, from: f64) -> Vec<SensorResidual> {
        let sensor = |machine| SensorResidual {
            machine: MachineId(machine),
            readings: 100,
            median: from + 0.1 * f64::from(machine),
        };
        (0..machines).map(sensor).collect()
    }

    #[test]
    fn residuals_that_left_their_distribution_ask_for_training_where_enough_machines_say_so() {
        let reason = residual_moved(&lately(10, 2.5), &held_out(10)).unwrap();
        assert!(reason.contains("10 machines lie above"), "{reason}");
        assert!(
            residual_moved(&lately(10, -2.0), &held_out(10))
                .unwrap()
                .contains("below")
        );
        assert_eq!(residual_moved(&lately(10, 1.01), &held_out(10)), None, "as it was");
        assert_eq!(residual_moved(&lately(4, 9.0), &held_out(4)), None, "too few to tell");
        assert_eq!(residual_moved(&[], &held_out(10)), None);
    }
}
