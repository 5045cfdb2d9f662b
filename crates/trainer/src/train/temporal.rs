//! A network over a sensor's last spectra, and the one over one spectrum beside it.

use std::ops::ControlFlow;

use tocsin_models::{Network, NetworkError, Temporal, Window, Windows};

use super::model::{Model, Work};
use super::{MIN_ROWS, TrainError};
use crate::export;
use crate::fit::{self, Progress};
use crate::network::{Kind, Windowed};
use crate::training_set::TrainingSet;

/// The longest time between neighbours in a window, in intervals: one reading may be missing between them.
const GAP_INTERVALS: f64 = 2.5;
/// Share of the healthy rows whose scores lie below the point at which both networks' scores are made the same.
const LEVELLED: f64 = 0.99;

impl Work<'_> {
    /// Trains the network over one spectrum, then an encoder over windows that speaks to its decoder.
    pub(super) fn temporal(
        self,
        lstm: bool,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Model, TrainError> {
        let window = window(self.request.train, self.options.window)?;
        let windows = window.among(&self.request.train.keys());
        let [rest, held_out] = self.split_windows(&windows)?;
        let alone = self.trained(
            Kind::Dense,
            &self.alone(),
            self.options.beside(),
            self.kept,
            &mut progress,
        )?;
        let kind = Kind::Temporal(Windowed {
            lstm,
            spectra: window.spectra.into(),
            beside: alone.network.body.dense().expect("it was made a dense one"),
        });
        let rows = fit::Rows::windowed(self.standardised(), self.log.bins(), &rest, &held_out);
        let fitted = self.trained(kind, &rows, self.options, None, progress)?;
        let file = |factor| {
            let (network, objective) = (&fitted.network, fitted.objective);
            export::autoencoder(network, objective, self.latent, factor, self.preprocessing)
        };
        let mut model = self.packed(&alone);
        let score_factor = self.factor(&model.autoencoder, &file(None), window)?;
        let about = Temporal {
            window,
            score_factor,
            metrics: fitted.metrics.clone(),
        };
        model.temporal = Some((file(Some(score_factor)), about));
        Ok(model)
    }

    /// The windows that lie wholly among the rows to search on, and those wholly among the rows held out.
    fn split_windows(&self, windows: &Windows) -> Result<[Vec<Vec<usize>>; 2], TrainError> {
        let mut is_held_out = vec![false; windows.rows()];
        self.split.1.iter().for_each(|row| is_held_out[*row] = true);
        let of = |held_out: bool| -> Vec<Vec<usize>> {
            let all = (0..windows.rows()).filter_map(|row| windows.ending_at(row));
            let inside = |places: &Vec<usize>| places.iter().all(|row| is_held_out[*row] == held_out);
            all.filter(inside).collect()
        };
        let split = [of(false), of(true)];
        if split[0].len() < MIN_ROWS || split[1].is_empty() {
            let reason = format!(
                "{} windows to learn from and {} to stop by, at least {MIN_ROWS} and 1 are needed: rows of a sensor that \
                 follow one another, none more than {GAP_INTERVALS} intervals after the one before",
                split[0].len(),
                split[1].len()
            );
            return Err(TrainError::Request {
                field: "window",
                reason,
            });
        }
        Ok(split)
    }

    /// What the temporal network's scores are multiplied by, so that of the rows with a window as many lie below a line as by
    /// the other network's: bundles have one pair of lines. It is read off the rows that set these, which neither network
    /// knows, where enough of them have a window, and off those trained on otherwise.
    fn factor(&self, alone: &[u8], temporal: &[u8], window: Window) -> Result<f32, NetworkError> {
        let of = |set: &TrainingSet| -> Vec<Vec<usize>> {
            let windows = window.among(&set.keys());
            (0..set.len()).filter_map(|row| windows.ending_at(row)).collect()
        };
        let (mut set, mut windows) = (self.request.calibration, of(self.request.calibration));
        if windows.len() < MIN_ROWS {
            (set, windows) = (self.request.train, of(self.request.train));
        }
        let (bins, linear) = (self.log.bins(), set.linear());
        let row = |at: &usize| &linear[at * bins..][..bins];
        let newest: Vec<f32> = windows
            .iter()
            .filter_map(|places| places.last())
            .flat_map(row)
            .copied()
            .collect();
        let alone = Network::from_onnx(alone, bins, self.latent)?
            .session()?
            .run(&newest, &[])?;
        let shape = (window.spectra.into(), bins);
        let mut session = Network::temporal_from_onnx(temporal, shape, self.latent)?.session()?;
        let mut errors = Vec::with_capacity(windows.len());
        for block in windows.chunks(MIN_ROWS) {
            let history: Vec<f32> = block.iter().flatten().flat_map(row).copied().collect();
            errors.extend(session.run(&history, &[])?.errors);
        }
        let factor = level(alone.errors) / level(errors);
        Ok(if factor.is_finite() && factor > 0.0 {
            factor
        } else {
            1.0
        })
    }
}

/// The score below which [`LEVELLED`] of them lie.
fn level(mut scores: Vec<f32>) -> f32 {
    scores.sort_by(f32::total_cmp);
    let place = (scores.len() as f64 * LEVELLED) as usize;
    scores
        .get(place.min(scores.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

/// Windows of so many spectra, their gaps measured by the middle one of the intervals between a sensor's rows.
fn window(set: &TrainingSet, spectra: u16) -> Result<Window, TrainError> {
    let mut keys = set.keys();
    keys.sort_unstable();
    let mut intervals: Vec<i64> = keys
        .windows(2)
        .filter(|pair| pair[0].0 == pair[1].0)
        .map(|pair| pair[1].1.as_micros() - pair[0].1.as_micros())
        .filter(|interval| *interval > 0)
        .collect();
    intervals.sort_unstable();
    let refuse = |reason| TrainError::Request {
        field: "window",
        reason,
    };
    let middle = intervals.get(intervals.len() / 2);
    let middle = middle.ok_or_else(|| refuse("no sensor has two rows".to_owned()))?;
    let window = Window {
        spectra,
        most_gap_ms: (*middle as f64 * GAP_INTERVALS / 1000.0).ceil() as u64,
    };
    window.parse().map_err(|invalid| refuse(invalid.to_string()))
}

#[cfg(test)]
mod tests {
    use tocsin_domain::{SpectrumSpec, Timestamp};

    use super::*;

    #[test]
    fn a_gap_is_measured_by_the_usual_interval() {
        let mut set = TrainingSet::new(&SpectrumSpec::corpus_default(32));
        for second in [0, 10, 20, 30, 500, 510, 520] {
            set.push("a/b/c", Timestamp::from_micros(second * 1_000_000), &[0.1; 32])
                .unwrap();
        }
        let window = window(&set, 4).unwrap();
        assert_eq!((window.spectra, window.most_gap_ms), (4, 25_000));
        let error = super::window(&TrainingSet::new(set.spec()), 4).unwrap_err().to_string();
        assert_eq!(error, "window: no sensor has two rows");
    }

    #[test]
    fn scores_are_levelled_near_their_upper_end() {
        assert_eq!(level((0..200_u8).map(f32::from).collect()).to_bits(), 198_f32.to_bits());
        assert_eq!(level(Vec::new()).to_bits(), 0_f32.to_bits());
    }
}
