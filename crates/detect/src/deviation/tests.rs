use super::*;
use proptest::prelude::*;

/// A flat spectrum with `bins` bins raised to `z` from `at` on.
fn raised(len: usize, at: usize, bins: usize, z: f32) -> Vec<f32> {
    let mut spectrum = vec![0.0; len];
    spectrum[at..at + bins].fill(z);
    spectrum
}

#[test]
fn growth_sees_what_rose_and_shift_what_fell_as_well() {
    assert!((growth(&[2.0; 64]) - 2.0).abs() < 1e-6);
    assert_eq!(growth(&[-2.0; 64]), 0.0);
    assert!((shift(&[-2.0; 64]) - 2.0).abs() < 1e-6);
    assert!(
        (growth(&raised(64, 10, 16, 4.0)) - 2.0).abs() < 1e-6,
        "a quarter of the bins, half the growth"
    );
}

#[test]
fn a_line_stands_out_and_a_region_that_rises_as_one_does_not() {
    for at in [0, 1, 31, 63, 100, 127] {
        assert_eq!(narrowband(&raised(128, at, 1, 8.0)), 8.0, "line at {at}");
    }
    assert_eq!(narrowband(&[5.0; 64]), 0.0);
    assert_eq!(
        narrowband(&raised(64, 20, 4, 8.0)),
        8.0,
        "four bins of nine are fewer than half"
    );
    assert_eq!(narrowband(&raised(64, 20, 16, 8.0)), 0.0, "a region is growth's to see");
}

#[test]
fn a_line_that_hardly_moved_when_it_was_learned_counts_in_the_scale_of_the_median_bin() {
    let mut scale = [0.2; 64];
    (scale[20], scale[40]) = (0.01, 0.4);
    let weights = line_weights(&scale);
    assert_eq!((weights[3], weights[20], weights[40]), (1.0, 0.01 / 0.2, 1.0));
    let of = |at: usize| {
        let mut scores = Scores::default();
        score_into(&raised(64, at, 1, 8.0), &weights, &mut scores);
        [Detector::Narrowband, Detector::Shift].map(|detector| scores.get(detector).unwrap())
    };
    assert_eq!(of(3), [8.0, 1.0]);
    assert_eq!(of(40), [8.0, 1.0]);
    assert!((of(20)[0] - 0.4).abs() < 1e-6 && of(20)[1] == 1.0, "{:?}", of(20));
    let mut shares = raised(64, 20, 2, 8.0);
    shares_in_place(Detector::Narrowband, &mut shares, &weights);
    assert!(shares[21] > 0.99, "{shares:?}");
}

#[test]
fn bins_share_what_a_detector_sees_of_them() {
    let shares = |by| {
        let mut z = [3.0, -4.0, 0.0, 1.0];
        shares_in_place(by, &mut z, &[1.0; 4]);
        z
    };
    assert_eq!(shares(Detector::Growth), [0.9, 0.0, 0.0, 0.1]);
    assert_eq!(shares(Detector::Narrowband), shares(Detector::Growth));
    assert_eq!(
        shares(Detector::Shift),
        [9.0, 16.0, 0.0, 1.0].map(|weight| weight / 26.0)
    );
    let mut quiet = [-1.0, -2.0];
    shares_in_place(Detector::Growth, &mut quiet, &[1.0; 2]);
    assert_eq!(quiet, [0.0, 0.0]);
}

#[test]
fn short_and_empty_spectra_have_a_score() {
    assert_eq!((growth(&[]), shift(&[]), narrowband(&[])), (0.0, 0.0, 0.0));
    assert_eq!(narrowband(&[1.0, -3.0]), 1.0);
}

#[test]
fn a_band_that_rises_counts_for_more_than_its_share_and_a_spectrum_that_rises_as_one_does_not() {
    for bins in [64, 128, 1024] {
        let band = raised(bins, bins / 2, bins / 8, 4.0);
        let expected = BAND_WEIGHT * ((bins / 8) as f32).sqrt() * 4.0;
        assert!(
            (growth(&band) - expected).abs() < 1e-3 && growth(&band) > rise(&band),
            "{bins}"
        );
        assert!((growth(&vec![3.0; bins]) - 3.0).abs() < 1e-5);
    }
    assert_eq!(
        growth(&raised(24, 4, 3, 4.0)),
        rise(&raised(24, 4, 3, 4.0)),
        "three lines are no band"
    );
}

/// The definition, band by band.
fn band_rise_plainly(z: &[f32]) -> f32 {
    let (width, reach, last) = (z.len() / 8, z.len() as isize / 4 - 1, z.len() as isize - 1);
    let mirrored = |at: isize| z[if at > last { 2 * last - at } else { at.abs() } as usize];
    let rise = |start: usize| {
        let centre = (start + width / 2) as isize;
        let mut around: Vec<f32> = (centre - reach..=centre + reach).map(mirrored).collect();
        around.sort_by(f32::total_cmp);
        let mean = z[start..start + width].iter().map(|z| f64::from(*z)).sum::<f64>() / width as f64;
        mean as f32 - around[reach as usize]
    };
    (0..=z.len() - width).map(rise).fold(0.0, f32::max)
}

/// The definition, bin by bin.
fn narrowband_plainly(z: &[f32]) -> f32 {
    let last = z.len() as isize - 1;
    let mirrored = |at: isize| {
        z[(if at < 0 {
            -at
        } else if at > last {
            2 * last - at
        } else {
            at
        }) as usize]
    };
    let rise = |at: isize| {
        let mut around: Vec<f32> = (at - 4..=at + 4).map(mirrored).collect();
        around.sort_by(f32::total_cmp);
        z[at as usize] - around[4]
    };
    (0..=last).map(rise).fold(0.0, f32::max)
}

proptest! {
    #[test]
    fn the_rise_of_a_band_is_its_definition(z in prop::collection::vec(-20.0_f32..20.0, 32..300)) {
        let plainly = band_rise_plainly(&z);
        prop_assert!((band_rise(&z, 0.0) - plainly).abs() < 1e-4);
        prop_assert!((band_rise(&z, 3.0) - plainly.max(3.0)).abs() < 1e-4);
    }

    #[test]
    fn narrowband_is_its_definition(z in prop::collection::vec(-20.0_f32..20.0, 9..300)) {
        prop_assert_eq!(narrowband(&z), narrowband_plainly(&z));
    }

    #[test]
    fn all_scale_with_the_deviations(z in prop::collection::vec(-20.0_f32..20.0, 0..200)) {
        let doubled: Vec<f32> = z.iter().map(|z| 2.0 * z).collect();
        for statistic in [growth, shift, narrowband] {
            prop_assert!((statistic(&doubled) - 2.0 * statistic(&z)).abs() <= 1e-4 * statistic(&doubled));
        }
    }

    #[test]
    fn the_rise_never_exceeds_shift_and_never_falls_when_a_bin_rises(
        z in prop::collection::vec(-20.0_f32..20.0, 1..200), at in 0_usize..200, by in 0.0_f32..9.0,
    ) {
        prop_assert!(rise(&z) <= shift(&z) * 1.000_01);
        let mut risen = z.clone();
        risen[at % z.len()] += by;
        prop_assert!(rise(&risen) >= rise(&z) * 0.999_99);
    }
}
