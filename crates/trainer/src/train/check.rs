//! What a request must be.

use tocsin_domain::{Invalid, SpectrumSpec};
use tocsin_models::{Manifest, Variant, Window};

use super::{MIN_ROWS, TrainError, TrainRequest, default_latent, size};
use crate::fit::FitOptions;
use crate::on_disk::Part;

/// Refuses a request that can't be met; the latent's size otherwise.
pub(super) fn check(request: &TrainRequest<'_>) -> Result<u16, TrainError> {
    let refuse = |field, reason| Err(TrainError::Request { field, reason });
    let bins = request.train.spec().bins;
    let rows = request.train.rows_in_all();
    if rows < MIN_ROWS as u64 {
        return refuse("train", format!("{rows} rows, at least {MIN_ROWS} are needed"));
    }
    if !same_space(request.train.spec(), request.calibration.spec()) {
        return refuse(
            "calibration",
            "its rows have another spec than those trained on".to_owned(),
        );
    }
    let options = request.options.unwrap_or_else(|| FitOptions::of(request.variant));
    let latent = check_settings(request.variant, options, request.latent, bins)?;
    check_in_memory(request, options)?;
    if (request.variant == Variant::Foreign) != request.foreign.is_some() {
        return refuse(
            "foreign",
            "files belong to a model trained elsewhere, and to no other".to_owned(),
        );
    }
    Ok(latent)
}

/// Refuses settings that no model of spectra of so many bins can be trained with, whatever the rows; the latent's size
/// otherwise. It takes no rows, so that it can be asked before any are read.
///
/// # Errors
/// [`TrainError::Request`] names the setting and the reason.
pub fn check_settings(
    variant: Variant,
    options: FitOptions,
    latent: Option<u16>,
    bins: u16,
) -> Result<u16, TrainError> {
    let refuse = |field, reason| Err(TrainError::Request { field, reason });
    check_options(options)?;
    let latent = latent.unwrap_or_else(|| default_latent(bins));
    let most = Manifest::most_latents(bins);
    if !(1..=most).contains(&latent) {
        return refuse(
            "latent",
            format!("{latent} is not between 1 and {most}, twice the {bins} bins"),
        );
    }
    if variant.is_network() && latent >= bins && !options.objective.regularises() {
        let reason = "is no bottleneck: without a regulariser the network learns to copy (identity mapping) and rebuilds \
                      faults as well as healthy spectra; take fewer, or an objective other than plain";
        return refuse("latent", format!("{latent} of {bins} bins {reason}"));
    }
    if matches!(variant, Variant::Pca | Variant::Mahalanobis) && latent > bins {
        return refuse("latent", format!("{latent} axes of {bins} bins"));
    }
    size::check(variant, options, latent, bins)?;
    Ok(latent)
}

fn check_options(options: FitOptions) -> Result<(), TrainError> {
    let FitOptions {
        epochs,
        batch,
        held_out_share,
        trim,
        ..
    } = options;
    let refuse = |field, reason| Err(TrainError::Request { field, reason });
    if epochs == 0 || batch == 0 || !(held_out_share > 0.0 && held_out_share <= 0.5) {
        let reason = format!("epochs {epochs}, batch {batch}, held_out_share {held_out_share}");
        return refuse("options", reason);
    }
    if !(0.0..0.5).contains(&trim) {
        return refuse("trim", format!("{trim} is not between 0 and below 0.5"));
    }
    if !Window::SPECTRA.contains(&options.window) {
        let (least, most) = (Window::SPECTRA.start(), Window::SPECTRA.end());
        let reason = format!("{} spectra are not between {least} and {most}", options.window);
        return refuse("window", reason);
    }
    match options.objective.parse() {
        Ok(_) => Ok(()),
        Err(Invalid { field, reason }) => refuse("objective", format!("{field}: {reason}")),
    }
}

/// Refuses what takes all rows together, where they are on disk.
fn check_in_memory(request: &TrainRequest<'_>, options: FitOptions) -> Result<(), TrainError> {
    let Some(stored) = request.train.stored() else {
        return Ok(());
    };
    let refuse = |field, reason: String| Err(TrainError::Request { field, reason });
    let variant = request.variant;
    if !can_stream(variant) {
        let reason = format!("{variant} takes all rows in memory; of rows on disk dense and conv learn");
        return refuse("variant", reason);
    }
    if options.trim > 0.0 {
        let reason = format!("{} trims by the errors of all rows, which are on disk", options.trim);
        return refuse("trim", reason);
    }
    if stored.count(Part::Rest) == 0 || stored.count(Part::HeldOut) == 0 {
        return refuse("train", "no row to learn from, or none held out to stop by".to_owned());
    }
    Ok(())
}

/// Whether a kind of autoencoder can learn from rows that come by in batches.
pub fn can_stream(variant: Variant) -> bool {
    matches!(variant, Variant::Dense | Variant::Conv)
}

/// Whether rows of both specs mean the same.
fn same_space(a: &SpectrumSpec, b: &SpectrumSpec) -> bool {
    let space = |spec: &SpectrumSpec| {
        (
            spec.bins,
            spec.canonical_full_scale().to_bits(),
            spec.canonical_s0().to_bits(),
        )
    };
    space(a) == space(b)
}
