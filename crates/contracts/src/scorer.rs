//! Spectra to score with a named bundle.

use tocsin_domain::{BundleDigest, SpectrumSpec};

use crate::Malformed;
pub use crate::generated::scorer::v1;

/// Rows of codes and what is needed to read them. The parts fit each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectra {
    /// The bundle to score with.
    pub bundle: BundleDigest,
    /// Codes of all rows, one after the other: [`Self::rows`] x [`Self::window`] x [`Self::bins`].
    pub codes: Vec<u8>,
    /// Spectra per row: 1, or the window of the bundle's temporal network, oldest first.
    pub window: usize,
    /// Bins per row.
    pub bins: usize,
    /// Full scale in canonical units, one per row.
    pub full_scale: Vec<f32>,
}

/// The largest window that is understood.
const MOST_WINDOW: u32 = 64;

impl Spectra {
    /// How many spectra, or windows of them, there are.
    pub fn rows(&self) -> usize {
        self.full_scale.len()
    }

    fn parse(
        digest: &[u8],
        codes: Vec<u8>,
        (window, bins): (u32, u32),
        mut full_scale: Vec<f32>,
    ) -> Result<Self, Malformed> {
        let bundle = BundleDigest::from_slice(digest).map_err(|e| Malformed::new("bundle_digest", e.reason))?;
        let bounds = u32::from(SpectrumSpec::MIN_BINS)..=u32::from(SpectrumSpec::MAX_BINS);
        if !bounds.contains(&bins) {
            return Err(Malformed::new("bins", format!("{bins} is outside 32 to 4096")));
        }
        if window > MOST_WINDOW {
            return Err(Malformed::new("window", format!("{window} is above {MOST_WINDOW}")));
        }
        let (window, bins) = (window.max(1) as usize, bins as usize);
        if !codes.len().is_multiple_of(window * bins) {
            return Err(Malformed::new(
                "codes",
                format!("{} codes are no whole rows of {} bins", codes.len(), window * bins),
            ));
        }
        let rows = codes.len() / (window * bins);
        if let [one] = full_scale[..] {
            full_scale = vec![one; rows];
        }
        if full_scale.len() != rows {
            return Err(Malformed::new(
                "full_scale",
                format!("{} given for {rows} rows", full_scale.len()),
            ));
        }
        if let Some(index) = full_scale.iter().position(|scale| !(scale.is_finite() && *scale > 0.0)) {
            let reason = format!("{} must be finite and positive", full_scale[index]);
            return Err(Malformed::new(format!("full_scale[{index}]"), reason));
        }
        Ok(Self {
            bundle,
            codes,
            window,
            bins,
            full_scale,
        })
    }

    /// Full scales for the wire: one when all rows share it.
    fn full_scale_to_wire(&self) -> Vec<f32> {
        match self.full_scale.first() {
            Some(first) if self.full_scale.iter().all(|scale| scale.to_bits() == first.to_bits()) => vec![*first],
            _ => self.full_scale.clone(),
        }
    }
}

/// Spectra to score, and the rows whose squared error per bin is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreBatch {
    /// The spectra.
    pub spectra: Spectra,
    /// Row numbers, each below [`Spectra::rows`].
    pub bin_error_rows: Vec<usize>,
}

impl TryFrom<v1::ScoreRequest> for ScoreBatch {
    type Error = Malformed;

    fn try_from(wire: v1::ScoreRequest) -> Result<Self, Malformed> {
        let row = (wire.window, wire.bins);
        let spectra = Spectra::parse(&wire.bundle_digest, wire.codes, row, wire.full_scale)?;
        let bin_error_rows: Vec<usize> = wire.bin_error_rows.into_iter().map(|row| row as usize).collect();
        if let Some(row) = bin_error_rows.iter().find(|row| **row >= spectra.rows()) {
            return Err(Malformed::new(
                "bin_error_rows",
                format!("row {row} of {} asked for", spectra.rows()),
            ));
        }
        // Each row once at most, or a small request could ask for an answer of any size.
        if bin_error_rows.len() > spectra.rows() {
            let reason = format!("{} asked for of {} rows", bin_error_rows.len(), spectra.rows());
            return Err(Malformed::new("bin_error_rows", reason));
        }
        Ok(Self {
            spectra,
            bin_error_rows,
        })
    }
}

