//! The stored and scored form of a spectrum: one byte a bin, in 0.375 dB steps below the spec's full scale.
//!
//! Code 0 is "at or below the floor" (95.25 dB under full scale) and reads back as zero; codes 1 to 255 end at full
//! scale, above which a bin clips. **Invariant:** bytes written by a codec version read back the same for ever.

use std::sync::LazyLock;

use crate::{Invalid, Spectrum, SpectrumSpec};

/// Decibels between neighbouring codes.
const STEP_DB: f64 = 0.375;

/// `10^((code - 255) * STEP_DB / 20)`, the fraction of full scale of each code; 0 for code 0.
static FRACTIONS: LazyLock<[f64; 256]> = LazyLock::new(|| {
    std::array::from_fn(|code| match code {
        0 => 0.0,
        _ => 10f64.powf((code as f64 - 255.0) * STEP_DB / 20.0),
    })
});

/// Geometric midpoints between neighbouring codes' fractions: where rounding in dB turns over.
static EDGES: LazyLock<[f32; 255]> =
    LazyLock::new(|| std::array::from_fn(|i| 10f64.powf((i as f64 + 0.5 - 255.0) * STEP_DB / 20.0) as f32));

/// Codes of fractions of full scale, found without a search.
///
/// A cell is what amplitudes that share their exponent and the first five bits of their mantissa have in common. It is at
/// most 1/32 wide, and neighbouring edges are 4.4 % apart, so that a cell holds at most one edge.
struct Encoder {
    /// Edges at or below each cell's lowest amplitude.
    below: [u8; Self::CELLS],
    /// [`EDGES`], and one that no amplitude reaches.
    edges: [f32; 256],
}

static ENCODER: LazyLock<Box<Encoder>> = LazyLock::new(|| Box::new(Encoder::new()));

impl Encoder {
    /// Bits of an `f32` below those that name its cell.
    const SHIFT: u32 = 18;
    /// Cells of all amplitudes from 0 up, infinity included.
    const CELLS: usize = 1 << (31 - Self::SHIFT);

    fn new() -> Self {
        let passed = |fraction: f32| EDGES.partition_point(|edge| *edge <= fraction) as u8;
        Self {
            below: std::array::from_fn(|cell| passed(f32::from_bits((cell as u32) << Self::SHIFT))),
            edges: std::array::from_fn(|place| EDGES.get(place).copied().unwrap_or(f32::INFINITY)),
        }
    }

    /// The code whose fraction of full scale is nearest in dB: the count of edges passed. `fraction` is 0 or more.
    fn code(&self, fraction: f32) -> u8 {
        let below = self.below[(fraction.to_bits() >> Self::SHIFT) as usize % Self::CELLS];
        below + u8::from(self.edges[usize::from(below)] <= fraction)
    }
}

/// One codes-per-bin spectrum, as stored and scored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CanonicalSpectrum(Vec<u8>);

impl CanonicalSpectrum {
    /// Takes stored codes as they are; every byte is a legal code.
    pub fn from_codes(codes: Vec<u8>) -> Self {
        Self(codes)
    }

    /// The codes, one per bin.
    pub fn codes(&self) -> &[u8] {
        &self.0
    }

    /// The codes, owned.
    pub fn into_codes(self) -> Vec<u8> {
        self.0
    }
}

/// Version 1 of the codec for one full scale.
#[derive(Debug, Clone)]
pub struct Codec {
    full_scale: f32,
    amplitudes: [f32; 256],
}

impl Codec {
    /// The version that rows and bundles name.
    pub const VERSION: u8 = 1;

    /// The codec of a sensor's spec.
    pub fn for_spec(spec: &SpectrumSpec) -> Self {
        Self::with_full_scale(spec.canonical_full_scale())
    }

    /// The codec for a full scale in canonical units.
    pub fn with_full_scale(full_scale: f32) -> Self {
        let amplitudes = FRACTIONS.map(|fraction| (fraction * f64::from(full_scale)) as f32);
        Self { full_scale, amplitudes }
    }

    /// Encodes a spectrum; also says whether any bin was above full scale and clipped.
    pub fn encode(&self, spectrum: &Spectrum) -> (CanonicalSpectrum, bool) {
        let (encoder, inverse) = (&**ENCODER, 1.0 / self.full_scale);
        let mut clipped = false;
        let codes = spectrum
            .as_slice()
            .iter()
            .map(|amplitude| {
                clipped |= *amplitude > self.full_scale;
                encoder.code(amplitude * inverse)
            })
            .collect();
        (CanonicalSpectrum(codes), clipped)
    }

