//! Averaging noise.

/// Cube root of the least power. An exponential, the chi-squared of one pair, is below it 0.4 % of the time; of ten pairs
/// never.
const LEAST_ROOT: f32 = 0.16;

/// Scatter of an averaged spectrum's amplitude about its expectation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scatter {
    pub(crate) centre: f32,
    pub(crate) spread: f32,
}

impl Scatter {
    /// Of a power that is the mean of `pairs` independent ones, by the cube-root approximation of the chi-squared distribution (Wilson &
    /// Hilferty 1931).
    pub(crate) fn of(pairs: f32) -> Self {
        Self {
            centre: 1.0 - 1.0 / (9.0 * pairs),
            spread: 1.0 / (3.0 * pairs.sqrt()),
        }
    }

    /// The factor on the amplitude for a standard normal draw.
    pub(crate) fn factor(self, bell: f32) -> f32 {
        let root = (self.centre + self.spread * bell).max(LEAST_ROOT);
        root * root.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Draws;

    #[test]
    fn scatter_narrows_with_averages_as_chi_squared_does() {
        for averages in [4_u16, 16, 64] {
            let scatter = Scatter::of(f32::from(averages));
            let mut draws = Draws::new(3, &[u64::from(averages)]);
            let powers: Vec<f64> = (0..40_000)
                .map(|_| f64::from(scatter.factor(draws.bell()).powi(2)))
                .collect();
            let mean = powers.iter().sum::<f64>() / 40_000.0;
            let variance = powers.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / 40_000.0;
            assert!((mean - 1.0).abs() < 0.01, "{averages}: {mean}");
            assert!(
                (variance * f64::from(averages) - 1.0).abs() < 0.1,
                "{averages}: {variance}"
            );
        }
    }

    #[test]
    fn tails_are_those_of_published_tables() {
        // Points of chi-squared with 20 degrees of freedom (10 pairs), and of the exponential (1 pair), whose quietest
        // amplitudes are the approximation's weak side.
        let cases = [
            (10.0, 45.315 / 20.0, 8.260 / 20.0, [0.9..1.1, 0.9..1.1]),
            (1.0, 1_000.0_f64.ln(), -0.99_f64.ln(), [0.9..1.3, 1.5..2.5]),
        ];
        for (pairs, one_in_1000_above, one_in_100_below, expected) in cases {
            let scatter = Scatter::of(pairs);
            let mut draws = Draws::new(7, &[1]);
            let count = 1_000_000;
            let powers: Vec<f64> = (0..count)
                .map(|_| f64::from(scatter.factor(draws.normal()).powi(2)))
                .collect();
            let share = |passes: &dyn Fn(f64) -> bool| {
                powers.iter().filter(|power| passes(**power)).count() as f64 / f64::from(count)
            };
            let (above, below) = (share(&|p| p > one_in_1000_above), share(&|p| p < one_in_100_below));
            assert!(expected[0].contains(&(above / 0.001)), "{pairs}: {above}");
            assert!(expected[1].contains(&(below / 0.01)), "{pairs}: {below}");
            assert!(powers.iter().all(|power| *power > 0.0));
        }
    }
}
