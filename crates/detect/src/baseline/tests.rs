use super::*;
use proptest::prelude::*;

/// Rows of two bins: one that climbs from 0 to 1, one that stands at 3.
fn climbing(count: usize) -> Vec<f32> {
    (0..count)
        .flat_map(|at| [at as f32 / (count - 1) as f32, 3.0])
        .collect()
}

fn fit(values: &[f32]) -> Commissioned {
    Commissioned::fit(Rows::new(values, 2).unwrap(), &[]).unwrap()
}

#[test]
fn a_baseline_is_the_median_and_the_spread_of_each_bin() {
    let sensor = fit(&climbing(101));
    assert_eq!((sensor.median(), sensor.readings()), ([0.5, 3.0].as_slice(), 101));
    assert!(
        (sensor.spread()[0] - 0.25 * 1.4826).abs() < 1e-3,
        "{:?}",
        sensor.spread()
    );
    let baseline = sensor.baseline(None, KAPPA);
    assert_eq!(baseline.scale()[1], SCALE_FLOOR, "a bin that never moved keeps a scale");
}

#[test]
fn one_wild_reading_in_ten_moves_neither_median_nor_spread_by_much() {
    let mut values = climbing(101);
    let clean = fit(&values).baseline(None, KAPPA);
    for row in values.chunks_mut(2).step_by(10) {
        row[0] = 1e6;
    }
    let wild = fit(&values).baseline(None, KAPPA);
    assert!((wild.median()[0] - clean.median()[0]).abs() < 0.1);
    assert!(wild.scale()[0] < 1.3 * clean.scale()[0]);
}

#[test]
fn few_readings_lean_on_the_fleet_and_many_on_themselves() {
    let fleet = Fleet::of([&fit(&climbing(101))]).unwrap();
    let quiet = |count: usize| {
        let values: Vec<f32> = climbing(count).iter().map(|v| v * 0.1).collect();
        fit(&values).baseline(Some(&fleet), KAPPA).scale()[0] / fleet.spread()[0]
    };
    assert!((quiet(101) - 0.55).abs() < 0.02, "{}", quiet(101));
    assert!(quiet(20) > 0.8 && quiet(5_000) < 0.13);
}

#[test]
fn a_fleet_lends_its_spread_wider_and_its_weight_as_ever() {
    let sensor = fit(&climbing(100));
    let fleet = Fleet::of([&sensor]).unwrap();
    let own = sensor.baseline(Some(&fleet), KAPPA).scale()[0];
    let lent = sensor.baseline(Some(&fleet.lent(1.5)), KAPPA).scale()[0];
    assert!(
        (lent / own - 1.25).abs() < 1e-5,
        "half of it is the fleet's: {lent} against {own}"
    );
}

#[test]
fn the_fleets_spread_is_the_median_sensors() {
    let sensors: Vec<Commissioned> = [1.0, 2.0, 50.0]
        .map(|gain| fit(&climbing(101).iter().map(|v| v * gain).collect::<Vec<_>>()))
        .into();
    let spread = Fleet::of(&sensors).unwrap();
    assert!((spread.spread()[0] - 2.0 * sensors[0].spread()[0]).abs() < 1e-5);
    assert_eq!(Fleet::of([]), None);
}

#[test]
fn too_few_readings_and_broken_numbers_are_refused() {
    let few = climbing(19);
    let error = Commissioned::fit(Rows::new(&few, 2).unwrap(), &[]).unwrap_err();
    assert_eq!(
        error,
        FitError::TooFewRows {
            have: 19,
            need: MIN_READINGS
        }
    );
    assert_eq!(Baseline::new(vec![], vec![], None).unwrap_err().field, "median");
    assert_eq!(
        Baseline::new(vec![f32::NAN], vec![1.0], None).unwrap_err().field,
        "median"
    );
    assert_eq!(Baseline::new(vec![1.0], vec![], None).unwrap_err().field, "scale");
    assert_eq!(Baseline::new(vec![1.0], vec![0.0], None).unwrap_err().field, "scale");
    let parts = |spread: f32| Commissioned::from_parts(vec![1.0], vec![spread], 100, None);
    assert_eq!(parts(-0.1).unwrap_err().field, "spread");
    assert_eq!(parts(0.0).unwrap().readings(), 100);
    let json = r#"{"median": [1.0, 2.0], "scale": [0.1, 0.2]}"#;
    assert_eq!(serde_json::from_str::<Baseline>(json).unwrap().bins(), 2);
}

proptest! {
    #[test]
    fn the_median_has_as_many_values_below_as_above(mut values in prop::collection::vec(-1e3_f32..1e3, 1..60)) {
        let all = values.clone();
        let middle = median(&mut values);
        let below = all.iter().filter(|v| **v < middle).count();
        let above = all.iter().filter(|v| **v > middle).count();
        prop_assert!(below <= all.len() / 2 && above <= all.len() / 2);
    }

    #[test]
    fn a_spectrum_at_its_baseline_deviates_nowhere(
        (median, scale) in (1_usize..40).prop_flat_map(|bins| (
            prop::collection::vec(0.0_f32..10.0, bins),
            prop::collection::vec(0.01_f32..2.0, bins),
        )),
    ) {
        let baseline = Baseline::new(median.clone(), scale.clone(), None).unwrap();
        let mut z = vec![9.0; median.len()];
        baseline.deviations_into(&median, Offset::default(), &mut z);
        prop_assert!(z.iter().all(|z| *z == 0.0));
        let one_up: Vec<f32> = median.iter().zip(&scale).map(|(m, s)| m + s).collect();
        baseline.deviations_into(&one_up, Offset::default(), &mut z);
        prop_assert!(z.iter().all(|z| (z - 1.0).abs() < 1e-3));
    }
}
