//! What is done to the rows a network is shown, while the rows it is to give back stay as they are.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, Normal};
use tocsin_models::Objective;

/// Spoils rows of `bins` values in place, as the objective says; a bin that is taken away becomes 0, its training mean.
pub(super) fn corrupt(objective: Objective, values: &mut [f32], bins: usize, rng: &mut impl Rng) {
    match objective {
        Objective::Denoising { noise } => add_noise(values, noise, rng),
        Objective::Masking { share } => values.chunks_exact_mut(bins).for_each(|row| mask(row, share, rng)),
        Objective::Dropout { probability } => drop_bins(values, probability, rng),
        Objective::Plain
        | Objective::Sparse { .. }
        | Objective::Contractive { .. }
        | Objective::Variational { .. }
        | Objective::VariationalElbo { .. } => {}
    }
}

/// Draws from a normal distribution of this standard deviation.
pub(super) fn normal(deviation: f32, count: usize, rng: &mut impl Rng) -> Vec<f32> {
    let normal = Normal::new(0.0, deviation).expect("the deviation is finite and not negative");
    normal.sample_iter(rng).take(count).collect()
}

fn add_noise(values: &mut [f32], noise: f32, rng: &mut impl Rng) {
    let drawn = normal(noise, values.len(), rng);
    values.iter_mut().zip(drawn).for_each(|(value, noise)| *value += noise);
}

/// One band of neighbouring bins, anywhere it fits.
fn mask(row: &mut [f32], share: f32, rng: &mut impl Rng) {
    let width = ((row.len() as f32 * share).round() as usize).clamp(1, row.len());
    let first = rng.random_range(0..=row.len() - width);
    row[first..first + width].fill(0.0);
}

fn drop_bins(values: &mut [f32], probability: f32, rng: &mut impl Rng) {
    let raised = 1.0 / (1.0 - probability);
    for value in values {
        *value *= if rng.random::<f32>() < probability { 0.0 } else { raised };
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn corrupted(objective: Objective) -> Vec<f32> {
        let mut values = vec![1.0; 64 * 200];
        corrupt(objective, &mut values, 64, &mut StdRng::seed_from_u64(3));
        values
    }

    #[test]
    fn a_mask_takes_one_band_of_each_row() {
        for row in corrupted(Objective::Masking { share: 0.25 }).chunks_exact(64) {
            let first = row.iter().position(|value| *value == 0.0).unwrap();
            assert!(row.iter().enumerate().all(|(bin, value)| {
                let inside = (first..first + 16).contains(&bin);
                *value == if inside { 0.0 } else { 1.0 }
            }));
        }
    }

    #[test]
    fn dropout_leaves_the_mean_where_it_was() {
        let values = corrupted(Objective::Dropout { probability: 0.1 });
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        let dropped = values.iter().filter(|value| **value == 0.0).count() as f32 / values.len() as f32;
        assert!((dropped - 0.1).abs() < 0.01, "{dropped}");
    }

    #[test]
    fn noise_has_the_deviation_asked_for() {
        let values = corrupted(Objective::Denoising { noise: 0.3 });
        let square = values.iter().map(|value| (value - 1.0).powi(2)).sum::<f32>() / values.len() as f32;
        assert!((square.sqrt() - 0.3).abs() < 0.01, "{square}");
    }

    #[test]
    fn the_others_see_rows_as_they_are() {
        for objective in [Objective::Plain, Objective::Contractive { weight: 0.1 }] {
            assert!(corrupted(objective).iter().all(|value| *value == 1.0));
        }
    }
}
