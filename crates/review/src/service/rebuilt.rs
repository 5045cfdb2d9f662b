//! Spectra that are not kept, rebuilt from their latents by the decoder of the bundle that scored them.
//!
//! The latent of every reading is kept; most spectra are thinned away by the archive. What a latent gives back is what the
//! model knew of the reading. What it could not hold is not in it, and that is where faults are.
//!
//! **Invariant:** a rebuilt spectrum travels in fields of its own, with its error or with why that is not known. Nothing is
//! judged, scored or made again by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use half::f16;
use tocsin_contracts::incident_review::Rebuilding;
use tocsin_contracts::review::v1;
use tocsin_domain::{BundleId, Detector};
use tocsin_models::{Bundle, Decoder, Manifest, NetworkError, Objective, TargetSpace, Variant};
use tocsin_store::reading::FullReading;

use super::Service;
use crate::Error;
use crate::channel::Channel;

/// What became of one reading.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FromLatent {
    /// Canonical amplitude of each bin; empty where it could not be rebuilt.
    pub(super) amplitude: Vec<f32>,
    /// Mean squared error of the reconstruction when it was scored, over bins; none where that is not known.
    pub(super) error: Option<f32>,
    /// By what, or why not; of this one spectrum.
    pub(super) by: Rebuilding,
}

impl FromLatent {
    fn not(bundle: Option<BundleId>, why: impl Into<String>) -> Self {
        Self {
            amplitude: Vec::new(),
            error: None,
            by: Rebuilding {
                bundle_id: bundle.map(|bundle| bundle.0),
                model: String::new(),
                spectra: 1,
                usual_error: None,
                error_space: String::new(),
                error_unknown: String::new(),
                not_rebuilt: why.into(),
            },
        }
    }
}

impl Service {
    /// What each reading's latent gives back, in their order. A bundle that can't be had is said, and no failure.
    pub(super) async fn decode_latents(
        &self,
        channel: &Channel,
        readings: &[&FullReading],
    ) -> Result<Vec<FromLatent>, Error> {
        let mut made: Vec<FromLatent> = Vec::with_capacity(readings.len());
        let mut by_bundle: BTreeMap<BundleId, Vec<usize>> = BTreeMap::new();
        for (place, reading) in readings.iter().enumerate() {
            let bundle = reading.stored.bundle;
            made.push(FromLatent::not(bundle, "no latent is kept: no network scored it"));
            if let Some(bundle) = bundle.filter(|_| !reading.latent.is_empty()) {
                by_bundle.entry(bundle).or_default().push(place);
            }
        }
        for (id, places) in by_bundle {
            let of_bundle: Vec<&FullReading> = places.iter().map(|place| readings[*place]).collect();
            let rows = match self.decoded(channel, id, &of_bundle).await? {
                Ok(rows) => rows,
                Err(why) => {
                    tracing::warn!(bundle = id.0, why, sensor = channel.path(), "spectra are not rebuilt");
                    vec![FromLatent::not(Some(id), why); places.len()]
                }
            };
            for (place, row) in places.into_iter().zip(rows) {
                made[place] = row;
            }
        }
        Ok(made)
    }

    /// Readings of one bundle; in words, why none of them can be rebuilt.
    async fn decoded(
        &self,
        channel: &Channel,
        id: BundleId,
        readings: &[&FullReading],
    ) -> Result<Result<Vec<FromLatent>, String>, Error> {
        let digest = self.store.bundle_by_id(id).await?.digest;
        let bundle = match self.bundles.get(&digest).await {
            Ok(bundle) => bundle,
            Err(error) => return Ok(Err(format!("its model can't be had: {error}"))),
        };
        let manifest = bundle.manifest();
        if manifest.bins != channel.spec.bins {
            let bins = (manifest.bins, channel.spec.bins);
            return Ok(Err(format!("its model has {} bins, the sensor {}", bins.0, bins.1)));
        }
        let latents: Vec<Option<Vec<f16>>> = readings
            .iter()
            .map(|reading| latent(&reading.latent, manifest.latent.into()))
            .collect();
        let values: Vec<f16> = latents.iter().flatten().flatten().copied().collect();
        let decoding = Arc::clone(&bundle);
        let amplitudes = match tokio::task::spawn_blocking(move || decode(&decoding, &values)).await? {
            Ok(amplitudes) => amplitudes,
            Err(error) => return Ok(Err(format!("its model does not decode: {error}"))),
        };
        let mut rows = amplitudes.chunks_exact(manifest.bins.into());
        let made = readings.iter().zip(latents).map(|(reading, latent)| {
            let row = latent.and_then(|_| rows.next());
            from_row(reading, id, manifest, row)
        });
        Ok(Ok(made.collect()))
    }
}