    /// One amplitude in canonical units as it would be kept: encoded and decoded.
    pub fn requantise(&self, amplitude: f32) -> f32 {
        self.amplitudes[usize::from(ENCODER.code(amplitude / self.full_scale))]
    }

    /// Linear amplitudes of `codes` in canonical units, into a slice of the same length.
    pub fn decode_into(&self, codes: &[u8], amplitudes: &mut [f32]) {
        for (amplitude, code) in amplitudes.iter_mut().zip(codes) {
            *amplitude = self.amplitudes[usize::from(*code)];
        }
    }

    /// Linear amplitudes of `codes` in canonical units.
    pub fn decode(&self, codes: &[u8]) -> Vec<f32> {
        codes.iter().map(|code| self.amplitudes[usize::from(*code)]).collect()
    }
}

/// Checks that stored codes have the bins of their spec.
pub fn check_length(codes: &[u8], spec: &SpectrumSpec) -> Result<(), Invalid> {
    if codes.len() == usize::from(spec.bins) {
        return Ok(());
    }
    Err(Invalid::new(
        "spectrum",
        format!("{} codes, the spec has {} bins", codes.len(), spec.bins),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spectrum::AmplitudeScale;
    use proptest::prelude::*;

    fn spectrum(amplitudes: &[f32]) -> Spectrum {
        let spec = SpectrumSpec::corpus_default(amplitudes.len() as u16);
        Spectrum::parse(amplitudes, AmplitudeScale::Linear, &spec).unwrap()
    }

    #[test]
    fn every_code_survives_decoding_and_encoding() {
        for full_scale in [0.5f32, 10.0, 980.665] {
            let codec = Codec::with_full_scale(full_scale);
            let codes: Vec<u8> = (0..=255).collect();
            let (again, clipped) = codec.encode(&spectrum(&codec.decode(&codes)));
            assert_eq!(again.codes(), codes);
            assert!(!clipped);
        }
    }

    #[test]
    fn full_scale_is_the_last_code_and_above_it_clips() {
        let codec = Codec::with_full_scale(10.0);
        let (codes, clipped) = codec.encode(&spectrum(&[10.0; 32]));
        assert_eq!((codes.codes()[0], clipped), (255, false));
        let (codes, clipped) = codec.encode(&spectrum(&[10.1; 32]));
        assert_eq!((codes.codes()[0], clipped), (255, true));
    }

    #[test]
    fn the_bytes_of_version_one_are_fixed() {
        let codec = Codec::with_full_scale(10.0);
        let amplitudes = [0.0, 1e-5, 1.7e-4, 1.8e-4, 0.001, 0.02, 0.1, 0.5, 1.0, 3.0, 9.9, 10.0];
        let mut bins = vec![0.0; 32];
        bins[..amplitudes.len()].copy_from_slice(&amplitudes);
        let (codes, _) = codec.encode(&spectrum(&bins));
        assert_eq!(codes.codes()[..12], [0, 0, 1, 2, 42, 111, 148, 186, 202, 227, 255, 255]);
    }

    #[test]
    fn codes_are_the_count_of_edges_passed_at_and_around_every_edge() {
        let passed = |fraction: f32| EDGES.partition_point(|edge| *edge <= fraction) as u8;
        for edge in *EDGES {
            for fraction in [edge.next_down(), edge, edge.next_up(), edge * 1.01] {
                assert_eq!(ENCODER.code(fraction), passed(fraction), "{fraction}");
            }
        }
        for fraction in [0.0, f32::MIN_POSITIVE, 1.0, 2.0, f32::MAX] {
            assert_eq!(ENCODER.code(fraction), passed(fraction), "{fraction}");
        }
    }

    proptest! {
        #[test]
        fn codes_are_the_count_of_edges_passed(fraction in 0f32..2.0) {
            prop_assert_eq!(ENCODER.code(fraction), EDGES.partition_point(|edge| *edge <= fraction) as u8);
        }

        #[test]
        fn an_amplitude_above_the_floor_is_kept_within_half_a_step(amplitude in 2e-4f32..10.0) {
            let codec = Codec::with_full_scale(10.0);
            let (codes, _) = codec.encode(&spectrum(&[amplitude; 32]));
            let back = codec.decode(codes.codes())[0];
            let error_db = 20.0 * (f64::from(back) / f64::from(amplitude)).log10();
            prop_assert!(error_db.abs() <= STEP_DB / 2.0 + 1e-3, "{} dB", error_db);
        }
    }
}
