//! A sensor with what its spectra mean.

use tocsin_domain::{CanonicalSpectrum, Codec, SpectrumSpec, codec};
use tocsin_store::fleet::SensorListing;

use crate::Error;

/// A sensor with its spec.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    pub(crate) listing: SensorListing,
    pub(crate) spec: SpectrumSpec,
}

impl Channel {
    pub(crate) fn path(&self) -> String {
        format!("{}/{}/{}", self.listing.site, self.listing.machine, self.listing.name)
    }

    pub(crate) fn decode(&self, codec: &Codec, spectrum: &CanonicalSpectrum) -> Result<Vec<f32>, Error> {
        codec::check_length(spectrum.codes(), &self.spec).map_err(|invalid| Error::UnreadableSpectrum {
            sensor: self.path(),
            invalid,
        })?;
        Ok(codec.decode(spectrum.codes()))
    }

    pub(crate) fn bin_centres(&self) -> Vec<f64> {
        (0..usize::from(self.spec.bins))
            .map(|bin| self.spec.bin_centre(bin))
            .collect()
    }
}
