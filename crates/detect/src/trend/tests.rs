use super::*;
use crate::baseline::{Commissioned, Fleet, KAPPA};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const BINS: usize = 8;
const NOISE: f32 = 0.1;

/// Readings of a sensor whose bins go with speed by `power` and with relative load by half a neper; speeds and loads as
/// drawn.
fn readings(seed: u64, power: f32, draw: impl Fn(&mut StdRng) -> (f32, f32)) -> (Vec<f32>, Vec<Condition>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut logs, mut conditions) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let (rpm, load) = draw(&mut rng);
        let level = 5.0 + power * (rpm / 1_500.0).ln() + 0.5 * (load / 0.6 - 1.0);
        logs.extend((0..BINS).map(|_| level + rng.random_range(-NOISE..NOISE)));
        conditions.push(condition(rpm, load));
    }
    (logs, conditions)
}

fn condition(rpm: f32, load: f32) -> Condition {
    Condition {
        rpm: Some(rpm),
        load: Some(load),
        ..Condition::default()
    }
}

fn wide(rng: &mut StdRng) -> (f32, f32) {
    (rng.random_range(1_050.0..1_950.0), rng.random_range(0.3..0.9))
}

fn steady(rng: &mut StdRng) -> (f32, f32) {
    (rng.random_range(1_495.0..1_505.0), 0.6)
}

fn commissioned(seed: u64, power: f32, draw: impl Fn(&mut StdRng) -> (f32, f32)) -> Commissioned {
    let (logs, conditions) = readings(seed, power, draw);
    Commissioned::fit(Rows::new(&logs, BINS).unwrap(), &conditions).unwrap()
}

#[test]
fn speed_and_load_are_taken_out_of_median_and_spread() {
    let sensor = commissioned(1, 2.0, wide);
    let trend = sensor.trend().unwrap();
    for bin in 0..BINS {
        assert!((trend.slopes()[bin] - 2.0).abs() < 0.15, "{:?}", trend.slopes());
    }
    assert!(
        sensor.spread().iter().all(|spread| *spread < 1.1 * NOISE),
        "{:?}",
        sensor.spread()
    );
    let baseline = sensor.baseline(None, KAPPA);
    let mut expected = [0.0; BINS];
    for rpm in [1_100.0, 1_900.0] {
        baseline.expected_into(baseline.offset(condition(rpm, 0.6)), &mut expected);
        let level = 5.0 + 2.0 * (rpm / 1_500.0).ln();
        assert!(expected.iter().all(|e| (e - level).abs() < 0.1), "{rpm}: {expected:?}");
    }
}

#[test]
fn wild_readings_turn_no_slope() {
    let (mut logs, conditions) = readings(2, 2.0, wide);
    let fastest = |a: &usize, b: &usize| conditions[*a].rpm.partial_cmp(&conditions[*b].rpm).unwrap();
    let mut order: Vec<usize> = (0..100).collect();
    order.sort_by(|a, b| fastest(b, a));
    for at in &order[..8] {
        logs[at * BINS..][..BINS].iter_mut().for_each(|log| *log += 4.0);
    }
    let sensor = Commissioned::fit(Rows::new(&logs, BINS).unwrap(), &conditions).unwrap();
    let slopes = sensor.trend().unwrap().slopes()[..BINS].to_vec();
    assert!(slopes.iter().all(|slope| (slope - 2.0).abs() < 0.5), "{slopes:?}");
}

#[test]
fn the_jitter_of_a_tachometer_makes_no_slope_and_a_steady_machine_has_its_fleets() {
    let alone = commissioned(3, 2.0, steady);
    let jitter = 5.0 / 1_500.0;
    let own = alone.trend().unwrap().slopes().to_vec();
    assert!(own.iter().all(|slope| slope.abs() * jitter < 0.1 * NOISE), "{own:?}");
    let others: Vec<Commissioned> = (10..15).map(|seed| commissioned(seed, 2.0, wide)).collect();
    let pool = || others.iter().chain(std::iter::once(&alone));
    let fleet = Fleet::of(pool()).unwrap();
    let pooled = alone.baseline(Some(&fleet), KAPPA);
    let mean = |slopes: &[f32]| slopes[..BINS].iter().sum::<f32>() / BINS as f32;
    let (before, after) = (mean(&own), mean(pooled.trend().unwrap().slopes()));
    assert!(
        (after - 2.0).abs() < 0.8 && after > before + 1.0,
        "{before} became {after}"
    );
    let own = others[0].baseline(Some(&fleet), KAPPA);
    let before = others[0].trend().unwrap().slopes();
    for (after, before) in own.trend().unwrap().slopes().iter().zip(before) {
        assert!((after - before).abs() < 0.02, "what tells keeps its own");
    }
}

