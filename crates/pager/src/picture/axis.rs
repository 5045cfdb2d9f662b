//! Where the ticks of an axis stand, and what they are called.

/// Round places on a linear axis from `from` to `to`: multiples of 1, 2 or 5 times a power of ten, about `about` of them.
pub(super) fn linear(from: f64, to: f64, about: u32) -> Vec<f64> {
    let rough = (to - from) / f64::from(about.max(1));
    if !(rough.is_finite() && rough > 0.0) {
        return Vec::new();
    }
    let power = 10f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0];
    let step = power * times.into_iter().find(|times| power * times >= rough).unwrap_or(10.0);
    let (first, last) = ((from / step).ceil() as i64, (to / step).floor() as i64);
    (first..=last).map(|count| count as f64 * step).collect()
}

/// Places on a logarithmic axis: the powers of ten, and twice and five times them where there are few.
pub(super) fn logarithmic(from: f64, to: f64) -> Vec<f64> {
    let (lowest, highest) = (from.log10().floor() as i32, to.log10().ceil() as i32);
    let times: &[f64] = if to / from < 200.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let places = (lowest..=highest).flat_map(|power| times.iter().map(move |times| times * 10f64.powi(power)));
    places.filter(|place| (from..=to).contains(place)).collect()
}

/// A tick's name: at most six characters.
pub(super) fn name(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(0.001..100_000.0).contains(&size) {
        return format!("{value:.0e}");
    }
    // Ticks are round: what is beyond the fourth place is the machine's.
    let rounded = (value * 10_000.0).round() / 10_000.0;
    format!("{rounded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_axis() {
        assert_eq!(linear(0.0, 6_400.0, 6), [0.0, 2_000.0, 4_000.0, 6_000.0]);
        assert_eq!(
            linear(0.2, 1.3, 6),
            [1, 2, 3, 4, 5, 6].map(|times| f64::from(times) * 0.2)
        );
        assert!(linear(1.0, 1.0, 6).is_empty());
        assert_eq!(logarithmic(0.0004, 3.0), [0.001, 0.01, 0.1, 1.0]);
        assert_eq!(logarithmic(0.03, 1.5), [0.05, 0.1, 0.2, 0.5, 1.0]);
    }

    #[test]
    fn a_tick_s_name_is_short() {
        let names = [0.0, 0.2 * 3.0, 2_000.0, 0.001, 0.00002, 1e6].map(name);
        assert_eq!(names, ["0", "0.6", "2000", "0.001", "2e-5", "1e6"]);
    }
}
