//! Which bins decide: the fewest, by what they add to what a detector saw, without which a reading would have been calm.

use tocsin_domain::Detector;

use super::shares_in_place;

/// Bins that are tried at first, and the factor by which more are.
const FIRST: usize = 5;

/// How many of the bins with the greatest shares (as by [`shares_in_place`] of deviations and their weights as lines,
/// greatest first, the lower bin of equals) must stand at the baseline (deviation 0) for `is_calm` to say of the deviations
/// that are left that they are no cause for a page: 5 times a power of two, at most `most`. Nothing when `most` are not
/// enough, or when `by` is no detector of deviations.
pub fn decisive_bins(
    by: Detector,
    (z, weights): (&[f32], &[f32]),
    most: usize,
    is_calm: impl Fn(&[f32]) -> bool,
) -> Option<usize> {
    if !by.needs_baseline() {
        return None;
    }
    let order = by_share(by, z, weights);
    let mut calmed = z.to_vec();
    let (mut done, mut count, most) = (0, FIRST.min(most), most.min(z.len()));
    loop {
        count = count.min(most);
        for bin in &order[done..count] {
            calmed[*bin] = 0.0;
        }
        if is_calm(&calmed) {
            return Some(count);
        }
        if count == most {
            return None;
        }
        (done, count) = (count, 2 * count);
    }
}

/// The bins, those that add most first.
fn by_share(by: Detector, z: &[f32], weights: &[f32]) -> Vec<usize> {
    let mut shares = z.to_vec();
    shares_in_place(by, &mut shares, weights);
    let mut order: Vec<usize> = (0..z.len()).collect();
    order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
    order
}

#[cfg(test)]
mod tests {
    use super::super::{growth, narrowband, shift};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_decided_by_its_bin_and_a_rise_of_everything_by_most_bins() {
        let mut line = vec![0.1; 64];
        line[20] = 30.0;
        let calm = |z: &[f32]| growth(z) < 3.0;
        let decisive = |by, z: &[f32], most| decisive_bins(by, (z, &vec![1.0; z.len()]), most, calm);
        assert_eq!(decisive(Detector::Growth, &line, 64), Some(5));
        assert_eq!(decisive(Detector::Growth, &[4.0; 64], 64), Some(40));
        assert_eq!(decisive(Detector::Growth, &[40.0; 64], 20), None);
        assert_eq!(decisive(Detector::Residual, &line, 64), None);
        assert_eq!(decisive(Detector::Growth, &[], 64), Some(0));
    }

    proptest! {
        #[test]
        fn with_the_decisive_bins_at_the_baseline_no_detector_pages(
            z in prop::collection::vec(-5.0_f32..40.0, 32..300), line in 0.5_f32..20.0,
        ) {
            for by in [Detector::Growth, Detector::Shift, Detector::Narrowband] {
                let greatest = |z: &[f32]| growth(z).max(shift(z)).max(narrowband(z));
                let count = decisive_bins(by, (&z, &vec![1.0; z.len()]), z.len(), |z| greatest(z) < line);
                let count = count.expect("without any deviation every score is zero");
                let mut calmed = z.clone();
                by_share(by, &z, &vec![1.0; z.len()])[..count].iter().for_each(|bin| calmed[*bin] = 0.0);
                let score = greatest(&calmed);
                prop_assert!(score < line, "{by}: {score} of {count} bins");
            }
        }
    }
}