#[test]
fn a_condition_far_from_those_seen_is_unknown_and_one_between_them_is_not() {
    let seen = *commissioned(4, 2.0, wide).trend().unwrap().conditions();
    for near in [
        condition(1_500.0, 0.6),
        condition(1_060.0, 0.5),
        condition(1_900.0, 0.8),
    ] {
        assert!(seen.know(near), "{near:?}");
    }
    for far in [condition(700.0, 0.6), condition(1_500.0, 1.6), condition(3_000.0, 0.6)] {
        assert!(!seen.know(far), "{far:?}");
    }
    let untold = Condition {
        load: Some(0.6),
        ..Condition::default()
    };
    assert!(!seen.know(untold), "a speed that is not told is not one that was seen");
    let steady = *commissioned(5, 2.0, steady).trend().unwrap().conditions();
    assert!(steady.know(condition(1_530.0, 0.62)) && !steady.know(condition(1_800.0, 0.6)));
}

#[test]
fn readings_that_tell_nothing_have_no_trend() {
    assert_eq!(Conditions::of(&[Condition::default(); 50]), None);
    assert_eq!(Conditions::of(&[]), None);
    let (logs, _) = readings(6, 0.0, wide);
    let sensor = Commissioned::fit(Rows::new(&logs, BINS).unwrap(), &[Condition::default(); 100]).unwrap();
    let baseline = sensor.baseline(None, KAPPA);
    assert!(baseline.trend().is_none() && baseline.knows(condition(9_999.0, 9.0)));
}

#[test]
fn loads_in_any_unit_and_of_none_give_a_finite_trend() {
    for scale in [1e-6_f32, 1.0, 4_000.0] {
        let sensor = commissioned(7, 1.0, |rng| (1_500.0, scale * rng.random_range(0.3..0.9)));
        let slopes = sensor.trend().unwrap().slopes();
        assert!(slopes.iter().all(|slope| slope.is_finite()), "{scale}: {slopes:?}");
    }
    let idle = commissioned(8, 1.0, |rng| (rng.random_range(1_000.0..2_000.0), 0.0));
    assert!(idle.trend().unwrap().slopes().iter().all(|slope| slope.is_finite()));
}

#[test]
fn a_stored_trend_comes_back_and_a_broken_one_is_named() {
    let trend = commissioned(9, 2.0, wide).trend().unwrap().clone();
    assert_eq!(Trend::from_bytes(&trend.to_bytes()).unwrap(), trend);
    let json = serde_json::to_string(&trend).unwrap();
    assert_eq!(serde_json::from_str::<Trend>(&json).unwrap(), trend);
    assert_eq!(Trend::from_bytes(&[0; 31]).unwrap_err().field, "trend");
    let mut broken = trend.to_bytes();
    broken[8..12].copy_from_slice(&0.0_f32.to_le_bytes());
    assert_eq!(Trend::from_bytes(&broken).unwrap_err().field, "load_unit");
    let mut broken = trend.to_bytes();
    broken[32..36].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_eq!(Trend::from_bytes(&broken).unwrap_err().field, "slopes");
    assert_eq!(Trend::from_bytes(&trend.to_bytes()[..32]).unwrap_err().field, "slopes");
}

proptest! {
    #[test]
    fn whatever_conditions_come_every_slope_is_finite_and_the_centre_moves_nothing(
        told in prop::collection::vec((prop::option::of(0.0_f32..1e6), prop::option::of(-1e4_f32..1e4)), 20..60),
    ) {
        let conditions: Vec<Condition> = told.iter().map(|(rpm, load)| Condition { rpm: *rpm, load: *load, ..Condition::default() }).collect();
        let logs: Vec<f32> = (0..conditions.len() * 2).map(|at| (at as f32 * 0.7).sin()).collect();
        let rows = Rows::new(&logs, 2).unwrap();
        if let Some(seen) = Conditions::of(&conditions) {
            let trend = Trend::fit(rows, &conditions, seen);
            prop_assert!(trend.slopes().iter().all(|slope| slope.is_finite()));
            let mut log = [1.0, 2.0];
            trend.add(Offset::default(), &mut log);
            prop_assert_eq!(log, [1.0, 2.0]);
            let known = conditions.iter().filter(|c| c.rpm.is_some_and(|rpm| rpm > 0.0) && c.load.is_some());
            for condition in known {
                prop_assert!(seen.know(*condition), "{condition:?} was learned on");
            }
        }
    }
}
