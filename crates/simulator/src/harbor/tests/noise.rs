//! Noise: chi-squared over bins, narrow at lines, independent, and right for any number of bins.

use super::*;

/// Amplitudes of one machine bin by bin: `[bin][reading]`.
fn by_bin(config: Config, machine: usize, count: u64) -> Vec<Vec<f64>> {
    let fleet = Fleet::generate(config).unwrap();
    let rows = readings(&fleet, machine, 0..count);
    (0..fleet.row_length())
        .map(|bin| rows.iter().map(|(_, bins)| f64::from(bins[bin])).collect())
        .collect()
}

/// A machine that does not even vary from stretch to stretch.
fn still(seed: u64, bins: u16) -> Config {
    let mut config = Config {
        bins,
        interval: Duration::from_secs(1),
        ..steady(seed)
    };
    config.duty.dwell = [DAY, DAY];
    config
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Variance of power over its squared mean: one over the pairs of a chi-squared.
fn relative_variance(amplitudes: &[f64]) -> f64 {
    let powers: Vec<f64> = amplitudes.iter().map(|s| s * s).collect();
    let mean = mean(&powers);
    powers.iter().map(|p| (p / mean - 1.0).powi(2)).sum::<f64>() / powers.len() as f64
}

#[test]
fn noise_bins_scatter_as_the_lines_behind_them_ask_and_lines_stand_still() {
    for (bins, pairs) in [(64, 1_280.0 / 64.0 / 1.5), (128, 1_280.0 / 128.0 / 1.5), (1_024, 1.0)] {
        let amplitudes = by_bin(still(1, bins), 2, 8_000);
        let quiet = &amplitudes[usize::from(bins) * 15 / 16];
        let scatter = relative_variance(quiet) * pairs;
        assert!((scatter - 1.0).abs() < 0.1, "{bins} bins: {scatter}");
        let steadiest = amplitudes
            .iter()
            .map(|bin| relative_variance(bin) * pairs)
            .fold(9.0, f64::min);
        assert!(steadiest < 0.5, "{bins} bins: {steadiest}");
    }
}

#[test]
fn averages_narrow_the_scatter() {
    let averaged = Config {
        averages: 4,
        ..still(1, 64)
    };
    let [one, four] = [still(1, 64), averaged].map(|config| relative_variance(&by_bin(config, 2, 8_000)[60]));
    assert!((one / four - 4.0).abs() < 0.4, "{one} {four}");
}

#[test]
fn bins_and_successive_readings_are_independent() {
    let amplitudes = by_bin(still(3, 64), 1, 8_000);
    let centred = |bin: usize| -> Vec<f64> {
        let (mean, deviation) = (mean(&amplitudes[bin]), relative_variance(&amplitudes[bin]).sqrt() / 2.0);
        amplitudes[bin].iter().map(|s| (s / mean - 1.0) / deviation).collect()
    };
    let (this, next) = (centred(50), centred(51));
    let correlation = |a: &[f64], b: &[f64]| mean(&a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<_>>());
    assert!(correlation(&this, &next).abs() < 0.05);
    assert!(correlation(&this[1..], &this).abs() < 0.05);
    let distinct: BTreeSet<u64> = this.iter().map(|z| z.to_bits()).collect();
    assert!(distinct.len() > 7_900, "{} distinct amplitudes", distinct.len());
}

#[test]
fn broadband_noise_is_the_same_in_bins_of_any_width_and_tones_rise_out_of_narrow_ones() {
    let level = |bins: u16| {
        let amplitudes = by_bin(still(1, bins), 2, 400);
        let powers: Vec<f64> = amplitudes
            .iter()
            .map(|bin| mean(&bin.iter().map(|s| s * s).collect::<Vec<_>>()))
            .collect();
        let top = &powers[powers.len() * 7 / 8..];
        (mean(top), powers.iter().copied().fold(0.0, f64::max) / mean(top))
    };
    let (wide, narrow) = (level(64), level(1_024));
    assert!((wide.0 / narrow.0 - 1.0).abs() < 0.05, "{wide:?} {narrow:?}");
    assert!(narrow.1 > 10.0 * wide.1, "{wide:?} {narrow:?}");
}

#[test]
fn transients_raise_broadband_noise_and_pass() {
    let mut busy = still(2, 64);
    busy.transients.per_day = 24.0;
    let day = 86_400;
    let [busy, quiet] = [busy, still(2, 64)].map(|config| by_bin(config, 0, day)[60].clone());
    let gains: Vec<f64> = busy
        .iter()
        .zip(&quiet)
        .map(|(busy, quiet)| 20.0 * (busy / quiet).log10())
        .collect();
    let raised = gains.iter().filter(|gain| **gain > 2.0).count();
    // One begins in every hour and lasts 16 s on average; some reach into the next day.
    assert!((250..520).contains(&raised), "{raised} s of a day");
    assert!(gains.iter().all(|gain| *gain == 0.0 || (2.0..12.0).contains(gain)));
}

#[test]
fn healthy_amplitudes_lie_between_floor_and_full_scale() {
    let fleet = Fleet::generate(Config {
        machines: 60,
        ..small(9)
    })
    .unwrap();
    let mut amplitudes: Vec<f32> = (0..60)
        .flat_map(|machine| readings(&fleet, machine, 0..300))
        .flat_map(|(_, bins)| bins)
        .collect();
    amplitudes.sort_by(f32::total_cmp);
    let (least, most) = (amplitudes[0], amplitudes[amplitudes.len() - 1]);
    assert!(least > 0.0003 && most < 5.0, "{least} {most}");
}
