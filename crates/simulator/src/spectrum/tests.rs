//! The physics: lines where they belong, growth with severity, noise that is noise.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{Fault, FaultKind, FleetConfig};

fn start() -> Timestamp {
    Timestamp::parse("at", "2026-03-02T06:00:00Z").unwrap()
}

fn step(number: u32) -> Timestamp {
    start() + Duration::from_secs(10) * number
}

fn fleet(seed: u64) -> Fleet {
    Fleet::generate(FleetConfig::with_seed(seed)).unwrap()
}

/// A fault of the first machine that has reached exactly `severity` (growth 0) at `at`.
fn at_severity(fleet: &Fleet, kind: FaultKind, severity: f64, at: Timestamp) -> Schedule {
    let machine = &fleet.machines()[0];
    let life = Duration::from_hours(1000);
    let onset = at - life.mul_f64(severity);
    let (site, name) = (machine.site.clone(), machine.name.clone());
    Schedule {
        faults: vec![Fault {
            kind,
            site,
            machine: name,
            onset,
            failure: onset + life,
            growth: 0.0,
        }],
    }
}

/// Mean power per bin of sensor 0 over many steps.
fn mean_power(fleet: &Fleet, kind: FaultKind, severity: f64) -> Vec<f64> {
    let mut power = vec![0.0; 64];
    for number in 0..200 {
        let at = step(number);
        let reading = fleet.reading(&at_severity(fleet, kind, severity, at), 0, at);
        power
            .iter_mut()
            .zip(&reading.bins)
            .for_each(|(sum, s)| *sum += f64::from(s * s) / 200.0);
    }
    power
}

#[test]
fn healthy_lines_stand_in_the_bins_of_shaft_and_tooth_pass() {
    let fleet = fleet(1);
    let power = mean_power(&fleet, FaultKind::Imbalance, 0.0);
    // 100 Hz shaft rate lies in bin 0; four teeth pass at 400 Hz, between bins 1 and 2, and its harmonics at 800 Hz,
    // between 3 and 4, and at 1,200 Hz, between 5 and 6; the part program moves them by some 5 %.
    assert!(power[0] > 5.0 * power[10] && power[1] + power[2] > 5.0 * power[10]);
    assert!(power[3] + power[4] > 3.0 * (power[5] + power[7]), "{power:?}");
    assert!(power[5] + power[6] > 2.0 * (power[7] + power[9]), "{power:?}");
    assert!(power[11] > power[16], "the structure rings at 2.3 kHz");
}

#[test]
fn a_fault_raises_its_own_lines_most() {
    let fleet = fleet(1);
    let healthy = mean_power(&fleet, FaultKind::Imbalance, 0.0);
    let rise = |kind, bin: usize| mean_power(&fleet, kind, 0.3)[bin] / healthy[bin];
    assert!(rise(FaultKind::Imbalance, 0) > 10.0 && rise(FaultKind::Imbalance, 20) < 1.2);
    assert!(rise(FaultKind::Misalignment, 1) > 2.0 * rise(FaultKind::Imbalance, 1));
    assert!(rise(FaultKind::Looseness, 5) > 5.0 && rise(FaultKind::Looseness, 62) < 1.5);
    assert!(rise(FaultKind::LubricationStarvation, 60) > 5.0 && rise(FaultKind::LubricationStarvation, 0) < 1.2);
    assert!(rise(FaultKind::MountingLoosened, 60) < 0.3 && rise(FaultKind::MountingLoosened, 0) < 0.9);
    // The defect's own rate at the mean speed of the program.
    let mean_rpm = (0..200)
        .map(|n| f64::from(fleet.operating_point(0, step(n)).rpm))
        .sum::<f64>()
        / 200.0;
    let rates = fleet.machines()[0].bearing.rates(mean_rpm / 60.0);
    let around = |hz: f64| (hz / 200.0 - 0.5).round() as usize;
    assert!(rise(FaultKind::OuterRace, around(rates.bpfo_hz)) > 3.0);
    assert!(rise(FaultKind::InnerRace, around(rates.bpfi_hz)) > 3.0);
    assert!(
        rise(FaultKind::OuterRace, 25) > 3.0,
        "impacts ring the structure at 5.2 kHz"
    );
}

