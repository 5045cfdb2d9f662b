//! What an autoencoder is trained to do besides rebuilding its input, and how its rows are scored.

use serde::{Deserialize, Serialize};
use tocsin_domain::Invalid;

/// What is asked of an autoencoder in training beyond a small squared error. All numbers are in its own space, that of
/// standardised log spectra.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Objective {
    /// Nothing more: the bottleneck alone keeps it from copying.
    Plain,
    /// To rebuild a spectrum from one with noise added (Vincent et al. 2008).
    Denoising {
        /// Standard deviation of the Gaussian noise.
        noise: f32,
    },
    /// To rebuild a spectrum of which one band of neighbouring bins is replaced by the mean (frequency masking, Park et al. 2019).
    Masking {
        /// Share of the bins in the band, above 0 and below 1.
        share: f32,
    },
    /// To rebuild a spectrum of which single bins are left out and the others raised accordingly (Srivastava et al. 2014).
    Dropout {
        /// Probability that a bin is left out, above 0 and below 1.
        probability: f32,
    },
    /// Few latents active at a time: the latents pass a sigmoid, and the Kullback-Leibler divergence of their mean
    /// activation from a small one is a penalty (Ng 2011).
    Sparse {
        /// The mean activation aimed at, above 0 and below 1.
        activation: f32,
        /// Weight of the divergence, per latent.
        weight: f32,
    },
    /// An encoder that moves little when its input does: the squared Frobenius norm of its Jacobian is a penalty
    /// (Rifai et al. 2011), estimated from one random direction a row (Hutchinson 1990).
    Contractive {
        /// Weight of the norm, per latent.
        weight: f32,
    },
    /// A distribution over latents close to a standard normal one (Kingma and Welling 2014; beta by Higgins et al. 2017);
    /// rows are scored by how badly their mean latent rebuilds them.
    Variational {
        /// Weight of the divergence.
        beta: f32,
    },
    /// The same network, its rows scored by the negative evidence lower bound: squared error and divergence together.
    VariationalElbo {
        /// Weight of the divergence.
        beta: f32,
    },
}

impl Default for Objective {
    /// Gaussian noise. Every bundle whose manifest doesn't say was trained so.
    fn default() -> Self {
        Self::Denoising { noise: 0.3 }
    }
}

impl Objective {
    /// Every objective, with its usual weights; the default first. Of these only the noise was chosen by comparison.
    pub const ALL: [Self; 8] = [
        Self::Denoising { noise: 0.3 },
        Self::Plain,
        Self::Masking { share: 0.25 },
        Self::Dropout { probability: 0.1 },
        Self::Sparse {
            activation: 0.1,
            weight: 0.1,
        },
        Self::Contractive { weight: 0.01 },
        Self::Variational { beta: 0.1 },
        Self::VariationalElbo { beta: 0.1 },
    ];

    /// The name in manifests, reports and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Denoising { .. } => "denoising",
            Self::Masking { .. } => "masking",
            Self::Dropout { .. } => "dropout",
            Self::Sparse { .. } => "sparse",
            Self::Contractive { .. } => "contractive",
            Self::Variational { .. } => "variational",
            Self::VariationalElbo { .. } => "variational_elbo",
        }
    }

    /// The objective of a name, with its usual weights.
    pub fn named(name: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|objective| objective.as_str() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Invalid::new("objective", format!("{name:?} is none of {names}"))
        })
    }

    /// Whether it keeps a network whose latent is no bottleneck from learning the identity.
    pub fn regularises(self) -> bool {
        self != Self::Plain
    }

    /// Weight of the divergence from the prior, for those that have one.
    pub fn beta(self) -> Option<f32> {
        match self {
            Self::Variational { beta } | Self::VariationalElbo { beta } => Some(beta),
            _ => None,
        }
    }

    /// The same with another weight of the divergence; unchanged where there is none.
    #[must_use]
    pub fn with_beta(self, beta: f32) -> Self {
        match self {
            Self::Variational { .. } => Self::Variational { beta },
            Self::VariationalElbo { .. } => Self::VariationalElbo { beta },
            other => other,
        }
    }

    /// Refuses weights that mean nothing; the error names the field.
    pub fn parse(self) -> Result<Self, Invalid> {
        let share = |value: f32| value > 0.0 && value < 1.0;
        let weight = |value: f32| value.is_finite() && value > 0.0;
        let (field, value, fits) = match self {
            Self::Plain => return Ok(self),
            Self::Denoising { noise } => ("noise", noise, weight(noise)),
            Self::Masking { share: value } => ("share", value, share(value)),
            Self::Dropout { probability } => ("probability", probability, share(probability)),
            Self::Sparse { activation, weight: _ } if !share(activation) => ("activation", activation, false),
            Self::Sparse { weight: value, .. } | Self::Contractive { weight: value } => {
                ("weight", value, weight(value))
            }
            Self::Variational { beta } | Self::VariationalElbo { beta } => ("beta", beta, weight(beta)),
        };
        if fits {
            return Ok(self);
        }
        Err(Invalid::new(
            format!("objective.{field}"),
            format!("{value} is out of range for {}", self.as_str()),
        ))
    }
}

impl std::fmt::Display for Objective {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_objective_is_found_by_its_name_and_survives_its_json() {
        for objective in Objective::ALL {
            assert_eq!(
                Objective::named(objective.as_str()).unwrap(),
                objective.parse().unwrap()
            );
            let json = serde_json::to_value(objective).unwrap();
            assert_eq!(json["kind"], objective.as_str());
            assert_eq!(serde_json::from_value::<Objective>(json).unwrap(), objective);
        }
        let error = Objective::named("quantum").unwrap_err().to_string();
        assert!(
            error.starts_with("objective: ") && error.contains("contractive"),
            "{error}"
        );
    }

    #[test]
    fn the_default_is_the_first_of_them() {
        assert_eq!(Objective::ALL[0], Objective::default());
    }

    #[test]
    fn weights_that_mean_nothing_are_refused_by_their_field() {
        for (objective, field) in [
            (Objective::Denoising { noise: -1.0 }, "objective.noise"),
            (Objective::Masking { share: 1.0 }, "objective.share"),
            (Objective::Dropout { probability: 0.0 }, "objective.probability"),
            (Objective::Contractive { weight: f32::NAN }, "objective.weight"),
            (Objective::Variational { beta: 0.0 }, "objective.beta"),
        ] {
            assert_eq!(objective.parse().unwrap_err().field, field);
        }
        let sparse = Objective::Sparse {
            activation: 1.5,
            weight: 0.1,
        };
        assert_eq!(sparse.parse().unwrap_err().field, "objective.activation");
    }
}
