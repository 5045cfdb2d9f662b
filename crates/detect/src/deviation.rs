//! One number from a spectrum's deviations z from its sensor's [baseline](crate::baseline): how much it grew, how far it
//! shifted, how sharply a line stands out.
//!
//! - **Growth** sqrt(mean(max(z, 0)^2)): one-sided, as most faults add energy. It dilutes what touches few bins by the root
//!   of their share, so a band that rises over its surroundings counts beside it: a matched filter an eighth of the range
//!   wide, weighed so that healthy machines reach about as much in it.
//! - **Shift** sqrt(mean(z^2)): two-sided, as some faults (a loose mounting, lost load) are quieter than healthy.
//! - **Narrowband** max(z - median of the bin and its neighbours), no bin's scale less than the median bin's: a fault in one
//!   line, which growth dilutes; what lifts a whole region at once (load, speed) lifts the median as well and is not seen.
//!
//! **Invariant:** each is finite for finite z, zero for z = 0 everywhere, and scales with z.

mod decisive;

use tocsin_domain::{Detector, Scores};

pub use self::decisive::decisive_bins;
use crate::baseline::median;
use crate::lanes::dot;

/// Bins on either side that a line is held against: with its own, nine.
const NEIGHBOURS: usize = 4;
const WINDOW: usize = 2 * NEIGHBOURS + 1;

/// Parts of the range that a band is one of.
const BANDS: usize = 8;

/// Fewest bins of a band.
const LEAST_BAND: usize = 4;

/// What a standard deviation of a band's mean weighs in growth. On run-to-failure bearings of 64 and 128 bins the largest
/// 5th of 8 of healthy machines is then 1.0 and 1.1, where the root mean square reaches 1.3 and 1.1.
const BAND_WEIGHT: f32 = 0.18;

/// Scores deviations: growth, shift and narrowband, the last with what each bin [weighs](line_weights) as a line.
///
/// # Panics
/// If the lengths differ.
pub fn score_into(z: &[f32], weights: &[f32], scores: &mut Scores) {
    scores.set(Detector::Growth, growth(z));
    scores.set(Detector::Shift, shift(z));
    let mut lines = z.to_vec();
    weigh(&mut lines, weights);
    scores.set(Detector::Narrowband, narrowband(&lines));
}

/// What a deviation in each bin weighs as a line, 0 to 1: as if no bin had a lesser scale than half of the sensor's bins. Of
/// very many bins some hardly moved while the sensor was commissioned, and move later, healthy as it is; in their own
/// scales they would set every limit.
pub fn line_weights(scale: &[f32]) -> Vec<f32> {
    let least = median(&mut scale.to_vec());
    scale.iter().map(|scale| (scale / least).min(1.0)).collect()
}

/// Makes deviations those that narrowband looks at.
fn weigh(z: &mut [f32], weights: &[f32]) {
    assert_eq!(z.len(), weights.len(), "deviations against weights");
    for (z, weight) in z.iter_mut().zip(weights) {
        *z *= weight;
    }
}

/// How much a spectrum grew: the greater of the one-sided root mean square of its deviations, and the rise of a band.
pub fn growth(z: &[f32]) -> f32 {
    let rise = rise(z);
    let weight = BAND_WEIGHT * ((z.len() / BANDS) as f32).sqrt();
    // In health no band comes near, and few medians are looked for.
    let floor = if weight > 0.0 { rise / weight } else { 0.0 };
    rise.max(weight * band_rise(z, floor))
}

/// One-sided root mean square of the deviations.
fn rise(z: &[f32]) -> f32 {
    let mut sum = 0.0_f32;
    for chunk in z.chunks(CHUNK) {
        let mut risen = [0.0_f32; CHUNK];
        for (risen, z) in risen.iter_mut().zip(chunk) {
            *risen = z.max(0.0);
        }
        sum += dot(&risen, &risen);
    }
    (sum / z.len().max(1) as f32).sqrt()
}

/// Greatest rise of a band, an eighth of the range, over its surroundings, a half of it: mean of the band's deviations
/// minus their median around it, mirrored at the ends. `floor` where none is above it, and below 32 bins, where a band is a
/// few lines.
fn band_rise(z: &[f32], floor: f32) -> f32 {
    let (width, reach) = (z.len() / BANDS, (z.len() / 4).saturating_sub(1));
    if width < LEAST_BAND {
        return floor;
    }
    let mut around = z.to_vec();
    // No median around a bin is less than this: half of what it stands on, mirrored twice at most, is no greater.
    let (_, least, _) = around.select_nth_unstable_by(reach / 2, f32::total_cmp);
    let least = *least;
    let mut greatest = floor;
    let mut sum: f64 = z[..width].iter().map(|z| f64::from(*z)).sum();
    for end in width..=z.len() {
        let mean = (sum / width as f64) as f32;
        if mean - least > greatest {
            greatest = greatest.max(mean - median_around(z, end - width + width / 2, reach, &mut around));
        }
        if let Some(next) = z.get(end) {
            sum += f64::from(*next) - f64::from(z[end - width]);
        }
    }
    greatest
}