impl From<ScoreBatch> for v1::ScoreRequest {
    fn from(batch: ScoreBatch) -> Self {
        let full_scale = batch.spectra.full_scale_to_wire();
        let Spectra {
            bundle,
            codes,
            window,
            bins,
            ..
        } = batch.spectra;
        let bin_error_rows = batch.bin_error_rows.into_iter().map(|row| row as u32).collect();
        Self {
            bundle_digest: bundle.0.to_vec(),
            codes,
            bins: bins as u32,
            full_scale,
            bin_error_rows,
            window: if window == 1 { 0 } else { window as u32 },
        }
    }
}

impl TryFrom<v1::ReconstructRequest> for Spectra {
    type Error = Malformed;

    fn try_from(wire: v1::ReconstructRequest) -> Result<Self, Malformed> {
        Self::parse(&wire.bundle_digest, wire.codes, (1, wire.bins), wire.full_scale)
    }
}

impl From<Spectra> for v1::ReconstructRequest {
    fn from(spectra: Spectra) -> Self {
        let full_scale = spectra.full_scale_to_wire();
        let Spectra {
            bundle, codes, bins, ..
        } = spectra;
        Self {
            bundle_digest: bundle.0.to_vec(),
            codes,
            bins: bins as u32,
            full_scale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request() -> v1::ScoreRequest {
        v1::ScoreRequest {
            bundle_digest: vec![7; 32],
            codes: vec![1; 96],
            bins: 32,
            full_scale: vec![10.0],
            bin_error_rows: vec![2],
            window: 0,
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_refused_by_their_field() {
        let cases = [
            (
                v1::ScoreRequest {
                    bundle_digest: vec![7; 31],
                    ..request()
                },
                "bundle_digest",
            ),
            (v1::ScoreRequest { bins: 0, ..request() }, "bins"),
            (v1::ScoreRequest { window: 2, ..request() }, "codes"),
            (
                v1::ScoreRequest {
                    window: 65,
                    ..request()
                },
                "window",
            ),
            (
                v1::ScoreRequest {
                    codes: vec![1; 95],
                    ..request()
                },
                "codes",
            ),
            (
                v1::ScoreRequest {
                    full_scale: vec![10.0; 2],
                    ..request()
                },
                "full_scale",
            ),
            (
                v1::ScoreRequest {
                    full_scale: vec![10.0, 10.0, f32::NAN],
                    ..request()
                },
                "full_scale[2]",
            ),
            (
                v1::ScoreRequest {
                    bin_error_rows: vec![3],
                    ..request()
                },
                "bin_error_rows",
            ),
            (
                v1::ScoreRequest {
                    bin_error_rows: vec![0; 4],
                    ..request()
                },
                "bin_error_rows",
            ),
        ];
        for (bad, field) in cases {
            assert_eq!(ScoreBatch::try_from(bad).unwrap_err().field, field);
        }
        assert_eq!(ScoreBatch::try_from(request()).unwrap().spectra.full_scale, [10.0; 3]);
    }

    proptest! {
        #[test]
        fn spectra_survive_the_wire(
            digest: [u8; 32],
            rows in prop::collection::vec((prop::collection::vec(any::<u8>(), 32), prop_oneof![Just(10f32), 0.1f32..99.0]), 0..8),
        ) {
            let (codes, full_scale): (Vec<Vec<u8>>, Vec<f32>) = rows.into_iter().unzip();
            let spectra = Spectra { bundle: BundleDigest(digest), codes: codes.concat(), window: 1, bins: 32, full_scale };
            let bin_error_rows = (0..spectra.rows()).step_by(2).collect();
            let batch = ScoreBatch { spectra: spectra.clone(), bin_error_rows };
            prop_assert_eq!(Spectra::try_from(v1::ReconstructRequest::from(spectra.clone())).unwrap(), spectra);
            prop_assert_eq!(ScoreBatch::try_from(v1::ScoreRequest::from(batch.clone())).unwrap(), batch.clone());
            let windows = Spectra { codes: batch.spectra.codes.repeat(3), window: 3, ..batch.spectra };
            let batch = ScoreBatch { spectra: windows, bin_error_rows: Vec::new() };
            prop_assert_eq!(ScoreBatch::try_from(v1::ScoreRequest::from(batch.clone())).unwrap(), batch);
        }
    }
}
