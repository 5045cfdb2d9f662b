//! What a harbor promises: exact deviations, failures of their size, noise of its kind, the same bits in any order.

mod failures;
mod noise;
mod orders;

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Six machines for twenty days, a reading every ten minutes.
fn small(seed: u64) -> Config {
    Config {
        machines: 6,
        length: 20 * DAY,
        interval: 10 * MINUTE,
        ..Config::with_seed(seed)
    }
}

/// The same at one speed and load, and with nothing but the noise of averaging.
fn steady(seed: u64) -> Config {
    let mut config = small(seed);
    config.duty.speed_swing = 0.0;
    config.duty.load = [0.6, 0.6];
    config.transients.per_day = 0.0;
    config.wander_db = 0.0;
    config.unrest_db = 0.0;
    config
}

/// Readings of some steps of a machine with their amplitudes.
fn readings(fleet: &Fleet, machine: usize, steps: std::ops::Range<u64>) -> Vec<(Reading, Vec<f32>)> {
    let mut stream = fleet.machines()[machine].stream_steps(steps);
    let mut bins = vec![0.0; fleet.row_length()];
    std::iter::from_fn(|| stream.next_into(&mut bins).map(|reading| (reading, bins.clone()))).collect()
}

/// Gain in dB of each bin of one fleet against another that has the same noise.
fn gains_db(fleet: &Fleet, against: &Fleet, machine: usize, step: u64) -> Vec<f64> {
    let [this, that] = [fleet, against].map(|fleet| readings(fleet, machine, step..step + 1).remove(0).1);
    let ratio = |(a, b): (&f32, &f32)| 20.0 * (f64::from(*a) / f64::from(*b)).log10();
    this.iter().zip(&that).map(ratio).collect()
}

#[test]
fn a_harbor_has_its_machines_class_by_class_under_distinct_names() {
    let fleet = Fleet::generate(Config::with_seed(1)).unwrap();
    let names: BTreeSet<_> = fleet.machines().iter().map(Machine::name).collect();
    assert_eq!(
        (names.len(), fleet.row_length(), fleet.config().steps()),
        (600, 64, 51_840)
    );
    let fans = fleet.machines().iter().filter(|machine| machine.class() == Class::Fan);
    assert_eq!(fans.count(), 200);
    assert!(
        fleet
            .machines()
            .iter()
            .all(|m| m.failure().is_none() && m.ramp().is_none())
    );
}

#[test]
fn speed_and_load_vary_as_the_duty_says_and_energy_follows_speed() {
    let mut config = steady(4);
    config.duty.speed_swing = 0.3;
    let fleet = Fleet::generate(config).unwrap();
    let rows = readings(&fleet, 0, 0..2_000);
    let nominal = Class::Pump.construction().rated_rpm;
    let speeds: Vec<f64> = rows
        .iter()
        .map(|(r, _)| f64::from(r.condition.rpm.unwrap()) / nominal)
        .collect();
    let fastest = speeds.iter().copied().fold(0.0, f64::max);
    let slowest = speeds.iter().copied().fold(9.0, f64::min);
    // Within 30 % of a nominal speed within 6 % of the class's, and one per cent of jitter; most of the range is met.
    assert!(
        (0.65..0.85).contains(&slowest) && (1.15..1.4).contains(&fastest),
        "{slowest} {fastest}"
    );
    assert!(
        rows.iter()
            .all(|(r, _)| (0.4..0.8).contains(&r.condition.load.unwrap()))
    );
    // The slope of ln noise power over ln speed is twice that of amplitude, which is two.
    let noise = |bins: &[f32]| bins[30..60].iter().map(|s| f64::from(s * s)).sum::<f64>().ln();
    let points: Vec<(f64, f64)> = speeds
        .iter()
        .zip(&rows)
        .map(|(s, (_, bins))| (s.ln(), noise(bins)))
        .collect();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let along = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>();
    let slope = along / points.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>();
    assert!((slope - 4.0).abs() < 0.2, "{slope}");
}

#[test]
fn leaving_out_the_condition_leaves_the_spectra_as_they_are() {
    let silent = Config {
        reports_condition: false,
        ..small(3)
    };
    let [silent, telling] = [silent, small(3)].map(|config| readings(&Fleet::generate(config).unwrap(), 1, 0..50));
    for ((silent, left), (telling, right)) in silent.iter().zip(&telling) {
        assert_eq!((silent.condition.rpm, silent.condition.load), (None, None));
        assert!(telling.condition.rpm.is_some() && telling.condition.load.is_some());
        assert_eq!((silent.captured_at, left), (telling.captured_at, right));
    }
}

