//! Training on rows taken for healthy of which some may be faulty.
//!
//! A network that learns a fault rebuilds it, and one fault in a hundred rows is enough. Leaving out the rows with the
//! largest errors, whatever they are, costs nearly as much: the rarest of the healthy rows are among them, and lines rise
//! where these are not learned. So a few rounds look for what is hardly healthy: each trains with a trimmed loss (Shen and
//! Sanghavi 2019) on what the one before left, and leaves out what it [suspects](suspects::left_out) of all rows. Then the
//! models are fitted on the rest, and nothing is trimmed any more. Rows that set limits are left out where they are
//! [like](suspects::like) what was.

use std::ops::ControlFlow;

use tocsin_models::{BundleArchive, Variant};

use super::{Checkpoints, TrainError, TrainRequest, errors, fit_bundle, fit_model};
use crate::fit::{FitOptions, Progress};
use crate::suspects;

/// Most rounds that look for rows to leave out: of planted faults, the third finds some that the second did not.
const ROUNDS: u32 = 3;

/// How much narrower the bottleneck is through which a network looks for them: it has less room to learn what is rare.
const NARROWER: u16 = 3;

/// Why rows were left out, in the record of how they were chosen: of those to learn from, and of those that set limits.
const TRIMMED: &str = "trimmed";
const TRIMMED_LIMITS: &str = "trimmed_limits";

/// Places of rows that were left out, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Of the rows to learn from.
    pub train: Vec<usize>,
    /// Of the rows to set limits by.
    pub calibration: Vec<usize>,
}

/// Fits the models of a request that trims; the bundle, and what was left out.
pub(super) fn fit_trimmed(
    request: &TrainRequest<'_>,
    latent: u16,
    checkpoints: Option<&Checkpoints>,
    progress: &mut impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<(BundleArchive, LeftOut), TrainError> {
    let options = request.options.unwrap_or_else(|| FitOptions::of(request.variant));
    // Of a temporal one, rows are looked at by the network over one spectrum.
    let (looking, by) = match request.variant {
        Variant::TemporalConv | Variant::TemporalLstm => (Variant::Dense, options.beside()),
        other => (other, options),
    };
    let narrow = if looking.is_network() {
        (latent / NARROWER).max(2).min(latent)
    } else {
        latent
    };
    let round = |number: u32| checkpoints.map(|checkpoints| (checkpoints, number));
    let mut left_out = Vec::new();
    for number in 0..ROUNDS {
        let train = request.train.without(&left_out);
        let of_round = TrainRequest {
            train: &train,
            variant: looking,
            options: Some(by),
            ..request.clone()
        };
        let model = fit_model(&of_round, narrow, round(number), &mut *progress)?;
        let errors = errors(request.train, &model.autoencoder, narrow)?;
        let found = suspects::left_out(request.train, &errors, options.trim, request.seed)?;
        let rows = found.len();
        tracing::info!(class = %request.class, round = number + 1, rows, "rows that are hardly healthy");
        let settled = found == left_out;
        left_out = found;
        if settled {
            break;
        }
    }
    let kin = suspects::like(request.train, &left_out, request.calibration, request.seed)?;
    let mut rest = request.train.without(&left_out);
    if !left_out.is_empty() {
        let mut selection = rest.selection().cloned().unwrap_or_default();
        for (reason, rows) in [(TRIMMED, &left_out), (TRIMMED_LIMITS, &kin)] {
            selection.left_out.insert(reason.to_owned(), rows.len() as u64);
        }
        rest = rest.chosen_by(Some(selection));
    }
    let last = TrainRequest {
        train: &rest,
        calibration: &request.calibration.without(&kin),
        options: Some(FitOptions { trim: 0.0, ..options }),
        ..request.clone()
    };
    let archive = fit_bundle(&last, latent, round(ROUNDS), progress)?;
    let left_out = LeftOut {
        train: left_out,
        calibration: kin,
    };
    Ok((archive, left_out))
}
