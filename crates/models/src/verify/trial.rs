//! The running part: a few spectra through both models.

use super::VerifyError;
use crate::bundle::Bundle;
use crate::decoder::Decoder;
use crate::plan::PLAN_ROWS;
use crate::session::{Network, Session};

/// Runs a batch of unlike spectra; every output has to be finite, and no row may depend on the others.
pub(super) fn run(bundle: &Bundle, max_elements: usize) -> Result<(), VerifyError> {
    let manifest = bundle.manifest();
    let (bins, latent) = (usize::from(manifest.bins), usize::from(manifest.latent));
    let network = Network::within(bundle.autoencoder(), bins, latent, max_elements)?;
    let temporal = Network::temporal_of_bundle(bundle, max_elements)?;
    let mut decoder = Decoder::within(bundle.decoder(), bins, latent, max_elements)?;
    let rows = spectra(bins, manifest.s0, manifest.full_scale);
    try_network(&mut network.session()?, &mut decoder, &rows)?;
    if let Some(network) = temporal {
        let windows = windows(&rows, bins, network.spectra());
        try_network(&mut network.session()?, &mut decoder, &windows)?;
    }
    Ok(())
}

/// Runs a network on a batch, and the decoder on its latents.
fn try_network(session: &mut Session, decoder: &mut Decoder, rows: &[f32]) -> Result<(), VerifyError> {
    let (bins, latent) = (session.network().bins(), session.network().latent_size());
    let wanted: Vec<usize> = (0..PLAN_ROWS).collect();
    let scored = session.run(rows, &wanted)?;
    let fail = |reason: String| Err(VerifyError::Trial { reason });
    if let Some(row) = scored
        .errors
        .iter()
        .position(|error| !(error.is_finite() && *error >= 0.0))
    {
        return fail(format!("the error of spectrum {row} is {}", scored.errors[row]));
    }
    if let Some(at) = scored.latents.iter().position(|value| !value.is_finite()) {
        return fail(format!(
            "the latent of spectrum {} does not fit half floats",
            at / latent
        ));
    }
    if let Some(at) = scored.bin_errors.iter().position(|error| !error.is_finite()) {
        return fail(format!(
            "spectrum {}, bin {}: the error is {}",
            at / bins,
            at % bins,
            scored.bin_errors[at]
        ));
    }
    check_independence(session, rows, &scored.errors)?;
    let decoded = decoder.run(&scored.latents)?;
    if let Some(at) = decoded
        .iter()
        .position(|amplitude| !(amplitude.is_finite() && *amplitude >= 0.0))
    {
        return fail(format!(
            "spectrum {}, bin {} is rebuilt as {}",
            at / bins,
            at % bins,
            decoded[at]
        ));
    }
    Ok(())
}

/// Scores each row at another place, among zeros; the bits must not change.
fn check_independence(session: &mut Session, rows: &[f32], errors: &[f32]) -> Result<(), VerifyError> {
    let values = session.network().bins() * session.network().spectra();
    for (row, (spectrum, error)) in rows.chunks_exact(values).zip(errors).enumerate() {
        let alone = session.run(spectrum, &[])?.errors[0];
        if alone.to_bits() != error.to_bits() {
            let reason = format!("spectrum {row} scores {error} among others and {alone} alone: the model mixes rows");
            return Err(VerifyError::Trial { reason });
        }
    }
    Ok(())
}

/// Each spectrum of a batch at the end of a window: the others before it, in turn.
fn windows(rows: &[f32], bins: usize, spectra: usize) -> Vec<f32> {
    (0..PLAN_ROWS)
        .flat_map(|last| (0..spectra).map(move |at| (last + PLAN_ROWS + 1 + at - spectra) % PLAN_ROWS))
        .flat_map(|place| &rows[place * bins..][..bins])
        .copied()
        .collect()
}

/// One batch: silence, full scale, single lines and combs at levels from below `s0` to full scale.
fn spectra(bins: usize, s0: f32, full_scale: f32) -> Vec<f32> {
    let decades = (full_scale / s0).max(1.0);
    (0..PLAN_ROWS)
        .flat_map(|row| {
            let level = s0 * decades.powf(row as f32 / (PLAN_ROWS - 1) as f32);
            (0..bins).map(move |bin| match row % 4 {
                0 if row == 0 => 0.0,
                0 => level,
                1 if bin == row * bins / PLAN_ROWS => level,
                1 => s0,
                2 => level * (1.0 + bin as f32) / bins as f32,
                _ if bin.is_multiple_of(row) => level,
                _ => 0.0,
            })
        })
        .collect()
}
