//! Which known line of a machine the bins that stand out could be: a hint, never a diagnosis.
//!
//! A line is named only where the spectrum can tell it from the others (a bin is at most a quarter as wide as the closest two
//! known lines are apart) and where three of its first five harmonics stand out at one slip of at most 2 %. Envelope spectra
//! show the lines of bearings best: in others they sit as sidebands around resonances.

use crate::Bearing;

/// Harmonics that are looked for.
const HARMONICS: u8 = 5;

/// Harmonics that must stand out.
const FEWEST: usize = 3;

/// How far a line may lie from where kinematics puts it, as a share: rolling elements slip.
const SLIP: f64 = 0.02;

/// Peaks that are held against the lines.
const PEAKS: usize = 8;

/// A bin must be this many times narrower than the closest two lines are apart.
const NARROWER: f64 = 4.0;

/// A line that a machine is known to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Turns of the shaft.
    Shaft,
    /// Turns of the bearing's cage.
    Ftf,
    /// Passes of an element over the outer race.
    Bpfo,
    /// Passes of an element over the inner race.
    Bpfi,
    /// Turns of an element.
    Bsf,
}

impl Line {
    /// The name people know.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shaft => "shaft",
            Self::Ftf => "FTF",
            Self::Bpfo => "BPFO",
            Self::Bpfi => "BPFI",
            Self::Bsf => "BSF",
        }
    }
}

/// What the bins that stand out could be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Hint {
    /// This line.
    Named {
        /// Which.
        line: Line,
        /// How many of its first five harmonics stand out.
        harmonics: usize,
        /// How far it lies from where kinematics puts it, as a share.
        slip: f64,
    },
    /// The bins are too wide to tell the known lines apart.
    ResolutionTooLow,
    /// No known line explains them.
    None,
}

/// The known lines at a shaft rate above zero, in Hz or, where that rate is 1, in orders: the shaft's, and those of its
/// bearing where one is known.
pub fn known(shaft_hz: f64, bearing: Option<&Bearing>) -> Vec<(Line, f64)> {
    let mut lines = vec![(Line::Shaft, shaft_hz)];
    if let Some(rates) = bearing.map(|bearing| bearing.rates(shaft_hz)) {
        lines.extend([
            (Line::Ftf, rates.ftf_hz),
            (Line::Bpfo, rates.bpfo_hz),
            (Line::Bpfi, rates.bpfi_hz),
            (Line::Bsf, rates.bsf_hz),
        ]);
    }
    lines
}

/// The line that explains the bins of `z` that stand out most. Bins are `width` wide and begin at `f_min`, both in the
/// unit of the lines.
pub fn hint(z: &[f32], f_min: f64, width: f64, lines: &[(Line, f64)]) -> Hint {
    if width * NARROWER > closest(lines) {
        return Hint::ResolutionTooLow;
    }
    let peaks: Vec<(f64, f64)> = peaks(z)
        .into_iter()
        .map(|bin| f_min + bin as f64 * width)
        .map(|low| (low, low + width))
        .collect();
    let fits = lines.iter().map(|(line, at)| (*line, fit(*at, &peaks)));
    let best = fits.max_by_key(|(_, (harmonics, _))| *harmonics);
    match best {
        Some((line, (harmonics, slip))) if harmonics >= FEWEST => Hint::Named { line, harmonics, slip },
        _ => Hint::None,
    }
}

/// How far the closest two lines are apart; of a single one, how far its harmonics are.
fn closest(lines: &[(Line, f64)]) -> f64 {
    let mut at: Vec<f64> = lines.iter().map(|(_, at)| *at).collect();
    at.sort_by(f64::total_cmp);
    let apart = at.windows(2).map(|pair| pair[1] - pair[0]);
    apart.chain(at.first().copied()).fold(f64::INFINITY, f64::min)
}

/// The bins above their neighbours and the baseline, the highest first.
fn peaks(z: &[f32]) -> Vec<usize> {
    let at = |bin: Option<usize>| bin.and_then(|bin| z.get(bin)).copied().unwrap_or(0.0);
    let is_peak = |bin: &usize| {
        let here = z[*bin];
        here > 0.0 && here >= at(bin.checked_sub(1)) && here > at(bin.checked_add(1))
    };
    let mut peaks: Vec<usize> = (0..z.len()).filter(is_peak).collect();
    peaks.sort_by(|a, b| z[*b].total_cmp(&z[*a]));
    peaks.truncate(PEAKS);
    peaks
}

