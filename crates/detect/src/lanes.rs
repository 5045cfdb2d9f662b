//! Sums in a fixed order that the compiler can vectorise.
//!
//! A plain sum of floats may not be reordered by the compiler, so it runs one addition at a time.
//! Here the order is chosen by hand: [`LANES`] partial sums side by side, folded pairwise at the
//! end. It depends on the length alone, hence the same bits on every call.

/// Partial sums kept side by side: four SSE or two AVX registers of `f32`.
const LANES: usize = 16;

/// Sum of `term(a[i], b[i])`.
#[inline]
fn sum_of(left: &[f32], right: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    assert_eq!(left.len(), right.len(), "both sides of a sum have one length");
    let (left_chunks, left_rest) = left.as_chunks::<LANES>();
    let (right_chunks, right_rest) = right.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in left_chunks.iter().zip(right_chunks) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += term(a, b);
        }
    }
    for ((sum, &a), &b) in sums.iter_mut().zip(left_rest).zip(right_rest) {
        *sum += term(a, b);
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        let (low, high) = sums.split_at_mut(width);
        for (a, b) in low.iter_mut().zip(high) {
            *a += *b;
        }
    }
    sums[0]
}

/// Inner product of two slices of one length.
#[inline]
pub(crate) fn dot(left: &[f32], right: &[f32]) -> f32 {
    sum_of(left, right, |a, b| a * b)
}

/// Sum of squared differences of two slices of one length.
#[inline]
pub(crate) fn squared_distance(left: &[f32], right: &[f32]) -> f32 {
    sum_of(left, right, |a, b| (a - b) * (a - b))
}

/// Sum of squares in `f64`, whose range no `f32` amplitude can leave.
#[inline]
pub(crate) fn sum_of_squares(values: &[f32]) -> f64 {
    const WIDE: usize = 8;
    let (chunks, rest) = values.as_chunks::<WIDE>();
    let mut sums = [0.0_f64; WIDE];
    for chunk in chunks {
        for (sum, &value) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(value) * f64::from(value);
        }
    }
    for (sum, &value) in sums.iter_mut().zip(rest) {
        *sum += f64::from(value) * f64::from(value);
    }
    let pairs = [
        sums[0] + sums[4],
        sums[1] + sums[5],
        sums[2] + sums[6],
        sums[3] + sums[7],
    ];
    (pairs[0] + pairs[2]) + (pairs[1] + pairs[3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_agree_with_plain_double_precision(pairs in prop::collection::vec((-10.0_f32..10.0, -10.0_f32..10.0), 0..200)) {
            let (left, right): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let product: f64 = pairs.iter().map(|&(a, b)| f64::from(a) * f64::from(b)).sum();
            let distance: f64 = pairs.iter().map(|&(a, b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
            let squares: f64 = left.iter().map(|&a| f64::from(a).powi(2)).sum();
            prop_assert!((f64::from(dot(&left, &right)) - product).abs() < 0.02);
            prop_assert!((f64::from(squared_distance(&left, &right)) - distance).abs() <= 1e-5 * distance + 1e-6);
            prop_assert!((sum_of_squares(&left) - squares).abs() <= 1e-12 * squares);
        }
    }
}
