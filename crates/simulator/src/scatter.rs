//! Averaging noise.

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
        let root = (self.centre + self.spread * bell).max(0.0);
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
}