/// How many harmonics of a line lie in peaks at one slip, and that slip: the one at which most do.
fn fit(line: f64, peaks: &[(f64, f64)]) -> (usize, f64) {
    let slips = |harmonic: u8| {
        let at = line * f64::from(harmonic);
        let slips = peaks
            .iter()
            .map(move |(low, high)| ((low / at - 1.0).max(-SLIP), (high / at - 1.0).min(SLIP)));
        slips.filter(|(low, high)| low <= high)
    };
    // Most peaks are met where one of their ranges begins.
    let begins = (1..=HARMONICS).flat_map(slips).map(|(low, _)| low);
    let met = |slip: f64| {
        let holds = |harmonic: &u8| slips(*harmonic).any(|(low, high)| low <= slip && slip <= high);
        (1..=HARMONICS).filter(holds).count()
    };
    begins
        .map(|slip| (met(slip), slip))
        .max_by(|a, b| a.0.cmp(&b.0))
        .unwrap_or((0, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const SHAFT_HZ: f64 = 29.17;
    const DRAWS: u32 = 1_000;

    fn lines() -> Vec<(Line, f64)> {
        known(SHAFT_HZ, Some(&Bearing::new(9, 7.940, 39.040, 0.0).unwrap()))
    }

    fn noise(bins: usize, rng: &mut StdRng) -> Vec<f32> {
        (0..bins).map(|_| rng.random_range(0.0..3.0_f32)).collect()
    }

    #[test]
    fn of_a_thousand_spectra_in_which_any_bins_stand_out_at_most_one_in_twenty_gets_a_hint() {
        let mut rng = StdRng::seed_from_u64(11);
        // The finest and the coarsest resolution at which lines are named.
        for width in [0.5, closest(&lines()) / NARROWER] {
            let bins = (800.0 / width) as usize;
            let mut named = 0;
            for _ in 0..DRAWS {
                let mut z = noise(bins, &mut rng);
                for _ in 0..PEAKS {
                    z[rng.random_range(0..bins)] = rng.random_range(6.0..40.0);
                }
                named += u32::from(matches!(hint(&z, 0.0, width, &lines()), Hint::Named { .. }));
            }
            assert!(named * 20 <= DRAWS, "{named} of {DRAWS} at {width} Hz");
        }
    }

    #[test]
    fn an_outer_race_fault_in_an_envelope_spectrum_of_1600_lines_is_named_nine_times_in_ten() {
        let mut rng = StdRng::seed_from_u64(12);
        let (bins, width) = (1_600, 0.5);
        let bpfo = lines()[2].1;
        let mut named = 0;
        for _ in 0..DRAWS {
            let mut z = noise(bins, &mut rng);
            let slipped = bpfo * (1.0 - rng.random_range(0.0..0.02));
            let first = rng.random_range(6.0..30.0_f32);
            for harmonic in 1..=HARMONICS {
                let place = slipped * f64::from(harmonic) / width;
                let height = first * 0.8_f32.powi(i32::from(harmonic)) * rng.random_range(0.7..1.3);
                let (bin, off) = (place as usize, (place.fract() - 0.5) as f32);
                z[bin] += height;
                // A window spreads a line over its neighbour.
                let neighbour = if off > 0.0 { bin + 1 } else { bin - 1 };
                z[neighbour] += height * off.abs();
            }
            // The shaft's own line, as in any envelope spectrum.
            z[(SHAFT_HZ / width) as usize] += first;
            let told = hint(&z, 0.0, width, &lines());
            named += u32::from(matches!(told, Hint::Named { line: Line::Bpfo, .. }));
        }
        assert!(named * 10 >= 9 * DRAWS, "{named} of {DRAWS}");
    }

    #[test]
    fn bins_too_wide_to_tell_lines_apart_name_none() {
        let z = vec![9.0; 64];
        assert_eq!(hint(&z, 0.0, 312.5, &lines()), Hint::ResolutionTooLow);
        assert_eq!(hint(&[0.0; 1_600], 0.0, 0.5, &lines()), Hint::None);
        assert_eq!(known(SHAFT_HZ, None), [(Line::Shaft, SHAFT_HZ)]);
    }

    proptest! {
        #[test]
        fn three_harmonics_of_any_line_at_any_slip_within_bounds_are_named(
            which in 0_usize..5, slip in -0.0199_f64..0.0199, skipped in 1_u8..4,
        ) {
            let (line, at) = lines()[which];
            let (mut z, width) = (vec![0.0_f32; 4_000], 0.25);
            let harmonics = (1..=4).filter(|harmonic| *harmonic != skipped);
            for harmonic in harmonics {
                z[(at * (1.0 + slip) * f64::from(harmonic) / width) as usize] = 20.0;
            }
            let Hint::Named { line: named, harmonics, slip: found } = hint(&z, 0.0, width, &lines()) else {
                return Err(TestCaseError::fail("no hint"));
            };
            prop_assert_eq!((named, harmonics), (line, 3));
            prop_assert!((found - slip).abs() <= width / at, "{found} for {slip}");
        }
    }
}
