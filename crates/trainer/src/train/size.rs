//! How large a model's files come to be, known before it is trained: what the verifier would refuse in the end is refused in
//! the beginning.

use tocsin_models::{Objective, Variant, VerifyLimits};

use super::TrainError;
use crate::fit::FitOptions;
use crate::network::{dense_hidden, flattened, lstm_hidden};

/// Weights beyond those that are counted: convolutions over at most 16 spectra, numbers of the preprocessing and names.
const ROOM: usize = 64 << 10;
/// Bytes of an archive left to what is no model: detectors, healthy scores, the report.
const OTHER_FILES: u64 = 40 << 20;

/// Weights of a model's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weights {
    autoencoder: usize,
    decoder: usize,
    /// Of the network over a window, where there is one.
    temporal: usize,
}

/// Refuses a model whose files no registry would take; the error names the latent, or the variant where no latent would do.
pub(super) fn check(variant: Variant, options: FitOptions, latent: u16, bins: u16) -> Result<(), TrainError> {
    let of = |latent: u16| Weights::of(variant, options.objective, latent.into(), bins.into());
    let Some((found, limit)) = of(latent).beyond_limits() else {
        return Ok(());
    };
    let reason = format!("{found} weights at {bins} bins, a bundle's models may have {limit}");
    Err(if of(1).beyond_limits().is_some() {
        TrainError::Request {
            field: "variant",
            reason: format!("{variant} has {reason}"),
        }
    } else {
        TrainError::Request {
            field: "latent",
            reason: format!("{latent} makes {reason}: take fewer"),
        }
    })
}

impl Weights {
    fn of(variant: Variant, objective: Objective, latent: usize, bins: usize) -> Self {
        let layer = |inputs: usize, outputs: usize| (inputs + 1) * outputs;
        // Features to latent, and to its variance where rows are scored by that too.
        let code = |features: usize| match objective {
            Objective::VariationalElbo { .. } => 2 * layer(features, latent),
            _ => layer(features, latent),
        };
        let hidden = dense_hidden(bins, latent);
        let dense_decoder = layer(latent, hidden) + layer(hidden, bins);
        let dense = |temporal: usize| Self {
            autoencoder: layer(bins, hidden) + code(hidden) + dense_decoder,
            decoder: dense_decoder,
            temporal,
        };
        match variant {
            Variant::Dense => dense(0),
            Variant::Conv => {
                let decoder = layer(latent, flattened(bins));
                Self {
                    autoencoder: code(flattened(bins)) + decoder,
                    decoder,
                    temporal: 0,
                }
            }
            Variant::TemporalConv => dense(code(flattened(bins)) + dense_decoder),
            Variant::TemporalLstm => {
                let memory = lstm_hidden(bins, latent);
                dense(layer(bins + memory, 4 * memory) + code(memory) + dense_decoder)
            }
            Variant::Pca => Self {
                autoencoder: 2 * bins * latent,
                decoder: bins * latent,
                temporal: 0,
            },
            Variant::Mahalanobis => Self {
                autoencoder: bins * bins + bins * latent,
                decoder: bins * latent,
                temporal: 0,
            },
            // Files that are there; the verifier looks at these.
            Variant::Foreign => Self {
                autoencoder: 0,
                decoder: 0,
                temporal: 0,
            },
        }
    }

    /// The weights that are too many, and how many there may be: of one file, or of all.
    fn beyond_limits(self) -> Option<(usize, usize)> {
        let limits = VerifyLimits::default();
        let held_by = |bytes: u64| (bytes / size_of::<f32>() as u64) as usize;
        let of_file = limits.parameters.min(held_by(limits.archive.file_bytes)) - ROOM;
        let of_all = held_by(limits.archive.archive_bytes - OTHER_FILES) - ROOM;
        let Self {
            autoencoder,
            decoder,
            temporal,
        } = self;
        let largest = autoencoder.max(temporal);
        let sum = autoencoder + decoder + temporal;
        if largest > of_file {
            Some((largest, of_file))
        } else {
            (sum > of_all).then_some((sum, of_all))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::check_settings;

    fn refused(variant: Variant, latent: Option<u16>, bins: u16) -> Option<String> {
        let objective = Objective::named("sparse").unwrap();
        let options = FitOptions {
            objective,
            ..FitOptions::of(variant)
        };
        let checked = check_settings(variant, options, latent, bins);
        checked.err().map(|error| error.to_string())
    }

    #[test]
    fn what_no_bundle_holds_is_refused_before_any_row_is_read() {
        let told = refused(Variant::Mahalanobis, None, 4096).unwrap();
        assert_eq!(
            told,
            "variant: mahalanobis has 16973824 weights at 4096 bins, a bundle's models may have 16711680"
        );
        let told = refused(Variant::Dense, Some(4000), 4096).unwrap();
        assert!(
            told.starts_with("latent: 4000 makes ") && told.ends_with(": take fewer"),
            "{told}"
        );
        assert!(
            refused(Variant::Pca, Some(4096), 4096)
                .unwrap()
                .starts_with("latent: 4096 makes ")
        );
    }

    #[test]
    fn every_kind_of_up_to_4096_bins_has_a_bundle_but_the_distance_which_ends_before() {
        for variant in [
            Variant::Dense,
            Variant::Conv,
            Variant::Pca,
            Variant::TemporalConv,
            Variant::TemporalLstm,
        ] {
            assert_eq!(refused(variant, None, 4096), None, "{variant}");
        }
        assert_eq!(refused(Variant::Mahalanobis, None, 4000), None);
    }
}