#[test]
fn a_second_sensor_reads_something_else_and_leaves_the_first_as_it_is() {
    let two = Config { sensors: 2, ..small(3) };
    let [one, two] = [small(3), two].map(|config| readings(&Fleet::generate(config).unwrap(), 2, 0..50));
    for ((_, one), (_, two)) in one.iter().zip(&two) {
        assert_eq!((one.len(), two.len()), (64, 128));
        assert_eq!(one[..], two[..64]);
        assert!(two[..64].iter().zip(&two[64..]).all(|(x, y)| x != y));
    }
}

#[test]
fn a_season_moves_all_machines_by_its_sine_exactly() {
    let mut seasonal = small(7);
    seasonal.benign = vec![Benign::Season {
        swing_db: 3.0,
        period: 16 * DAY,
    }];
    let [seasonal, plain] = [seasonal, small(7)].map(|config| Fleet::generate(config).unwrap());
    for (day, db) in [(0, 0.0), (4, 3.0), (8, 0.0), (12, -3.0), (18, 3.0 * 0.5_f64.sqrt())] {
        for machine in 0..6 {
            let gains = gains_db(&seasonal, &plain, machine, day * 144);
            assert!(
                gains.iter().all(|gain| (gain - db).abs() < 1e-3),
                "day {day}: {gains:?}"
            );
        }
    }
}

#[test]
fn gain_steps_come_to_a_third_of_every_class_at_a_time() {
    let mut stepped = Config {
        machines: 18,
        ..small(7)
    };
    stepped.benign = vec![Benign::GainSteps {
        first: 2 * DAY,
        gap: 3 * DAY,
        db: 2.0,
        parts: 3,
    }];
    let plain = Config {
        machines: 18,
        ..small(7)
    };
    let [stepped, plain] = [stepped, plain].map(|config| Fleet::generate(config).unwrap());
    for (day, thirds) in [(1, 0), (3, 1), (6, 2), (9, 3)] {
        let mut moved = [0; 3];
        for machine in stepped.machines() {
            let gains = gains_db(&stepped, &plain, machine.index(), day * 144);
            let db = if gains[0] > 1.0 { 2.0 } else { 0.0 };
            assert!(
                gains.iter().all(|gain| (gain - db).abs() < 1e-3),
                "day {day}: {gains:?}"
            );
            moved[machine.class() as usize] += usize::from(db > 0.0);
        }
        assert_eq!(moved, [2 * thirds; 3], "day {day}");
    }
}

#[test]
fn load_steps_come_to_a_class_at_a_time_and_raise_what_the_load_excites() {
    let mut stepped = steady(7);
    stepped.benign = vec![Benign::LoadSteps {
        first: DAY,
        gap: DAY,
        by: 0.4,
    }];
    let [stepped, plain] = [stepped, steady(7)].map(|config| Fleet::generate(config).unwrap());
    for day in 0..4 {
        for machine in stepped.machines() {
            let gains = gains_db(&stepped, &plain, machine.index(), day * 144 + 72);
            let [after, before] = [&stepped, &plain].map(|fleet| {
                readings(fleet, machine.index(), day * 144 + 72..day * 144 + 73)[0]
                    .0
                    .condition
                    .load
                    .unwrap()
            });
            if (machine.class() as u64) < day {
                // Broadband noise goes from 0.6 + 0.5 * 0.6 to 0.6 + 0.5 * 1.0: by 1.7 dB, about as much with jitter.
                assert!((after - before - 0.4).abs() < 0.01, "{before} {after}");
                assert!((1.4..2.1).contains(&gains[40]), "{gains:?}");
            } else {
                assert!(after == before && gains.iter().all(|gain| *gain == 0.0));
            }
        }
    }
}

#[test]
fn machines_of_a_class_differ_by_decibels() {
    let fleet = Fleet::generate(Config {
        machines: 90,
        ..steady(2)
    })
    .unwrap();
    let level = |machine: usize| {
        let rows = readings(&fleet, machine, 0..20);
        let sum: f64 = rows.iter().flat_map(|(_, bins)| bins).map(|s| f64::from(*s).ln()).sum();
        sum / 20.0 / 64.0 * 20.0 / std::f64::consts::LN_10
    };
    let levels: Vec<f64> = (0..30).map(|number| level(number * 3)).collect();
    let mean = levels.iter().sum::<f64>() / 30.0;
    let deviation = (levels.iter().map(|db| (db - mean).powi(2)).sum::<f64>() / 29.0).sqrt();
    assert!((1.2..3.5).contains(&deviation), "{deviation} dB");
}

