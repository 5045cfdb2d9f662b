//! The autoencoder of a bundle, ready to score.

use half::f16;

use crate::archive::{AUTOENCODER_FILE, TEMPORAL_FILE};
use crate::bundle::Bundle;
use crate::error::NetworkError;
use crate::onnx;
use crate::plan::{PLAN_ROWS, Plan, PlanState};

/// Elements of the largest tensor of a batch: 32 rows of 4096 bins in 64 channels.
pub(crate) const MAX_ELEMENTS: usize = 32 * 4096 * 64;

/// An autoencoder. Shared by threads; each scores in a [`Session`] of its own.
#[derive(Debug, Clone)]
pub struct Network {
    plan: Plan,
    /// Spectra in a row of its input: one, or as many as a window.
    spectra: usize,
    bins: usize,
    latent: usize,
    target: usize,
    reconstruction: usize,
    latent_place: usize,
    score: Option<usize>,
}

/// One thread's room to run a [`Network`] in.
#[derive(Debug)]
pub struct Session {
    network: Network,
    state: PlanState,
}

/// What the network says of some spectra.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scored {
    /// Residual per row: mean squared error in the target space, or the model's own score where it has one.
    pub errors: Vec<f32>,
    /// Latents, `latent_size` values a row.
    pub latents: Vec<f16>,
    /// Values in a latent.
    pub latent_size: usize,
    /// Squared error of each bin in the target space, for the rows asked for and in the order asked; bins values a row.
    pub bin_errors: Vec<f32>,
}

impl Network {
    /// Makes a bundle's autoencoder ready. Takes some milliseconds: not for every request.
    pub fn load(bundle: &Bundle) -> Result<Self, NetworkError> {
        let manifest = bundle.manifest();
        Self::from_onnx(bundle.autoencoder(), manifest.bins.into(), manifest.latent.into())
    }

    /// Makes an autoencoder of `bins` bins and `latent` latent values ready.
    pub fn from_onnx(bytes: &[u8], bins: usize, latent: usize) -> Result<Self, NetworkError> {
        Self::within(bytes, bins, latent, MAX_ELEMENTS)
    }

    /// The same, with a limit on the elements of the largest tensor of a batch.
    pub(crate) fn within(bytes: &[u8], bins: usize, latent: usize, elements: usize) -> Result<Self, NetworkError> {
        let model = read(AUTOENCODER_FILE, bytes)?;
        let plan = Plan::load(AUTOENCODER_FILE, &model, onnx::BINS, &[bins], elements)?;
        Self::of_plan(plan, 1, bins, latent)
    }

    /// Makes the network over a sensor's last spectra ready, where a bundle has one.
    pub fn load_temporal(bundle: &Bundle) -> Result<Option<Self>, NetworkError> {
        Self::temporal_of_bundle(bundle, MAX_ELEMENTS)
    }

    /// The same, with a limit on the elements of the largest tensor of a batch.
    pub(crate) fn temporal_of_bundle(bundle: &Bundle, elements: usize) -> Result<Option<Self>, NetworkError> {
        let manifest = bundle.manifest();
        let (Some(temporal), Some(bytes)) = (&manifest.temporal, bundle.temporal()) else {
            return Ok(None);
        };
        let spectra = temporal.window.spectra.into();
        let (bins, latent) = (manifest.bins.into(), manifest.latent.into());
        Self::temporal_within(bytes, (spectra, bins), latent, elements).map(Some)
    }

    /// Makes a network over windows of `spectra` spectra of `bins` bins ready.
    pub fn temporal_from_onnx(
        bytes: &[u8],
        (spectra, bins): (usize, usize),
        latent: usize,
    ) -> Result<Self, NetworkError> {
        Self::temporal_within(bytes, (spectra, bins), latent, MAX_ELEMENTS)
    }

    fn temporal_within(
        bytes: &[u8],
        (spectra, bins): (usize, usize),
        latent: usize,
        elements: usize,
    ) -> Result<Self, NetworkError> {
        let model = read(TEMPORAL_FILE, bytes)?;
        let plan = Plan::load(TEMPORAL_FILE, &model, onnx::HISTORY, &[spectra, bins], elements)?;
        Self::of_plan(plan, spectra, bins, latent)
    }

