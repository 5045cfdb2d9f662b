//! How far a baseline follows.

use serde::{Deserialize, Serialize};

use super::machines::Machines;

/// Natural logarithm of an amplitude ratio of one decibel.
const LN_PER_DB: f64 = std::f64::consts::LN_10 / 20.0;

/// How far a baseline may move from what was commissioned without a person, in dB of amplitude.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowRule {
    /// Up, where the class rose alike.
    pub common_up_db: f64,
    /// Down.
    pub down_db: f64,
}

impl Default for FollowRule {
    fn default() -> Self {
        Self {
            common_up_db: 3.0,
            down_db: 3.0,
        }
    }
}

/// How a machine departs from its peers, where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspected {
    /// Louder.
    Risen,
    /// Quieter.
    Fallen,
}

/// Rise of a class since its machines were commissioned: per bin the median over machines of what each machine's median
/// sensor rose by, recent minus commissioned median of ln(1 + s/s0). A machine in trouble moves it little, however many
/// sensors it has. `rises` are sensor by sensor, each with its machine. Nothing without sensors.
///
/// # Panics
/// If the sensors differ in their number of bins.
pub fn common_rise<'a, M: Ord>(rises: impl IntoIterator<Item = (M, &'a [f32])>) -> Option<Vec<f32>> {
    let (machines, rises): (Vec<M>, Vec<&[f32]>) = rises.into_iter().unzip();
    let bins = rises.first()?.len();
    assert!(
        rises.iter().all(|rise| rise.len() == bins),
        "sensors of one class have one number of bins"
    );
    let machines = Machines::of(machines);
    let rise = (0..bins).map(|bin| machines.median(|sensor| rises[sensor][bin]));
    Some(rise.collect())
}

/// The median log spectrum a baseline moves to. All are ln(1 + s/s0) per bin: what was `commissioned`, the `active`
/// version, the sensor's `recent` median, and the `common` rise of its class. A sensor suspected of a rise moves nowhere up;
/// one suspected of a fall stays, or returns to, where its class went without it, and never above what was commissioned.
///
/// # Panics
/// If the lengths differ.
pub fn follow(
    commissioned: &[f32],
    active: &[f32],
    recent: &[f32],
    common: &[f32],
    suspected: Option<Suspected>,
    rule: FollowRule,
) -> Vec<f32> {
    let bins = commissioned.len();
    assert!(
        active.len() == bins && recent.len() == bins && common.len() == bins,
        "bins of the versions of one baseline"
    );
    let next = (0..bins).map(|bin| {
        let from = commissioned[bin];
        let least = amplified(from, -rule.down_db);
        match suspected {
            None => {
                let most = (from + common[bin].max(0.0)).min(amplified(from, rule.common_up_db));
                recent[bin].max(least).min(most)
            }
            Some(Suspected::Risen) => recent[bin].max(least).min(active[bin]),
            Some(Suspected::Fallen) => (from + common[bin].min(0.0)).max(least).max(active[bin]),
        }
    });
    next.collect()
}

/// ln(1 + s/s0) after the amplitude s rose by so many dB.
fn amplified(log: f32, db: f64) -> f32 {
    (f64::from(log).exp_m1() * (db * LN_PER_DB).exp()).ln_1p() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULE: FollowRule = FollowRule {
        common_up_db: 3.0,
        down_db: 3.0,
    };

    fn moved(recent: f32, common: f32, suspected: Option<Suspected>) -> f32 {
        follow(&[5.0], &[4.9], &[recent], &[common], suspected, RULE)[0]
    }

    #[test]
    fn it_goes_down_with_its_machine_and_back_to_what_was_commissioned() {
        assert_eq!(moved(4.8, 0.0, None), 4.8);
        assert_eq!(moved(5.0, 0.0, None), 5.0);
        assert_eq!(
            moved(6.0, 0.0, None),
            5.0,
            "its own rise is nobody's but a person's to accept"
        );
        assert!((moved(0.0, 0.0, None) - amplified(5.0, -3.0)).abs() < 1e-6);
    }

    #[test]
    fn it_goes_up_with_its_class_and_no_further_than_three_decibels() {
        assert_eq!(moved(5.2, 0.1, None), 5.1);
        assert_eq!(moved(5.05, 0.1, None), 5.05, "no higher than itself");
        let bound = moved(9.0, 4.0, None);
        assert!((f64::from(bound - 5.0) / LN_PER_DB - 3.0).abs() < 0.03, "{bound}");
    }

    #[test]
    fn a_suspected_sensor_moves_nowhere_up() {
        let risen = Some(Suspected::Risen);
        assert_eq!(moved(5.2, 0.3, risen), 4.9);
        assert_eq!(moved(4.8, 0.3, risen), 4.8);
    }

    #[test]
    fn a_sensor_that_fell_alone_returns_to_where_its_class_is() {
        let fallen = Some(Suspected::Fallen);
        assert_eq!(moved(4.0, 0.0, fallen), 5.0, "to what was commissioned");
        assert_eq!(moved(4.0, 0.4, fallen), 5.0, "and no further");
        assert_eq!(moved(4.0, -0.05, fallen), 4.95);
    }

    #[test]
    fn three_decibels_are_three_of_amplitude_even_below_s0() {
        let rise = f64::from(amplified(0.01, 3.0)).exp_m1() / f64::from(0.01_f32).exp_m1();
        assert!((20.0 * rise.log10() - 3.0).abs() < 1e-3, "{rise}");
    }

    #[test]
    fn one_machine_in_trouble_is_no_common_rise() {
        let rises: [&[f32]; 3] = [&[0.1, 0.0], &[0.2, 0.0], &[9.0, 9.0]];
        assert_eq!(common_rise((0..).zip(rises)).unwrap(), [0.2, 0.0]);
        let many: [(i64, &[f32]); 5] = [(1, &[9.0]), (1, &[9.0]), (1, &[9.0]), (2, &[0.1]), (3, &[0.2])];
        assert_eq!(common_rise(many).unwrap(), [0.2], "with three sensors either");
        let none: [(i64, &[f32]); 0] = [];
        assert_eq!(common_rise(none), None);
    }

    proptest! {
        #[test]
        fn however_often_it_follows_it_stays_within_the_rule(
            recents in prop::collection::vec((0.0_f32..12.0, -1.0_f32..12.0, 0..3), 1..50),
            commissioned in 0.0_f32..10.0,
        ) {
            let mut active = vec![commissioned];
            for (recent, common, suspected) in recents {
                let suspected = [None, Some(Suspected::Risen), Some(Suspected::Fallen)][suspected as usize];
                active = follow(&[commissioned], &active, &[recent], &[common], suspected, RULE);
                prop_assert!(active[0] <= amplified(commissioned, 3.0) + 1e-6);
                prop_assert!(active[0] >= amplified(commissioned, -3.0) - 1e-6);
            }
        }
    }
}