#[test]
fn wrong_numbers_are_refused_by_the_field_that_holds_them() {
    type Change = fn(&mut Config);
    let refused = |change: Change| {
        let mut config = small(1);
        change(&mut config);
        Fleet::generate(config).unwrap_err().field
    };
    let cases: [(Change, &str); 14] = [
        (|c| c.machines = 0, "machines"),
        (|c| c.sensors = 0, "sensors"),
        (|c| c.bins = 8, "spec.bins"),
        (|c| c.averages = 0, "spec.averages"),
        (|c| c.interval = Duration::ZERO, "interval"),
        (|c| c.length = MINUTE, "length"),
        (|c| c.individuality = f64::NAN, "individuality"),
        (|c| c.duty.dwell = [HOUR, MINUTE], "duty.dwell"),
        (|c| c.duty.load = [0.5, f64::NAN], "duty.load"),
        (|c| c.transients.per_day = 25.0, "transients.per_day"),
        (|c| (c.failures.count, c.length) = (1, 11 * DAY), "failures.life"),
        (|c| (c.failures.count, c.failures.kinds) = (1, vec![]), "failures.kinds"),
        (|c| c.ramps.bins = 65, "ramps.bins"),
        (|c| (c.failures.count, c.ramps.count) = (4, 3), "failures.count"),
    ];
    for (change, field) in cases {
        assert_eq!(refused(change), field);
    }
    let season = Benign::Season {
        swing_db: -1.0,
        period: DAY,
    };
    let bad = Config {
        benign: vec![season],
        ..small(1)
    };
    assert_eq!(Fleet::generate(bad).unwrap_err().field, "benign.season.swing_db");
}

#[test]
#[should_panic(expected = "amplitudes of the slice")]
fn a_buffer_of_another_length_is_a_mistake_of_the_caller() {
    let fleet = Fleet::generate(small(1)).unwrap();
    fleet.machines()[0].stream().next_into(&mut [0.0; 65]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_part_of_a_stream_has_the_bits_of_the_whole(
        seed: u64,
        interval_ms in 900u64..700_000,
        from in 0u64..3_000,
        count in 1u64..40,
        bins in 32u16..200,
    ) {
        let mut config = Config { bins, interval: Duration::from_millis(interval_ms), length: 60 * DAY, ..small(seed) };
        config.failures.count = 3;
        config.ramps.count = 3;
        config.transients.per_day = 24.0;
        let fleet = Fleet::generate(config.clone()).unwrap();
        let other = Fleet::generate(config).unwrap();
        for machine in [4, 0, 2] {
            let whole = readings(&fleet, machine, from.saturating_sub(100)..from + count);
            let part = readings(&other, machine, from..from + count);
            prop_assert_eq!(&whole[whole.len() - part.len()..], &part[..]);
            prop_assert!(part.iter().flat_map(|(_, bins)| bins).all(|s| s.is_finite() && *s >= 0.0));
        }
    }

    #[test]
    fn failures_and_ramps_come_to_distinct_machines_within_their_windows(seed: u64, failures in 0usize..10, ramps in 0usize..10) {
        let mut config = Config { machines: 20, ..small(seed) };
        config.failures.count = failures;
        config.ramps.count = ramps;
        let fleet = Fleet::generate(config.clone()).unwrap();
        let machines = || fleet.machines().iter();
        prop_assert_eq!(machines().filter(|m| m.failure().is_some()).count(), failures);
        prop_assert_eq!(machines().filter(|m| m.ramp().is_some()).count(), ramps);
        prop_assert!(machines().all(|m| m.failure().is_none() || m.ramp().is_none()));
        let kinds: BTreeSet<_> = machines().filter_map(Machine::failure).map(|failure| failure.kind).collect();
        prop_assert_eq!(kinds.len(), failures.min(9));
        let windows = machines().flat_map(|m| {
            let failure = m.failure().map(|failure| (failure.onset, failure.failure));
            failure.into_iter().chain(m.ramp().map(|ramp| (ramp.onset, ramp.complete)))
        });
        for (onset, end) in windows {
            prop_assert!(onset >= config.start + 2 * DAY && end <= config.start + config.length);
            prop_assert_eq!(end.since(onset), 10 * DAY);
        }
    }
}