    fn of_plan(plan: Plan, spectra: usize, bins: usize, latent: usize) -> Result<Self, NetworkError> {
        let target = plan.require(onnx::TARGET, Some(bins))?;
        let reconstruction = plan.require(onnx::RECONSTRUCTION, Some(bins))?;
        let latent_place = plan.require(onnx::LATENT, Some(latent))?;
        let score = plan.output(onnx::SCORE);
        if score.is_some() {
            plan.require(onnx::SCORE, Some(1))?;
        }
        Ok(Self {
            plan,
            spectra,
            bins,
            latent,
            target,
            reconstruction,
            latent_place,
            score,
        })
    }

    /// Bins of a spectrum.
    pub fn bins(&self) -> usize {
        self.bins
    }

    /// Spectra in a row: one, or as many as a window.
    pub fn spectra(&self) -> usize {
        self.spectra
    }

    /// Values in a latent.
    pub fn latent_size(&self) -> usize {
        self.latent
    }

    /// Room for one thread.
    pub fn session(&self) -> Result<Session, NetworkError> {
        Ok(Session {
            network: self.clone(),
            state: self.plan.state()?,
        })
    }
}

impl Session {
    /// The network it runs.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Scores linear spectra in canonical units, one after the other in `rows`, any number of them; a network over windows
    /// takes whole windows in place of spectra, each oldest first, and scores the last spectrum of each.
    ///
    /// `bin_error_rows`: the rows whose per-bin squared error is wanted.
    pub fn run(&mut self, rows: &[f32], bin_error_rows: &[usize]) -> Result<Scored, NetworkError> {
        let bins = self.network.bins;
        let values = bins * self.network.spectra;
        let count = rows.len() / values;
        if rows.len() != count * values {
            let reason = match self.network.spectra {
                1 => format!("{} values are not whole rows of {bins} bins", rows.len()),
                spectra => format!("{} values are not whole windows of {spectra} x {bins} bins", rows.len()),
            };
            return Err(NetworkError::Input { field: "rows", reason });
        }
        if let Some(row) = bin_error_rows.iter().find(|row| **row >= count) {
            return Err(NetworkError::Input {
                field: "bin_error_rows",
                reason: format!("{row} of {count} rows"),
            });
        }
        let mut scored = Scored {
            errors: Vec::with_capacity(count),
            latents: Vec::with_capacity(count * self.network.latent),
            latent_size: self.network.latent,
            bin_errors: vec![0.0; bin_error_rows.len() * bins],
        };
        let network = &self.network;
        for (block, rows) in rows.chunks(PLAN_ROWS * values).enumerate() {
            let first = block * PLAN_ROWS;
            self.state.run(rows, |outputs| {
                network.collect(outputs, rows.len() / values, &mut scored);
                for (at, row) in bin_error_rows.iter().enumerate() {
                    if (first..first + PLAN_ROWS).contains(row) {
                        let into = &mut scored.bin_errors[at * bins..][..bins];
                        network.bin_errors(outputs, row - first, into);
                    }
                }
            })?;
        }
        Ok(scored)
    }
}

impl Network {
    /// Takes errors and latents of the first `count` rows of a plan's outputs.
    fn collect(&self, outputs: &[&[f32]], count: usize, scored: &mut Scored) {
        for row in 0..count {
            let error = match self.score {
                Some(place) => outputs[place][row],
                None => mean_squared_error(
                    self.row(outputs, self.target, row),
                    self.row(outputs, self.reconstruction, row),
                ),
            };
            scored.errors.push(error);
        }
        let latents = &outputs[self.latent_place][..count * self.latent];
        scored.latents.extend(latents.iter().map(|value| half_float(*value)));
    }

    fn bin_errors(&self, outputs: &[&[f32]], row: usize, into: &mut [f32]) {
        let target = self.row(outputs, self.target, row);
        let reconstruction = self.row(outputs, self.reconstruction, row);
        for ((error, a), b) in into.iter_mut().zip(target).zip(reconstruction) {
            *error = (a - b) * (a - b);
        }
    }

    fn row<'a>(&self, outputs: &[&'a [f32]], place: usize, row: usize) -> &'a [f32] {
        &outputs[place][row * self.bins..][..self.bins]
    }
}

/// The nearest half float; what is beyond the largest becomes the largest, so that a stored latent can be decoded.
fn half_float(value: f32) -> f16 {
    let largest = f16::MAX.to_f32();
    f16::from_f32(value.clamp(-largest, largest))
}