/// Median of the values within `reach` of a bin, mirrored at the ends; `around` is working space.
fn median_around(z: &[f32], bin: usize, reach: usize, around: &mut Vec<f32>) -> f32 {
    let last = z.len() - 1;
    around.clear();
    around.extend((1..=reach.saturating_sub(bin)).map(|beyond| z[beyond]));
    around.extend(&z[bin.saturating_sub(reach)..=(bin + reach).min(last)]);
    around.extend((1..=(bin + reach).saturating_sub(last)).map(|beyond| z[last - beyond]));
    *around.select_nth_unstable_by(reach, f32::total_cmp).1
}

/// Two-sided root mean square of the deviations.
pub fn shift(z: &[f32]) -> f32 {
    (dot(z, z) / z.len().max(1) as f32).sqrt()
}

/// Turns deviations into what each bin adds to what `by` saw, as shares that sum to one: of z^2, but nothing where z is
/// below zero unless `by` looks both ways, as shift does; narrowband sees them by their weights. All zero when nothing
/// stands out.
///
/// # Panics
/// If the lengths differ.
pub fn shares_in_place(by: Detector, z: &mut [f32], weights: &[f32]) {
    if by == Detector::Narrowband {
        weigh(z, weights);
    }
    for z in &mut *z {
        let seen = if by == Detector::Shift { *z } else { z.max(0.0) };
        *z = seen * seen;
    }
    let total: f64 = z.iter().map(|weight| f64::from(*weight)).sum();
    for weight in z {
        *weight = if total > 0.0 {
            (f64::from(*weight) / total) as f32
        } else {
            0.0
        };
    }
}

/// Bins taken at a time: a whole spectrum of the usual size, so that the working arrays live on the stack.
const CHUNK: usize = 64;

/// Greatest rise of a bin over the median of the nine bins around it, mirrored at the ends. At least 0: in any nine
/// there is one at their median. Below nine bins there is no neighbourhood, and the rise is over zero.
pub fn narrowband(z: &[f32]) -> f32 {
    if z.len() < WINDOW {
        return z.iter().copied().fold(0.0, f32::max);
    }
    // Local medians of `CHUNK` neighbouring bins side by side: the sorting network runs on whole arrays.
    let mut padded = vec![0.0_f32; z.len().next_multiple_of(CHUNK) + 2 * NEIGHBOURS];
    padded[NEIGHBOURS..][..z.len()].copy_from_slice(z);
    for at in 1..=NEIGHBOURS {
        padded[NEIGHBOURS - at] = z[at];
        padded[NEIGHBOURS + z.len() - 1 + at] = z[z.len() - 1 - at];
    }
    let mut greatest = 0.0_f32;
    for (at, bins) in z.chunks(CHUNK).enumerate() {
        let medians = local_medians(&padded[at * CHUNK..][..CHUNK + 2 * NEIGHBOURS]);
        for (z, median) in bins.iter().zip(medians) {
            greatest = greatest.max(z - median);
        }
    }
    greatest
}

/// Median of nine for each of [`CHUNK`] places, by Paeth's network of 19 exchanges (Graphics Gems I, 1990).
fn local_medians(padded: &[f32]) -> [f32; CHUNK] {
    const EXCHANGES: [(usize, usize); 19] = [
        (1, 2),
        (4, 5),
        (7, 8),
        (0, 1),
        (3, 4),
        (6, 7),
        (1, 2),
        (4, 5),
        (7, 8),
        (0, 3),
        (5, 8),
        (4, 7),
        (3, 6),
        (1, 4),
        (2, 5),
        (4, 7),
        (4, 2),
        (6, 4),
        (4, 2),
    ];
    let mut columns = [[0.0_f32; CHUNK]; WINDOW];
    for (at, column) in columns.iter_mut().enumerate() {
        column.copy_from_slice(&padded[at..][..CHUNK]);
    }
    for (low, high) in EXCHANGES {
        let (a, b) = (columns[low], columns[high]);
        for at in 0..CHUNK {
            columns[low][at] = a[at].min(b[at]);
            columns[high][at] = a[at].max(b[at]);
        }
    }
    columns[NEIGHBOURS]
}

#[cfg(test)]
mod tests;
