//! Spectra over orders: what turns with the shaft stands still, and the structure wanders.

use tocsin_domain::spec::Axis;

use super::*;

/// A machine whose speed changes by up to 30 %, on an axis of 1,024 bins with little noise.
fn swinging(axis: Axis) -> Config {
    let mut config = Config {
        bins: 1_024,
        averages: 64,
        axis,
        ..steady(6)
    };
    config.duty.speed_swing = 0.3;
    config
}

/// The loudest bin of the first 40, which hold the pump's first orders and no vane pass, in each reading.
fn loudest(axis: Axis) -> BTreeSet<usize> {
    let fleet = Fleet::generate(swinging(axis)).unwrap();
    let rows = readings(&fleet, 0, 0..500);
    let loudest = rows.iter().map(|(_, bins)| {
        let first = bins[..40].iter().enumerate();
        first.max_by(|a, b| a.1.total_cmp(b.1)).map(|(bin, _)| bin).unwrap()
    });
    loudest.collect()
}

#[test]
fn a_shaft_line_stays_in_its_order_bins_when_the_speed_changes_and_wanders_over_hertz() {
    // Bins of an eighth of an order: the first lies on the edge between two.
    assert_eq!(loudest(Axis::Orders), BTreeSet::from([7, 8]));
    let over_hertz = loudest(Axis::Hertz);
    assert!(over_hertz.len() >= 3 && !over_hertz.contains(&8), "{over_hertz:?}");
}

#[test]
fn a_resonance_stays_at_its_frequency_over_orders() {
    let fleet = Fleet::generate(swinging(Axis::Orders)).unwrap();
    let machine = &fleet.machines()[0];
    let spec = fleet.spec();
    assert_eq!((spec.axis, spec.f_max), (Axis::Orders, 128.0));
    let peak_hz = |shaft_hz: f64| {
        let response = machine.channels[0].response(spec, shaft_hz);
        let peak = (0..256).max_by(|a, b| response.resonance[*a].total_cmp(&response.resonance[*b]));
        spec.bin_centre(peak.unwrap()) * shaft_hz
    };
    // A pump rings at 1.8 kHz, within 3 %; a bin is up to 8 Hz wide.
    for shaft_hz in [60.0, 64.0] {
        assert!((peak_hz(shaft_hz) - 1_800.0).abs() < 62.0, "{}", peak_hz(shaft_hz));
    }
    assert!((peak_hz(60.0) - peak_hz(64.0)).abs() < 8.0);
}

#[test]
fn averages_narrow_narrow_bins_as_well() {
    let spread = |averages: u16| {
        let mut config = Config {
            averages,
            interval: Duration::from_secs(1),
            ..swinging(Axis::Orders)
        };
        config.duty.speed_swing = 0.0;
        config.duty.dwell = [DAY, DAY];
        let fleet = Fleet::generate(config).unwrap();
        let logs: Vec<f64> = readings(&fleet, 0, 0..4_000)
            .iter()
            .map(|(_, bins)| f64::from(bins[700].ln()))
            .collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        (logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / logs.len() as f64).sqrt()
    };
    let narrower = spread(4) / spread(64);
    assert!((narrower - 4.0).abs() < 0.3, "{narrower}");
}
