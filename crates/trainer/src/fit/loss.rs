//! What a batch costs: its squared errors, and what the objective adds.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use rand::Rng;
use tocsin_models::Objective;

use super::corruption::normal;
use crate::network::{Autoencoder, Code};

/// Length of the step by which a directional derivative is taken.
const STEP: f32 = 0.05;
/// Variance of a latent's mean over rows above which it says something of them (Burda et al. 2016).
const ACTIVE: f64 = 0.01;

/// The cost of a batch.
pub(super) struct Loss {
    /// Squared error of each row, its mean over bins: rows x 1.
    pub(super) errors: Tensor<2>,
    /// What the objective adds, weighted; a mean over rows.
    pub(super) penalty: Option<Tensor<1>>,
}

/// The cost of rebuilding `target` from `input`. `through` is the share of the penalty's full weight that counts.
pub(super) fn of_batch(
    network: &Autoencoder,
    objective: Objective,
    (input, target): (Tensor<2>, Tensor<2>),
    through: f32,
    rng: &mut impl Rng,
) -> Loss {
    let bins = target.dims()[1];
    let code = network.encode(input.clone());
    let drawn = match &code.log_variance {
        Some(log_variance) => {
            let deviation = (log_variance.clone() * 0.5).exp();
            code.latent.clone() + deviation * noise_like(&code.latent, rng)
        }
        None => code.latent.clone(),
    };
    let errors = (network.decode(drawn) - target).square().mean_dim(1);
    let penalty = match objective {
        Objective::Sparse { activation, weight } => Some(divergence_of_activation(&code, activation) * weight),
        Objective::Contractive { weight } => {
            let latents = code.latent.dims()[1] as f32;
            Some(jacobian(network, input, &code, rng).mean() * (weight / latents))
        }
        Objective::Variational { beta } | Objective::VariationalElbo { beta } => {
            divergence(&code).map(|rows| rows.mean() * (2.0 * beta * through / bins as f32))
        }
        Objective::Plain | Objective::Denoising { .. } | Objective::Masking { .. } | Objective::Dropout { .. } => None,
    };
    Loss { errors, penalty }
}

/// What early stopping looks at, of each row: its squared error as it will be served, and for a distribution over latents
/// the divergence at its full weight, without which the best epoch would be one before the divergence counted.
pub(super) fn of_rows(
    network: &Autoencoder,
    objective: Objective,
    (input, target): (Tensor<2>, Tensor<2>),
) -> Vec<f32> {
    let bins = target.dims()[1];
    let code = network.encode(input);
    let mut costs = (network.decode(code.latent.clone()) - target).square().mean_dim(1);
    if let (Some(beta), Some(divergence)) = (objective.beta(), divergence(&code)) {
        costs = costs + divergence * (2.0 * beta / bins as f32);
    }
    host(costs)
}

/// What came of the objective on rows it was trained on, by the names of [`tocsin_models::Metrics::figures`].
pub(super) fn figures(
    network: &Autoencoder,
    objective: Objective,
    rows: Tensor<2>,
    rng: &mut impl Rng,
) -> BTreeMap<String, f64> {
    let code = network.encode(rows.clone());
    let mean = |values: Tensor<2>| f64::from(values.mean().into_scalar::<f32>());
    let mut figures = BTreeMap::new();
    match objective {
        Objective::Sparse { .. } => {
            figures.insert("activation".to_owned(), mean(code.latent));
        }
        Objective::Contractive { .. } => {
            figures.insert("jacobian".to_owned(), mean(jacobian(network, rows, &code, rng)));
        }
        Objective::Variational { beta } | Objective::VariationalElbo { beta } => {
            let kl = divergence(&code).map_or(0.0, mean);
            let active = host(code.latent.var(0))
                .into_iter()
                .filter(|variance| f64::from(*variance) > ACTIVE);
            figures.insert("kl".to_owned(), kl);
            figures.insert("active_latents".to_owned(), active.count() as f64);
            figures.insert("beta".to_owned(), beta.into());
        }
        Objective::Plain | Objective::Denoising { .. } | Objective::Masking { .. } | Objective::Dropout { .. } => {}
    }
    figures
}

/// Divergence of each row's latents from a standard normal distribution, in nats: rows x 1.
fn divergence(code: &Code) -> Option<Tensor<2>> {
    let log_variance = code.log_variance.clone()?;
    let each = log_variance.clone().exp() + code.latent.clone().square() - log_variance - 1.0;
    Some(each.sum_dim(1) * 0.5)
}

/// Divergence of a small activation from the latents' mean activations over the batch, in nats; a mean over latents.
fn divergence_of_activation(code: &Code, activation: f32) -> Tensor<1> {
    let found = code.latent.clone().mean_dim(0).clamp(1e-4, 1.0 - 1e-4);
    let rest = found.clone().neg() + 1.0;
    let constant = activation * activation.ln() + (1.0 - activation) * (1.0 - activation).ln();
    (found.log() * -activation - rest.log() * (1.0 - activation) + constant).mean()
}

/// Squared Frobenius norm of the encoder's Jacobian at each row, rows x 1: the squared derivative along a standard normal
/// direction, whose expectation it is.
fn jacobian(network: &Autoencoder, rows: Tensor<2>, code: &Code, rng: &mut impl Rng) -> Tensor<2> {
    let step = noise_like(&rows, rng) * STEP;
    let moved = network.encode(rows + step).latent - code.latent.clone();
    (moved / STEP).square().sum_dim(1)
}

fn noise_like(values: &Tensor<2>, rng: &mut impl Rng) -> Tensor<2> {
    let [rows, columns] = values.dims();
    let drawn = normal(1.0, rows * columns, rng);
    Tensor::from_data(TensorData::new(drawn, [rows, columns]), &values.device())
}

pub(super) fn host(values: Tensor<2>) -> Vec<f32> {
    values.into_data().try_to_vec().expect("errors are 32-bit floats")
}
