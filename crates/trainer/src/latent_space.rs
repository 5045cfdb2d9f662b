//! Walks through the latent space of a bundle: draws and straight paths, decoded into spectra for people to look at.
//!
//! A variational network was trained so that its latents are roughly standard normal: draws from that distribution mean
//! something. The latents of every other kind follow no distribution that was asked for; a normal one fitted to the latents of
//! rows at hand stands in, which is an assumption, and is named as one ([`Source`]). What a draw is worth shows when the
//! bundle scores it itself: [`Decoded::errors`].

use half::f16;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};
use tocsin_models::{Bundle, Decoder, Network, NetworkError};

use crate::training_set::TrainingSet;

/// Most rows that a distribution is fitted to; of more, so many, evenly spread.
pub const FIT_ROWS: usize = 4096;

/// Where draws come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// The distribution that a variational network was trained towards.
    StandardNormal,
    /// The normal distribution with the mean and covariance of these latents, cut off at the range they fill.
    Fitted {
        /// Latents, one row after the other.
        latents: Vec<f32>,
        /// How many rows these are.
        rows: u64,
        /// How many there were.
        of: u64,
    },
}

/// Spectra of latents.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Linear amplitudes in canonical units, a row per latent.
    pub spectra: Vec<f32>,
    /// What the bundle's own residual detector says of each.
    pub errors: Vec<f32>,
}

impl Source {
    /// The distribution to draw latents of a bundle from: that of `healthy` rows where there are any; without them only a
    /// variational bundle has one.
    pub fn of(bundle: &Bundle, healthy: Option<&TrainingSet>) -> Result<Self, NetworkError> {
        let refuse = |reason: String| {
            Err(NetworkError::Input {
                field: "corpus",
                reason,
            })
        };
        let manifest = bundle.manifest();
        let size = usize::from(manifest.latent);
        let Some(healthy) = healthy else {
            if manifest.variant.is_network() && manifest.objective.beta().is_some() {
                return Ok(Self::StandardNormal);
            }
            let name = manifest.network_name();
            return refuse(format!(
                "{name} was trained towards no distribution of its latents, so there is nothing to draw from without rows; \
                 give healthy ones, and a normal distribution is fitted to their latents"
            ));
        };
        let rows = healthy.len();
        if rows <= size {
            return refuse(format!(
                "{rows} rows are too few to fit a distribution of {size} latents to"
            ));
        }
        let (kept, bins) = (rows.min(FIT_ROWS), healthy.bins());
        let spread = (0..kept).flat_map(|nth| &healthy.linear()[nth * rows / kept * bins..][..bins]);
        let spread: Vec<f32> = spread.copied().collect();
        Ok(Self::Fitted {
            latents: encode(bundle, &spread)?.into_iter().map(f16::to_f32).collect(),
            rows: kept as u64,
            of: healthy.rows_in_all(),
        })
    }

    /// What it is, in words.
    pub fn describe(&self) -> String {
        match self {
            Self::StandardNormal => "the standard normal distribution this network was trained towards".to_owned(),
            Self::Fitted { rows, of, .. } => {
                let rows = if rows == of {
                    rows.to_string()
                } else {
                    format!("{rows} of {of}")
                };
                format!("a normal distribution fitted to the latents of {rows} rows, which is an assumption")
            }
        }
    }

    /// Draws `count` latents of `size` values.
    pub fn draw(&self, size: usize, count: usize, seed: u64) -> Vec<f16> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        match self {
            Self::StandardNormal => (0..count * size).map(|_| f16::from_f64(normal())).collect(),
            Self::Fitted { latents, .. } => {
                let columns = columns(latents, size);
                (0..count)
                    .flat_map(|_| combination(latents, &columns, &mut normal))
                    .collect()
            }
        }
    }
}

/// Mean, least and greatest of a latent.
struct Column {
    mean: f64,
    low: f64,
    high: f64,
}

fn columns(latents: &[f32], size: usize) -> Vec<Column> {
    let rows = (latents.len() / size) as f64;
    let column = |at: usize| {
        let values = || latents.iter().skip(at).step_by(size).map(|value| f64::from(*value));
        Column {
            mean: values().sum::<f64>() / rows,
            low: values().fold(f64::INFINITY, f64::min),
            high: values().fold(f64::NEG_INFINITY, f64::max),
        }
    };
    (0..size).map(column).collect()
}

