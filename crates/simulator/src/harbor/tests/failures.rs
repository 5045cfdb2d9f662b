//! Failures and ramps against the same fleet without them.

use super::*;
use crate::FaultKind;

/// A steady fleet with a failure of every kind, and the same without.
fn failing_and_healthy(seed: u64, bins: u16) -> [Fleet; 2] {
    let mut failing = Config {
        machines: 9,
        bins,
        ..steady(seed)
    };
    failing.failures.count = 9;
    let healthy = Config {
        machines: 9,
        bins,
        ..steady(seed)
    };
    [failing, healthy].map(|config| Fleet::generate(config).unwrap())
}

/// Change of the power in a failure's bins in dB over the steps about a time.
fn change_db(failing: &Fleet, healthy: &Fleet, machine: &Machine, at: tocsin_domain::Timestamp) -> f64 {
    let failure = machine.failure().unwrap();
    let step = at
        .since(failing.config().start)
        .div_duration_f64(failing.config().interval) as u64;
    let power = |fleet: &Fleet| -> f64 {
        let rows = readings(fleet, machine.index(), step..step + 400);
        let bins = rows
            .iter()
            .flat_map(|(_, bins)| failure.bins.iter().map(|bin| f64::from(bins[*bin])));
        bins.map(|amplitude| amplitude * amplitude).sum()
    };
    10.0 * (power(failing) / power(healthy)).log10()
}

#[test]
fn every_kind_of_failure_reaches_its_size_in_its_bins_and_begins_unseen() {
    for seed in 0..4 {
        let [failing, healthy] = failing_and_healthy(seed, 64);
        for machine in failing.machines() {
            let failure = machine.failure().unwrap();
            let size = failure.change_db.abs();
            match failure.kind {
                FaultKind::LossOfLoad => assert!((1.5..8.0).contains(&size), "{failure:?}"),
                FaultKind::MountingLoosened => assert!((8.0..=20.01).contains(&size), "{failure:?}"),
                _ => assert!((9.99..=20.01).contains(&size), "{failure:?}"),
            }
            assert_eq!(failure.kind.grows(), failure.change_db > 0.0, "{failure:?}");
            // Speed and load of a steady duty still vary by some tenths of a per cent and some per cent.
            let reached = change_db(&failing, &healthy, machine, failure.failure);
            assert!((reached - failure.change_db).abs() < 1.0, "{reached} dB: {failure:?}");
        }
    }
}

#[test]
fn a_failing_machine_is_its_healthy_self_to_the_bit_until_the_onset() {
    let [failing, healthy] = failing_and_healthy(5, 64);
    for machine in failing.machines() {
        let failure = machine.failure().unwrap();
        let onset = failure
            .onset
            .since(failing.config().start)
            .div_duration_f64(failing.config().interval) as u64;
        let before = onset - 200..onset + 1;
        assert_eq!(
            readings(&failing, machine.index(), before.clone()),
            readings(&healthy, machine.index(), before)
        );
        let after = onset + 20..onset + 21;
        assert_ne!(
            readings(&failing, machine.index(), after.clone()),
            readings(&healthy, machine.index(), after)
        );
    }
}

#[test]
fn a_failure_grows_from_its_onset_to_its_end_and_stays() {
    let [failing, healthy] = failing_and_healthy(6, 128);
    for machine in failing.machines() {
        let failure = machine.failure().unwrap();
        let sign = failure.change_db.signum();
        let life = failure.failure.since(failure.onset);
        let sizes = [0.1, 0.5, 0.8, 1.0]
            .map(|share| sign * change_db(&failing, &healthy, machine, failure.onset + life.mul_f64(share)));
        assert!(sizes.is_sorted_by(|a, b| a < b), "{sizes:?} {failure:?}");
        assert!(sizes[0] < 0.35 * sizes[3], "{sizes:?} {failure:?}");
    }
}

#[test]
fn kinds_show_where_their_physics_puts_them() {
    let [failing, _] = failing_and_healthy(1, 1024);
    for machine in failing.machines() {
        let failure = machine.failure().unwrap();
        let rpm = f64::from(readings(&failing, machine.index(), 0..1)[0].0.condition.rpm.unwrap());
        let rates = machine.bearing().rates(rpm / 60.0);
        let near = |hz: f64| {
            failure
                .bins
                .iter()
                .any(|bin| (failing.spec().bin_centre(*bin) - hz).abs() <= 25.0)
        };
        let shows = match failure.kind {
            FaultKind::OuterRace => near(rates.bpfo_hz),
            FaultKind::InnerRace => near(rates.bpfi_hz),
            FaultKind::Ball => near(2.0 * rates.bsf_hz),
            FaultKind::Imbalance => near(rates.shaft_hz) && failure.bins.iter().all(|bin| *bin < 40),
            FaultKind::Misalignment => near(2.0 * rates.shaft_hz),
            FaultKind::Looseness => near(1.5 * rates.shaft_hz),
            FaultKind::LubricationStarvation | FaultKind::MountingLoosened => failure.bins.contains(&1_000),
            FaultKind::LossOfLoad => true,
        };
        assert!(shows, "{:?} at {rates:?} shows in {:?}", failure.kind, failure.bins);
    }
}

#[test]
fn a_ramp_is_linear_in_decibels_in_its_bins_and_nowhere_else() {
    let mut ramped = Config { sensors: 2, ..small(8) };
    ramped.ramps.count = 2;
    ramped.ramps.rise_db = 9.0;
    let plain = Config { sensors: 2, ..small(8) };
    let [ramped, plain] = [ramped, plain].map(|config| Fleet::generate(config).unwrap());
    let mut places = BTreeSet::new();
    for machine in ramped.machines().iter().filter(|machine| machine.ramp().is_some()) {
        let ramp = machine.ramp().unwrap();
        assert_eq!(ramp.bins.len(), 3);
        places.insert(ramp.bins.start);
        for share in [-0.1, 0.25, 0.5, 1.0, 1.2] {
            let onset = ramp.onset.since(ramped.config().start);
            let since = onset.as_secs_f64() + share * 10.0 * DAY.as_secs_f64();
            let gains = gains_db(&ramped, &plain, machine.index(), (since / 600.0) as u64);
            for (bin, gain) in gains.iter().enumerate() {
                let expected = if ramp.bins.contains(&(bin % 64)) {
                    9.0 * share.clamp(0.0, 1.0)
                } else {
                    0.0
                };
                // Ten minutes of ten days are 0.006 dB.
                assert!(
                    (gain - expected).abs() < 0.01,
                    "{share}: bin {bin} {gain} against {expected}"
                );
            }
        }
    }
    assert_eq!(places.len(), 2, "each has a place of its own");
}
