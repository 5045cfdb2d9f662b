//! The residual detector of a bundle with all it has: the network over a sensor's last spectra where these are known, and
//! the one over a spectrum alone where they are not.

use crate::bundle::Bundle;
use crate::error::NetworkError;
use crate::session::Network;
use crate::window::{Window, Windows};

/// Windows put through a network at a time.
const BLOCK: usize = 256;

/// Both networks of a bundle; most bundles have one.
#[derive(Debug, Clone)]
pub struct Residual {
    alone: Network,
    temporal: Option<(Network, Window)>,
}

impl Residual {
    /// Makes a bundle's networks ready.
    pub fn load(bundle: &Bundle) -> Result<Self, NetworkError> {
        let temporal = bundle.manifest().temporal.as_ref().map(|temporal| temporal.window);
        Ok(Self {
            alone: Network::load(bundle)?,
            temporal: Network::load_temporal(bundle)?.zip(temporal),
        })
    }

    /// A network over one spectrum, and one over windows beside it.
    pub fn new(alone: Network, temporal: Option<(Network, Window)>) -> Self {
        Self { alone, temporal }
    }

    /// What makes a window; nothing where each spectrum is judged alone.
    pub fn window(&self) -> Option<Window> {
        self.temporal.as_ref().map(|(_, window)| *window)
    }

    /// Residuals of linear spectra, one after the other in `rows`: by window where `windows` has one of them.
    pub fn errors(&self, rows: &[f32], windows: Option<&Windows>) -> Result<Vec<f32>, NetworkError> {
        let mut errors = self.alone.session()?.run(rows, &[])?.errors;
        let (Some((network, _)), Some(windows)) = (&self.temporal, windows) else {
            return Ok(errors);
        };
        if windows.rows() != errors.len() {
            return Err(NetworkError::Input {
                field: "windows",
                reason: format!("of {} rows, {} are given", windows.rows(), errors.len()),
            });
        }
        let mut session = network.session()?;
        let with_history: Vec<(usize, Vec<usize>)> = (0..errors.len())
            .filter_map(|row| Some((row, windows.ending_at(row)?)))
            .collect();
        for block in with_history.chunks(BLOCK) {
            let history = gather(rows, self.alone.bins(), block.iter().flat_map(|(_, places)| places));
            for ((row, _), error) in block.iter().zip(session.run(&history, &[])?.errors) {
                errors[*row] = error;
            }
        }
        Ok(errors)
    }
}

/// Rows of `bins` values at some places, one after the other.
fn gather<'a>(rows: &[f32], bins: usize, places: impl Iterator<Item = &'a usize>) -> Vec<f32> {
    places.flat_map(|at| &rows[at * bins..][..bins]).copied().collect()
}

#[cfg(test)]
mod tests {
    use tocsin_domain::Timestamp;

    use super::*;
    use crate::fixture::{self, BINS, SPECTRA};

    #[test]
    fn rows_with_a_history_are_scored_by_it_and_the_others_alone() {
        let bundle = Bundle::from_archive(fixture::temporal_archive()).unwrap();
        let residual = Residual::load(&bundle).unwrap();
        let rows = fixture::spectra(6, 21);
        let keys: Vec<(u32, Timestamp)> = (0..6).map(|at| (0, Timestamp::from_micros(at * 10_000_000))).collect();
        let windows = residual.window().unwrap().among(&keys);
        let (alone, both) = (
            residual.errors(&rows, None).unwrap(),
            residual.errors(&rows, Some(&windows)).unwrap(),
        );
        let first = SPECTRA - 1;
        assert_eq!(both[..first], alone[..first]);
        let mut session = Network::load_temporal(&bundle).unwrap().unwrap().session().unwrap();
        for (row, error) in both.iter().enumerate().skip(first) {
            let history = &rows[(row + 1 - SPECTRA) * BINS..(row + 1) * BINS];
            assert_eq!(session.run(history, &[]).unwrap().errors, [*error]);
            assert!((error - alone[row]).abs() > 1e-6);
        }
    }

    #[test]
    fn windows_of_other_rows_are_refused() {
        let residual = Residual::load(&Bundle::from_archive(fixture::temporal_archive()).unwrap()).unwrap();
        let windows = residual.window().unwrap().among(&[(0, Timestamp::from_micros(0))]);
        let error = residual.errors(&fixture::spectra(2, 1), Some(&windows)).unwrap_err();
        assert_eq!(error.to_string(), "windows: of 1 rows, 2 are given");
    }
}