fn decode(bundle: &Bundle, latents: &[f16]) -> Result<Vec<f32>, NetworkError> {
    if latents.is_empty() {
        return Ok(Vec::new());
    }
    Decoder::load(bundle)?.run(latents)
}

/// Reads a stored latent; none where it has another size than its model's.
fn latent(bytes: &[u8], size: usize) -> Option<Vec<f16>> {
    let pairs = bytes.chunks_exact(2);
    let values = pairs.map(|pair| f16::from_le_bytes([pair[0], pair[1]]));
    (bytes.len() == 2 * size).then(|| values.collect())
}

fn from_row(reading: &FullReading, id: BundleId, manifest: &Manifest, row: Option<&[f32]>) -> FromLatent {
    let Some(row) = row else {
        let (bytes, values) = (reading.latent.len(), manifest.latent);
        return FromLatent::not(
            Some(id),
            format!("its latent has {bytes} bytes, its model's has {values} half floats"),
        );
    };
    if !row.iter().all(|amplitude| amplitude.is_finite()) {
        return FromLatent::not(Some(id), "its model's decoder gives no finite numbers");
    }
    let unknown = error_unknown(manifest);
    let residual = reading.stored.scores.get(Detector::Residual);
    FromLatent {
        amplitude: row.iter().map(|amplitude| amplitude.max(0.0)).collect(),
        error: residual.filter(|_| unknown.is_empty()),
        by: Rebuilding {
            bundle_id: Some(id.0),
            model: manifest.variant.to_string(),
            spectra: 1,
            // A variational network's loss on the rows held out has its divergence in it.
            usual_error: (unknown.is_empty() && manifest.objective.beta().is_none())
                .then_some(manifest.metrics.validation_loss),
            error_space: match manifest.target_space {
                TargetSpace::StandardisedLog => "standardised_log",
                TargetSpace::Own => "own",
            }
            .to_owned(),
            error_unknown: unknown.to_owned(),
            not_rebuilt: String::new(),
        },
    }
}

/// Why a residual is not the error of what the latent gives back; empty where it is. A kind that is not named here scores
/// otherwise: by a Mahalanobis distance over all bins, say, of which the latent holds the first principal components alone.
/// An evidence bound is a score of its own, and a model trained elsewhere may have one.
fn error_unknown(manifest: &Manifest) -> &'static str {
    let by_error = !matches!(manifest.objective, Objective::VariationalElbo { .. });
    if by_error && matches!(manifest.variant, Variant::Dense | Variant::Conv | Variant::Pca) {
        ""
    } else {
        "its residual is not the mean squared error of what its latent gives back"
    }
}

/// What was said of each, counted.
pub(super) fn counted<'a>(all: impl IntoIterator<Item = &'a FromLatent>) -> Vec<Rebuilding> {
    let mut counted: Vec<Rebuilding> = Vec::new();
    for one in all {
        let alike =
            |known: &&mut Rebuilding| (known.bundle_id, &known.not_rebuilt) == (one.by.bundle_id, &one.by.not_rebuilt);
        match counted.iter_mut().find(alike) {
            Some(known) => known.spectra += one.by.spectra,
            None => counted.push(one.by.clone()),
        }
    }
    counted
}

impl From<FromLatent> for v1::RebuiltSpectrum {
    fn from(made: FromLatent) -> Self {
        Self {
            amplitude: made.amplitude,
            error: made.error,
            by: Some(made.by.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latent_of_another_size_than_its_models_is_none() {
        let bytes: Vec<u8> = [1.0, -2.0]
            .into_iter()
            .flat_map(|value| f16::from_f32(value).to_le_bytes())
            .collect();
        assert_eq!(latent(&bytes, 2), Some(vec![f16::from_f32(1.0), f16::from_f32(-2.0)]));
        assert_eq!(latent(&bytes, 3), None);
        assert_eq!(latent(&bytes[1..], 2), None);
    }

    #[test]
    fn what_became_of_spectra_is_counted_by_bundle_and_reason() {
        let not = |bundle: i32, why: &str| FromLatent::not(Some(BundleId(bundle)), why);
        let counted = counted(&[not(1, "a"), not(1, "a"), not(2, "a"), not(1, "b"), not(1, "a")]);
        let said: Vec<_> = counted
            .iter()
            .map(|one| (one.bundle_id, one.not_rebuilt.as_str(), one.spectra))
            .collect();
        assert_eq!(said, [(Some(1), "a", 3), (Some(2), "a", 1), (Some(1), "b", 1)]);
    }
}
