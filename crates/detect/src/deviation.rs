//! One number from a spectrum's deviations z from its sensor's [baseline](crate::baseline): how much it grew, how far it
//! shifted, how sharply a line stands out.
//!
//! - **Growth** sqrt(mean(max(z, 0)^2)): one-sided, as most faults add energy. Dilutes what touches few bins by the root
//!   of their share.
//! - **Shift** sqrt(mean(z^2)): two-sided, as some faults (a loose mounting, lost load) are quieter than healthy.
//! - **Narrowband** max(z - median of the bin and its neighbours): a fault in one line, which growth dilutes; what lifts
//!   a whole region at once (load, speed) lifts the median as well and is not seen.
//!
//! **Invariant:** each is finite for finite z, zero for z = 0 everywhere, and scales with z.

use tocsin_domain::Detector;

use crate::lanes::dot;

/// Bins on either side that a line is held against: with its own, nine.
const NEIGHBOURS: usize = 4;
const WINDOW: usize = 2 * NEIGHBOURS + 1;

/// One-sided root mean square of the deviations.
pub fn growth(z: &[f32]) -> f32 {
    let mut sum = 0.0_f32;
    for chunk in z.chunks(CHUNK) {
        let mut risen = [0.0_f32; CHUNK];
        for (risen, z) in risen.iter_mut().zip(chunk) {
            *risen = z.max(0.0);
        }
        sum += dot(&risen, &risen);
    }
    (sum / z.len().max(1) as f32).sqrt()
}

/// Two-sided root mean square of the deviations.
pub fn shift(z: &[f32]) -> f32 {
    (dot(z, z) / z.len().max(1) as f32).sqrt()
}

/// Turns deviations into what each bin adds to what `by` saw, as shares that sum to one: of z^2, but nothing where z is
/// below zero unless `by` looks both ways, as shift does. All zero when nothing stands out.
pub fn shares_in_place(by: Detector, z: &mut [f32]) {
    for z in &mut *z {
        let seen = if by == Detector::Shift { *z } else { z.max(0.0) };
        *z = seen * seen;
    }
    let total: f64 = z.iter().map(|weight| f64::from(*weight)).sum();
    for weight in z {
        *weight = if total > 0.0 {
            (f64::from(*weight) / total) as f32
        } else {
            0.0
        };
    }
}

/// Bins taken at a time: a whole spectrum of the usual size, so that the working arrays live on the stack.
const CHUNK: usize = 64;

/// Greatest rise of a bin over the median of the nine bins around it, mirrored at the ends. At least 0: in any nine
/// there is one at their median. Below nine bins there is no neighbourhood, and the rise is over zero.
pub fn narrowband(z: &[f32]) -> f32 {
    if z.len() < WINDOW {
        return z.iter().copied().fold(0.0, f32::max);
    }
    // Local medians of `CHUNK` neighbouring bins side by side: the sorting network runs on whole arrays.
    let mut padded = vec![0.0_f32; z.len().next_multiple_of(CHUNK) + 2 * NEIGHBOURS];
    padded[NEIGHBOURS..][..z.len()].copy_from_slice(z);
    for at in 1..=NEIGHBOURS {
        padded[NEIGHBOURS - at] = z[at];
        padded[NEIGHBOURS + z.len() - 1 + at] = z[z.len() - 1 - at];
    }
    let mut greatest = 0.0_f32;
    for (at, bins) in z.chunks(CHUNK).enumerate() {
        let medians = local_medians(&padded[at * CHUNK..][..CHUNK + 2 * NEIGHBOURS]);
        for (z, median) in bins.iter().zip(medians) {
            greatest = greatest.max(z - median);
        }
    }
    greatest
}

/// Median of nine for each of [`CHUNK`] places, by Paeth's network of 19 exchanges (Graphics Gems I, 1990).
fn local_medians(padded: &[f32]) -> [f32; CHUNK] {
    const EXCHANGES: [(usize, usize); 19] = [
        (1, 2),
        (4, 5),
        (7, 8),
        (0, 1),
        (3, 4),
        (6, 7),
        (1, 2),
        (4, 5),
        (7, 8),
        (0, 3),
        (5, 8),
        (4, 7),
        (3, 6),
        (1, 4),
        (2, 5),
        (4, 7),
        (4, 2),
        (6, 4),
        (4, 2),
    ];
    let mut columns = [[0.0_f32; CHUNK]; WINDOW];
    for (at, column) in columns.iter_mut().enumerate() {
        column.copy_from_slice(&padded[at..][..CHUNK]);
    }
    for (low, high) in EXCHANGES {
        let (a, b) = (columns[low], columns[high]);
        for at in 0..CHUNK {
            columns[low][at] = a[at].min(b[at]);
            columns[high][at] = a[at].max(b[at]);
        }
    }
    columns[NEIGHBOURS]
}

#[cfg(test)]
mod tests {
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
    fn bins_share_what_a_detector_sees_of_them() {
        let shares = |by| {
            let mut z = [3.0, -4.0, 0.0, 1.0];
            shares_in_place(by, &mut z);
            z
        };
        assert_eq!(shares(Detector::Growth), [0.9, 0.0, 0.0, 0.1]);
        assert_eq!(shares(Detector::Narrowband), shares(Detector::Growth));
        assert_eq!(
            shares(Detector::Shift),
            [9.0, 16.0, 0.0, 1.0].map(|weight| weight / 26.0)
        );
        let mut quiet = [-1.0, -2.0];
        shares_in_place(Detector::Growth, &mut quiet);
        assert_eq!(quiet, [0.0, 0.0]);
    }

    #[test]
    fn short_and_empty_spectra_have_a_score() {
        assert_eq!((growth(&[]), shift(&[]), narrowband(&[])), (0.0, 0.0, 0.0));
        assert_eq!(narrowband(&[1.0, -3.0]), 1.0);
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
        fn growth_never_exceeds_shift_and_never_falls_when_a_bin_rises(
            z in prop::collection::vec(-20.0_f32..20.0, 1..200), at in 0_usize..200, rise in 0.0_f32..9.0,
        ) {
            prop_assert!(growth(&z) <= shift(&z) * 1.000_01);
            let mut risen = z.clone();
            risen[at % z.len()] += rise;
            prop_assert!(growth(&risen) >= growth(&z) * 0.999_99);
        }
    }
}