/// A draw with the mean and covariance of the rows: their deviations from the mean, each weighted by a number drawn from a
/// standard normal distribution, have just that covariance in sum. What leaves the range of the rows is cut off: a decoder
/// has seen nothing there, and a sigmoid lets nothing out.
fn combination(latents: &[f32], columns: &[Column], normal: &mut impl FnMut() -> f64) -> Vec<f16> {
    let rows = latents.len() / columns.len();
    let mut sums = vec![0.0; columns.len()];
    for row in latents.chunks_exact(columns.len()) {
        let weight = normal();
        for ((sum, column), value) in sums.iter_mut().zip(columns).zip(row) {
            *sum += weight * (f64::from(*value) - column.mean);
        }
    }
    let scale = ((rows - 1) as f64).sqrt();
    sums.iter()
        .zip(columns)
        .map(|(sum, column)| f16::from_f64((column.mean + sum / scale).clamp(column.low, column.high)))
        .collect()
}

/// Latents of rows, linear amplitudes in canonical units.
pub fn encode(bundle: &Bundle, linear: &[f32]) -> Result<Vec<f16>, NetworkError> {
    Ok(Network::load(bundle)?.session()?.run(linear, &[])?.latents)
}

/// Latents on the straight line between two, `steps` of them, both ends among them; at least 2.
pub fn path(from: &[f16], to: &[f16], steps: usize) -> Vec<f16> {
    let last = steps.max(2) - 1;
    let at = |step: usize| {
        let share = step as f32 / last as f32;
        let between = move |(a, b): (&f16, &f16)| f16::from_f32(a.to_f32() * (1.0 - share) + b.to_f32() * share);
        from.iter().zip(to).map(between)
    };
    (0..=last).flat_map(at).collect()
}

/// Decodes latents, and scores what came of them as any reading.
pub fn decode(bundle: &Bundle, latents: &[f16]) -> Result<Decoded, NetworkError> {
    let spectra = Decoder::load(bundle)?.run(latents)?;
    let errors = Network::load(bundle)?.session()?.run(&spectra, &[])?.errors;
    Ok(Decoded { spectra, errors })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fitted_draws_have_the_mean_and_covariance_of_the_rows_and_stay_in_their_range() {
        let latents: Vec<f32> = (0..2000)
            .flat_map(|nth| {
                let angle = nth as f32;
                let (a, b) = (angle.sin(), (angle * 0.377).cos());
                [3.0 + a, 2.0 * a + 0.1 * b]
            })
            .collect();
        let source = Source::Fitted {
            latents: latents.clone(),
            rows: 2000,
            of: 2000,
        };
        let drawn = source.draw(2, 3000, 9);
        let figures = |values: &[f32]| {
            let of = |at: usize| values.iter().skip(at).step_by(2).map(|value| f64::from(*value));
            let rows = (values.len() / 2) as f64;
            let (a, b) = (of(0).sum::<f64>() / rows, of(1).sum::<f64>() / rows);
            (
                a,
                b,
                of(0).zip(of(1)).map(|(x, y)| (x - a) * (y - b)).sum::<f64>() / rows,
            )
        };
        let values: Vec<f32> = drawn.iter().map(|value| value.to_f32()).collect();
        let (drawn, rows) = (figures(&values), figures(&latents));
        assert!((drawn.0 - rows.0).abs() < 0.05 && (drawn.1 - rows.1).abs() < 0.1);
        // The range of a sine is narrower than the normal distribution of its spread: some is cut off.
        assert!(drawn.2 > 0.7 * rows.2 && drawn.2 < 1.1 * rows.2, "{drawn:?} {rows:?}");
        assert!(values.chunks(2).all(|row| (1.99..=4.01).contains(&row[0])));
        assert_eq!(source.draw(2, 4, 9), source.draw(2, 4, 9));
        assert_ne!(source.draw(2, 4, 9), source.draw(2, 4, 10));
    }

    #[test]
    fn a_path_is_straight_and_has_both_ends() {
        let half = |values: [f32; 2]| values.map(f16::from_f32);
        let walked = path(&half([0.0, 1.0]), &half([1.0, -1.0]), 5);
        let walked: Vec<f32> = walked.into_iter().map(f16::to_f32).collect();
        assert_eq!(walked, [0.0, 1.0, 0.25, 0.5, 0.5, 0.0, 0.75, -0.5, 1.0, -1.0]);
    }
}
