//! A bundle with its networks loaded: all that it says of stored spectra, by the code that said it live. Records are
//! verified by this, and what-ifs scored.

use std::sync::Arc;

use tocsin_domain::Scores;

use crate::bundle::Bundle;
use crate::error::NetworkError;
use crate::scoring::{Against, CodedRows, detect};
use crate::session::Network;
use crate::window::Window;

/// A bundle, ready to score.
#[derive(Debug)]
pub struct Ready {
    bundle: Arc<Bundle>,
    network: Network,
    /// The network over a sensor's last spectra, where it has one.
    temporal: Option<Network>,
}

/// What a bundle says of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Said {
    /// Everything but the network, and what the row's baseline gives.
    pub detectors: Scores,
    /// The network's reconstruction error.
    pub residual: f32,
}

impl Ready {
    /// Loads a bundle's networks. Takes some milliseconds, more for many bins.
    ///
    /// # Errors
    /// If they can't be run.
    pub fn load(bundle: Arc<Bundle>) -> Result<Self, NetworkError> {
        Ok(Self {
            network: Network::load(&bundle)?,
            temporal: Network::load_temporal(&bundle)?,
            bundle,
        })
    }

    /// Bins of the spectra it reads.
    pub fn bins(&self) -> usize {
        self.network.bins()
    }

    /// What makes a window for it; nothing where it judges each spectrum alone.
    pub fn window(&self) -> Option<Window> {
        self.bundle.manifest().temporal.as_ref().map(|temporal| temporal.window)
    }

    /// Scores rows, each against the baseline given for it.
    ///
    /// `before`: codes of the spectra that each row is shown with, oldest first; those of any other number than a window
    /// takes are as if there were none, and the row is scored alone.
    ///
    /// # Errors
    /// If a network can't be run.
    ///
    /// # Panics
    /// If the rows do not have the bundle's bins.
    pub fn say(&self, rows: CodedRows<'_>, before: &[Vec<u8>], against: &[Against]) -> Result<Vec<Said>, NetworkError> {
        if rows.full_scale.is_empty() {
            return Ok(Vec::new());
        }
        let mut residuals = self.network.session()?.run(&rows.decode(), &[])?.errors;
        if let Some(network) = &self.temporal {
            let (mut session, bins) = (network.session()?, self.bins());
            let own = rows.codes.chunks_exact(bins).zip(rows.full_scale);
            for (((own, full_scale), before), residual) in own.zip(before).zip(&mut residuals) {
                let window = [before, own].concat();
                if window.len() == network.spectra() * bins {
                    let window = CodedRows {
                        codes: &window,
                        bins,
                        full_scale: &vec![*full_scale; network.spectra()],
                    };
                    *residual = session.run(&window.decode(), &[])?.errors[0];
                }
            }
        }
        let detectors = detect(&self.bundle, rows, against);
        let said = detectors.into_iter().zip(residuals);
        Ok(said.map(|(detectors, residual)| Said { detectors, residual }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, BINS, SPECTRA};
    use tocsin_domain::Detector;

    #[test]
    fn rows_are_scored_by_all_there_is_and_by_window_only_where_it_is_whole() {
        let bundle = Arc::new(Bundle::from_archive(fixture::temporal_archive()).unwrap());
        let ready = Ready::load(bundle).unwrap();
        assert_eq!(
            (ready.bins(), ready.window().map(|window| window.spectra)),
            (BINS, Some(SPECTRA as u16))
        );
        let codes: Vec<u8> = (0..3 * BINS).map(|at| 120 + (at % 11) as u8).collect();
        let rows = CodedRows {
            codes: &codes,
            bins: BINS,
            full_scale: &[10.0; 3],
        };
        let whole = vec![130_u8; (SPECTRA - 1) * BINS];
        let said = |before: [&[u8]; 3]| {
            let before = before.map(<[u8]>::to_vec);
            ready.say(rows, &before, &vec![Against::default(); 3]).unwrap()
        };
        let (alone, with_window) = (said([&[], &[], &[]]), said([&[], &whole, &whole[BINS..]]));
        assert_eq!((with_window[0], with_window[2]), (alone[0], alone[2]));
        assert!((with_window[1].residual - alone[1].residual).abs() > 1e-6);
        assert_eq!(with_window[1].detectors, alone[1].detectors);
        assert!(alone[0].detectors.get(Detector::OverallLevel).is_some());
        let none = CodedRows {
            codes: &[],
            bins: BINS,
            full_scale: &[],
        };
        assert_eq!(ready.say(none, &[], &[]).unwrap(), []);
    }
}
