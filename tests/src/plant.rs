//! A small plant whose healthy spectra are easy to learn and whose failures are easy to make.

use std::ops::Range;
use std::path::Path;

use tocsin_contracts::ingest::v1::Reading;
use tocsin_contracts::time;
use tocsin_corpus::{Row, SensorName, Writer};
use tocsin_domain::{SpectrumSpec, Timestamp};
use tocsin_models::{BundleArchive, Variant};
use tocsin_trainer::{FitOptions, TrainRequest, TrainingSet, train};

/// Bins of a spectrum.
pub const BINS: usize = 64;

/// Spectra by number: the same number gives the same spectrum.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plant;

impl Plant {
    /// The start of the plant's time.
    pub fn start() -> Timestamp {
        Timestamp::from_micros(1_767_225_600_000_000)
    }

    /// A healthy spectrum.
    pub fn healthy(number: u64) -> Vec<f32> {
        Self::healthy_bins(BINS as u16, number)
    }

    /// The same with another number of bins.
    pub fn healthy_bins(bins: u16, number: u64) -> Vec<f32> {
        (0..u64::from(bins))
            .map(|bin| {
                let shape = 0.02 + 0.05 * (-((bin as f32 - 12.0) / 6.0).powi(2)).exp();
                shape * (1.0 + 0.2 * (noise(number * 131 + bin) - 0.5))
            })
            .collect()
    }

    /// A spectrum of a machine that fails: ten times the amplitude around one resonance.
    pub fn failing(number: u64) -> Vec<f32> {
        let mut bins = Self::healthy(number);
        for amplitude in &mut bins[30..44] {
            *amplitude *= 10.0;
        }
        bins
    }

    /// A reading of `sensor` at step `number` of ten seconds.
    pub fn reading(sensor: &str, number: u64, bins: Vec<f32>) -> Reading {
        let at = Self::start() + std::time::Duration::from_secs(10) * number as u32;
        Self::reading_at(sensor, at, bins)
    }

    /// The same at a time of the story's own.
    pub fn reading_at(sensor: &str, at: Timestamp, bins: Vec<f32>) -> Reading {
        Reading {
            sensor: sensor.to_owned(),
            captured_at: Some(time::to_wire(at)),
            bins,
            ..Reading::default()
        }
    }

    /// What its sensors declare.
    pub fn spec() -> SpectrumSpec {
        SpectrumSpec::corpus_default(BINS as u16)
    }

    /// Writes steps of three machines of `site` to a corpus; machine 0 fails from step `failing` on, the others 400 and 800
    /// steps later. The steps before 300 are of split `train`, those before 1,100 of `cal`. Answers the number of rows.
    pub fn corpus(path: &Path, site: &str, steps: Range<u64>, failing: u64) -> anyhow::Result<u64> {
        let mut writer = Writer::create(path)?;
        for number in steps {
            for machine in 0..3 {
                let fails = number >= failing + 400 * machine;
                let noise = number * 3 + machine;
                let split = match number {
                    0..300 => "train",
                    300..1_100 => "cal",
                    _ => "test",
                };
                writer.write(&Row {
                    sensor: SensorName::parse(&format!("{site}/m{machine}/h"))?,
                    captured_at: Self::start() + std::time::Duration::from_secs(10) * number as u32,
                    bins: if fails {
                        Self::failing(noise)
                    } else {
                        Self::healthy(noise)
                    },
                    rpm: None,
                    load: None,
                    label: None,
                    split: Some(split.to_owned()),
                })?;
            }
        }
        Ok(writer.finish()?)
    }

    /// A healthy spectrum of a machine that is `gain` times as loud.
    pub fn healthy_at(gain: f32, number: u64) -> Vec<f32> {
        Self::healthy(number).iter().map(|amplitude| gain * amplitude).collect()
    }

    /// A healthy spectrum of some machine of a fleet whose machines are half to twice as loud as the plant's.
    pub fn of_mixed_fleet(number: u64) -> Vec<f32> {
        Self::healthy_at(0.5 * 4.0_f32.powf(noise(number)), number)
    }

    /// A bundle trained on its healthy spectra, in about a second.
    pub fn bundle(class: &str, seed: u64) -> anyhow::Result<BundleArchive> {
        Self::bundle_of(class, seed, Self::healthy)
    }

    /// The same, trained on spectra of the story's own.
    pub fn bundle_of(class: &str, seed: u64, spectrum: fn(u64) -> Vec<f32>) -> anyhow::Result<BundleArchive> {
        let mut rows = TrainingSet::new(&Self::spec());
        let mut calibration = TrainingSet::new(&Self::spec());
        for number in 0..600 {
            let at = Self::start() + std::time::Duration::from_secs(number);
            rows.push("works/m1/h", at, &spectrum(number))?;
        }
        for number in 600..2_800 {
            let at = Self::start() + std::time::Duration::from_secs(number);
            calibration.push("works/m1/h", at, &spectrum(number))?;
        }
        let options = FitOptions {
            epochs: 20,
            ..FitOptions::of(Variant::Dense)
        };
        let request = TrainRequest {
            class: class.parse()?,
            train: &rows,
            calibration: &calibration,
            variant: Variant::Dense,
            foreign: None,
            latent: None,
            seed,
            options: Some(options),
            corpora: Vec::new(),
            created_at: Self::start(),
        };
        Ok(train(&request, |_| ())?)
    }
}

/// A number in 0 to 1 that looks random (`SplitMix64`).
fn noise(number: u64) -> f32 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
}