/// Mean of the squared differences, summed in an order that depends on the length alone.
fn mean_squared_error(target: &[f32], reconstruction: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0_f32; LANES];
    for (a, b) in target.chunks(LANES).zip(reconstruction.chunks(LANES)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += (a - b) * (a - b);
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0] / target.len() as f32
}

fn read(file: &'static str, bytes: &[u8]) -> Result<onnx::proto::ModelProto, NetworkError> {
    onnx::from_bytes(bytes).map_err(|reason| NetworkError::Contract { file, reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, BINS, LATENT};

    fn session() -> Session {
        let bytes = onnx::to_bytes(&fixture::autoencoder());
        Network::from_onnx(&bytes, BINS, LATENT).unwrap().session().unwrap()
    }

    #[test]
    fn a_spectrum_alone_in_32_or_in_256_gives_identical_bits() {
        let rows = fixture::spectra(256, 11);
        let mut session = session();
        let wanted: Vec<usize> = (0..256).collect();
        let whole = session.run(&rows, &wanted).unwrap();
        for size in [1, 32, 77] {
            let mut parts = Scored {
                latent_size: LATENT,
                ..Scored::default()
            };
            for chunk in rows.chunks(size * BINS) {
                let wanted: Vec<usize> = (0..chunk.len() / BINS).collect();
                let scored = session.run(chunk, &wanted).unwrap();
                parts.errors.extend(scored.errors);
                parts.latents.extend(scored.latents);
                parts.bin_errors.extend(scored.bin_errors);
            }
            assert_eq!(parts, whole, "in batches of {size}");
        }
        let shifted = session.run(&rows[5 * BINS..], &[]).unwrap();
        assert_eq!(shifted.errors, whole.errors[5..]);
    }

    #[test]
    fn the_error_is_the_mean_of_the_bin_errors_of_the_rows_asked_for() {
        let rows = fixture::spectra(70, 12);
        let scored = session().run(&rows, &[69, 3, 40]).unwrap();
        assert_eq!(scored.bin_errors.len(), 3 * BINS);
        for (bin_errors, row) in scored.bin_errors.chunks_exact(BINS).zip([69, 3, 40]) {
            let mean = bin_errors.iter().sum::<f32>() / BINS as f32;
            assert!((mean / scored.errors[row] - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn the_target_is_the_logarithm_the_model_computes() {
        // A model whose reconstruction is zero: the error is then the mean square of ln(1 + 1000 s).
        let mut model = fixture::autoencoder();
        model.graph.as_mut().unwrap().initializer[3] = onnx::floats("up", &[LATENT, BINS], &[0.0; LATENT * BINS]);
        let network = Network::from_onnx(&onnx::to_bytes(&model), BINS, LATENT).unwrap();
        let rows = fixture::spectra(1, 13);
        let expected = rows
            .iter()
            .map(|s| (1000.0 * f64::from(*s)).ln_1p().powi(2))
            .sum::<f64>()
            / BINS as f64;
        let error = f64::from(network.session().unwrap().run(&rows, &[]).unwrap().errors[0]);
        assert!((error / expected - 1.0).abs() < 1e-5);
    }

    #[test]
    fn rows_of_another_length_and_rows_that_are_not_there_are_refused() {
        let mut session = session();
        assert!(
            session
                .run(&[0.0; BINS + 1], &[])
                .unwrap_err()
                .to_string()
                .starts_with("rows: 33 values")
        );
        assert!(
            session
                .run(&[0.0; BINS], &[1])
                .unwrap_err()
                .to_string()
                .starts_with("bin_error_rows: 1 of 1")
        );
        assert!(session.run(&[], &[]).unwrap().errors.is_empty());
    }

    #[test]
    fn sessions_of_one_network_run_on_their_own_threads() {
        let bytes = onnx::to_bytes(&fixture::autoencoder());
        let network = Network::from_onnx(&bytes, BINS, LATENT).unwrap();
        let rows = fixture::spectra(40, 14);
        let run = || network.session().unwrap().run(&rows, &[]).unwrap();
        let (a, b) = std::thread::scope(|scope| {
            let (a, b) = (scope.spawn(run), scope.spawn(run));
            (a.join().unwrap(), b.join().unwrap())
        });
        assert_eq!(a, b);
    }
}