#[test]
fn machines_differ_and_two_channels_of_one_machine_differ() {
    let fleet = fleet(1);
    let mean_log = |sensor| {
        let mut mean = vec![0.0; 64];
        for number in 0..300 {
            let reading = fleet.reading(&Schedule::healthy(), sensor, step(number));
            mean.iter_mut()
                .zip(&reading.bins)
                .for_each(|(m, s)| *m += f64::from(s.ln()) / 300.0);
        }
        mean
    };
    let apart = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 64.0;
    let (x, y, other) = (mean_log(0), mean_log(1), mean_log(2));
    // Averaging noise of 300 readings of deviation 0.18 leaves 2 * 0.18^2 / 300 = 0.0002.
    assert!(
        apart(&x, &y) > 0.001 && apart(&x, &other) > 0.001,
        "{} {}",
        apart(&x, &y),
        apart(&x, &other)
    );
}

#[test]
fn healthy_energy_is_the_same_in_the_first_and_the_last_season() {
    let config = FleetConfig::with_seed(4).compressed(Duration::from_hours(8));
    let fleet = Fleet::generate(config).unwrap();
    let mean_log_energy = |from: u32| {
        let energy = |n: u32| {
            let reading = fleet.reading(&Schedule::healthy(), 5, step(from + n));
            reading.bins.iter().map(|s| f64::from(s * s)).sum::<f64>().ln()
        };
        (0..720).map(energy).sum::<f64>() / 720.0
    };
    let drift = mean_log_energy(0) - mean_log_energy(2_160);
    assert!(drift.abs() < 0.04, "{drift}");
}

#[test]
fn a_stopped_machine_is_near_the_floor() {
    let fleet = Fleet::generate(FleetConfig {
        stop_share: 0.5,
        ..FleetConfig::with_seed(4)
    })
    .unwrap();
    let energies = |stopped: bool| -> Vec<f32> {
        let readings = (0..2_000).map(|n| fleet.reading(&Schedule::healthy(), 0, step(n)));
        readings
            .filter(|r| r.point.is_stopped() == stopped)
            .map(|r| r.bins.iter().map(|s| s * s).sum())
            .collect()
    };
    let loudest_stopped = energies(true).into_iter().fold(0.0, f32::max);
    let quietest_running = energies(false).into_iter().fold(f32::INFINITY, f32::min);
    assert!(
        loudest_stopped * 100.0 < quietest_running,
        "{loudest_stopped} against {quietest_running}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_reading_is_a_function_of_seed_sensor_and_time(seed: u64, sensor in 0usize..48, number in 0u32..100_000) {
        let (one, other) = (fleet(seed), fleet(seed));
        let schedule = Schedule::draw(seed, &one, 5, start(), start() + Duration::from_hours(200)).unwrap();
        let first = one.reading(&schedule, sensor, step(number));
        other.reading(&schedule, (sensor + 1) % 48, step(number + 1));
        prop_assert_eq!(&first, &other.reading(&schedule, sensor, step(number)));
        prop_assert_ne!(&first.bins, &one.reading(&schedule, sensor, step(number + 1)).bins);
        prop_assert_ne!(&first.bins, &fleet(seed ^ 1).reading(&schedule, sensor, step(number)).bins);
        prop_assert!(first.bins.iter().all(|s| s.is_finite() && *s >= 0.0 && *s < 10.0));
    }

    #[test]
    fn energy_only_grows_with_severity_and_only_falls_for_the_quieter_kind(
        kind in proptest::sample::select(FaultKind::SPINDLE.to_vec()),
        seed in 0u64..50,
        number in 0u32..10_000,
    ) {
        let fleet = fleet(seed);
        let at = step(number);
        let energies: Vec<f64> = (0..=10)
            .map(|tenth| {
                let reading = fleet.reading(&at_severity(&fleet, kind, f64::from(tenth) / 10.0, at), 0, at);
                reading.bins.iter().map(|s| f64::from(s * s)).sum()
            })
            .collect();
        // The same step has the same noise, so this holds for single readings.
        let sorted = if kind.grows() { energies.is_sorted_by(|a, b| a < b) } else { energies.is_sorted_by(|a, b| a > b) };
        prop_assert!(sorted, "{kind:?} {energies:?}");
        let ratio = energies[10] / energies[0];
        prop_assert!(if kind.grows() { ratio > 4.0 } else { ratio < 0.3 }, "{kind:?} {ratio}");
    }
}
