use super::*;
use tocsin_domain::{CanonicalSpectrum, SensorId};

/// A sensor of a machine whose codes swing by `swing`.
fn fitted(machine: i32, swing: u8) -> Fitted {
    let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
    let ready = ReadySensor {
        sensor: SensorId(machine),
        machine: MachineId(machine),
        class: ClassId(1),
        spec: SpecId(1),
        epoch: 1,
        zone_accepted: false,
        window: (at(0), at(99)),
    };
    fit(ready, &SpectrumSpec::corpus_default(64), &spectra(swing)).unwrap()
}

fn spectra(swing: u8) -> Vec<SpectrumColumn> {
    let column = |second: i64| SpectrumColumn {
        captured_at: Timestamp::from_micros(second * 1_000_000),
        spectrum: CanonicalSpectrum::from_codes(vec![180 + (second % 2) as u8 * swing; 64]),
        condition: Condition::default(),
    };
    (0..100).map(column).collect()
}

#[test]
fn a_sensor_whose_readings_tell_speed_and_load_gets_a_trend_that_is_stored() {
    let mut spectra = spectra(2);
    for (nth, column) in spectra.iter_mut().enumerate() {
        column.condition = Condition {
            rpm: Some(1_000.0 + 10.0 * nth as f32),
            load: Some(0.5),
            ..Condition::default()
        };
    }
    let fitted = fit(fitted(1, 2).ready, &SpectrumSpec::corpus_default(64), &spectra).unwrap();
    let stored = among(&[fitted]).profile.trend.expect("they tell it");
    let usual = Trend::from_bytes(&stored).unwrap().conditions().usual();
    assert!(
        (usual.rpm.unwrap() - 1_470.0).abs() < 30.0 && usual.load == Some(0.5),
        "{usual:?}"
    );
    assert_eq!(among(&[self::fitted(1, 2)]).profile.trend, None);
}

fn among(fits: &[Fitted]) -> NewBaseline {
    beside(fits, &[])
}

/// The first one's baseline among those of its class, with those of other classes beside.
fn beside(fits: &[Fitted], elsewhere: &[Fitted]) -> NewBaseline {
    let pool = |fits: &[Fitted]| pool(&fits.iter().collect::<Vec<_>>(), Vec::new());
    let others = OtherMachines::of(&fits[0], &pool(fits), &pool(elsewhere));
    baseline(&fits[0], &others, "test")
}

#[test]
fn a_fit_says_which_readings_it_was_made_of() {
    let fitted = fitted(1, 4);
    assert_eq!(
        (fitted.commissioned.readings(), fitted.window),
        (100, fitted.ready.window)
    );
    let wrong = SpectrumColumn {
        captured_at: fitted.window.0,
        spectrum: CanonicalSpectrum::from_codes(vec![1; 63]),
        condition: Condition::default(),
    };
    let refused = fit(fitted.ready, &SpectrumSpec::corpus_default(64), &[wrong])
        .err()
        .unwrap();
    assert!(refused.ends_with("has 63 bins"), "{refused}");
}

#[test]
fn a_large_round_is_pooled_over_all_its_machines_however_their_sensors_are_numbered() {
    let one = fitted(1, 2);
    let fits: Vec<Fitted> = (0..1_024)
        .map(|number| Fitted {
            ready: ReadySensor {
                sensor: SensorId(number),
                machine: MachineId(number % 4),
                ..one.ready
            },
            commissioned: one.commissioned.clone(),
            overall_level: one.overall_level,
            window: one.window,
        })
        .collect();
    let pool = pool(&fits.iter().collect::<Vec<_>>(), Vec::new());
    let of = |machine| pool.iter().filter(|(other, _)| *other == MachineId(machine)).count();
    assert_eq!([0, 1, 2, 3].map(of), [super::pool::MOST_POOLED / 4; 4]);
}

#[test]
fn three_other_machines_make_a_fleet_and_two_do_not() {
    let fits = [fitted(1, 2), fitted(2, 8), fitted(3, 8), fitted(4, 8)];
    let alone = among(&fits[..3]);
    assert_eq!(alone.pooled_machines, 0);
    assert!(
        alone.reason.starts_with("its own spread alone: 2 other machines"),
        "{}",
        alone.reason
    );
    assert_eq!(alone.profile.scale[0].to_bits(), alone.profile.spread[0].to_bits());
    let pooled = among(&fits);
    assert_eq!(pooled.pooled_machines, 3);
    assert!(
        pooled.profile.scale[0] > 1.5 * pooled.profile.spread[0],
        "it leans on the restless fleet"
    );
}

#[test]
fn a_class_of_few_machines_borrows_from_the_others_with_its_spec_and_says_so() {
    let few = [fitted(1, 2), fitted(2, 8), fitted(3, 8)];
    let elsewhere = [fitted(4, 8)];
    let borrowed = beside(&few, &elsewhere);
    assert_eq!(borrowed.pooled_machines, 3, "two of its own class, one of another");
    let said = "borrowed from all classes of the same specification, widened by 1.5: 2 other machines of the class";
    assert!(borrowed.reason.contains(said), "{}", borrowed.reason);
    // A hundred readings: half of its scale is the fleet's.
    let own = among(&few).profile.spread[0];
    let fleet = among(&[fitted(1, 8)]).profile.spread[0];
    let expected = 0.5 * own + 0.5 * crate::lending::WIDENED * fleet;
    let scale = borrowed.profile.scale[0];
    assert!((scale - expected).abs() < 1e-5, "{scale} for {expected}");

    let enough = [fitted(1, 2), fitted(2, 8), fitted(3, 8), fitted(4, 8)];
    assert_eq!(
        beside(&enough, &[fitted(5, 60)]),
        among(&enough),
        "three others of its class need nobody else"
    );
    let alone = beside(&few[..2], &elsewhere);
    assert!(
        alone.reason.ends_with("2 of the same specification"),
        "{}",
        alone.reason
    );
    assert_eq!((alone.pooled_machines, alone.profile.scale), (0, alone.profile.spread));
}
