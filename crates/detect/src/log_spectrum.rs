//! The logarithm every spectral detector looks through: ln(1 + s / s0).
//!
//! Amplitudes span decades, and a fault multiplies them; on a log axis it adds. `s0` (in the unit of
//! the spectrum, stated by its spec) is where the scale turns from linear to logarithmic, and keeps
//! the noise floor from dominating.
//!
//! The logarithm is computed here, by the polynomial of Cephes' `logf` (Moshier 1989), and not by the
//! C library: it vectorises, and it gives the same bits on every host. Its error is below 2e-7
//! relative on the whole range.

/// Fills `out` with ln(1 + s / s0).
///
/// `linear`: amplitudes of one or more spectra, non-negative, unit of `s0`. A negative amplitude
/// counts as zero; NaN stays NaN.
///
/// # Panics
/// If the two slices differ in length.
pub fn log_spectrum_into(linear: &[f32], s0: f32, out: &mut [f32]) {
    assert_eq!(linear.len(), out.len(), "amplitudes against logarithms");
    let scale = 1.0 / s0;
    for (log, &amplitude) in out.iter_mut().zip(linear) {
        let ratio = amplitude * scale;
        *log = if ratio > f32::MAX || ratio.is_nan() {
            ratio
        } else {
            ln_from_one(1.0 + ratio.max(0.0))
        };
    }
}

/// Natural logarithm of a finite number from 1 up.
#[inline]
fn ln_from_one(value: f32) -> f32 {
    /// Bits of sqrt(1/2): exponents are split so that the mantissa lies in [sqrt(1/2), sqrt(2)).
    const SQRT_HALF_BITS: u32 = 0x3f35_04f3;
    let offset = value.to_bits().wrapping_sub(SQRT_HALF_BITS);
    let exponent = ((offset as i32) >> 23) as f32;
    let mantissa = f32::from_bits((offset & 0x007f_ffff).wrapping_add(SQRT_HALF_BITS));
    let x = mantissa - 1.0;
    let square = x * x;
    let mut poly = 7.037_683_6e-2_f32;
    for coefficient in [
        -1.151_461e-1_f32,
        1.167_699_84e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_7e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        poly = poly * x + coefficient;
    }
    // ln 2 in two parts, the first exact in few bits, keeps the product with the exponent exact.
    let tail = x * square * poly + exponent * -2.121_944_4e-4 - 0.5 * square;
    (x + tail) + exponent * 0.693_359_4
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn log_of(amplitude: f32, s0: f32) -> f32 {
        let mut out = [0.0];
        log_spectrum_into(&[amplitude], s0, &mut out);
        out[0]
    }

    proptest! {
        #[test]
        fn the_logarithm_is_that_of_double_precision(exponent in -8.0_f64..30.0) {
            let amplitude = 10.0_f64.powf(exponent) as f32;
            let expected = f64::from(amplitude).ln_1p();
            // 1 + s is rounded to f32 first, which costs up to 6e-8 whatever the size of s.
            prop_assert!((f64::from(log_of(amplitude, 1.0)) - expected).abs() <= 2e-7 * expected + 6.1e-8);
        }
    }

    #[test]
    fn zero_is_exactly_zero_and_odd_values_do_not_panic() {
        assert_eq!(log_of(0.0, 1e-3).to_bits(), 0.0_f32.to_bits());
        assert_eq!(log_of(-1.0, 1e-3).to_bits(), 0.0_f32.to_bits());
        assert!(log_of(f32::NAN, 1e-3).is_nan());
        assert!(log_of(f32::INFINITY, 1e-3).is_infinite());
        assert!(log_of(f32::MAX, 1.0).is_finite());
    }

    #[test]
    fn the_same_data_in_another_unit_gives_the_same_logarithm() {
        assert!((log_of(0.25, 1e-3) - log_of(0.25 * 9.806_65, 9.806_65e-3)).abs() < 1e-6);
    }
}
