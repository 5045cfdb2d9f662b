//! `tocsin models sample` and `interpolate`: what a bundle's decoder makes of draws and of paths in its latent space.

mod plot;
mod reading;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;
use tocsin_corpus::{Row, SensorName, Writer};
use tocsin_detect::percentile;
use tocsin_domain::spec::{Amplitude, Quantity, Unit};
use tocsin_domain::{Detector, Slug, SpectrumSpec, Timestamp};
use tocsin_models::Bundle;
use tocsin_trainer::latent_space::{self, Decoded, FIT_ROWS, Source};
use tocsin_trainer::{TrainingSet, on_disk};

use self::plot::Drawing;
use self::reading::Search;
use crate::command::Ask;
use crate::command::corpora::{Corpora, given_spec, no_rows, write_spec_beside};

/// The split of what is written, so that nothing is trained on it by accident.
const SPLIT: &str = "decoded";
/// The healthy percentile that decoded spectra are held against, and the confidence of its interval.
const LINE: f64 = 0.995;
const CONFIDENCE: f64 = 0.95;

/// Where decoded spectra go.
#[derive(Debug, Args)]
struct Out {
    /// HTML file to draw the spectra into; it needs nothing else
    #[arg(long, value_name = "FILE", required_unless_present = "out")]
    plot: Option<PathBuf>,
    /// Parquet file to write the spectra into, in the form of a corpus: linear amplitude in the bundle's unit, sensor
    /// decoded/CLASS/sample or path, a second from one to the next, split `decoded`; where that is not what a corpus that says
    /// nothing holds, their specification goes beside it, as FILE.spec.json
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Draws latents and decodes them into spectra. Those of a variational bundle come from a standard normal distribution; those of
/// another from a normal distribution fitted to the latents of the rows of --corpus, which is an assumption.
#[derive(Debug, Args)]
pub(super) struct Sample {
    /// The bundle: its folder or archive, or its number or digest in the registry
    bundle: String,
    /// Parquet files of healthy readings to fit the distribution to: to 4096 of them, drawn by the seed, where there are more
    #[arg(long, num_args = 1.., value_name = "FILE")]
    corpus: Vec<PathBuf>,
    /// Only sensors whose site/machine/sensor matches; * stands for anything
    #[arg(long, value_name = "GLOB", requires = "corpus")]
    sensors: Option<String>,
    /// JSON file with the spectrum specification of --corpus, and of the bundle: what its bins are counted along [default: what
    /// lies beside the corpora, or that of a corpus that states none]
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// The split of the corpus to fit to
    #[arg(long, default_value = "train")]
    split: String,
    /// Draws
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    out: Out,
}

/// Decodes the straight path from the latent of one reading to that of another.
#[derive(Debug, Args)]
pub(super) struct Interpolate {
    /// The bundle: its folder or archive, or its number or digest in the registry
    bundle: String,
    #[command(flatten)]
    corpora: Corpora,
    /// The reading the path begins at: its row in the corpora, from 1, or site/machine/sensor@time (RFC 3339)
    #[arg(long, value_name = "READING")]
    from: String,
    /// The reading it ends at
    #[arg(long, value_name = "READING")]
    to: String,
    /// Spectra on the path, both ends among them
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    steps: u32,
    #[command(flatten)]
    out: Out,
}

impl Sample {
    pub(super) async fn run(self, ask: &Ask) -> Result<()> {
        let bundle = super::open(ask, &self.bundle).await?;
        let corpora = self.corpora();
        let spec = self.spec(&bundle, corpora.as_ref())?;
        let healthy = match (&corpora, &spec) {
            (Some(corpora), Some(spec)) => Some(self.healthy(corpora, spec)?),
            _ => None,
        };
        let source = Source::of(&bundle, healthy.as_ref())?;
        let size = usize::from(bundle.manifest().latent);
        let decoded = latent_space::decode(&bundle, &source.draw(size, self.count as usize, self.seed))?;
        let drawing = Drawing {
            bundle: &bundle,
            spec: spec.as_ref(),
            decoded: &decoded,
            note: format!("{} draws from {}, seed {}.", self.count, source.describe(), self.seed),
        };
        self.out.write("sample", &drawing, drawing.sample())?;
        let mut told = told(&bundle, &decoded)?;
        told["drawn_from"] = source.describe().into();
        ask.output.item("sample", told)
    }

    /// The corpora with rows to fit a distribution to, if any were given.
    fn corpora(&self) -> Option<Corpora> {
        (!self.corpus.is_empty()).then(|| Corpora {
            corpus: self.corpus.clone(),
            sensors: self.sensors.clone(),
            spec: self.spec.clone(),
        })
    }

    /// What the bundle's spectra are, where that is said.
    fn spec(&self, bundle: &Bundle, corpora: Option<&Corpora>) -> Result<Option<SpectrumSpec>> {
        let (flag, spec) = match (corpora, &self.spec) {
            (Some(corpora), _) => {
                let splits = [self.split.as_str()];
                let bins = corpora.first_bins(Some(&splits))?;
                let bins = bins.ok_or_else(|| no_rows(Some(&splits)))?;
                ("--corpus", corpora.spec_of(bins)?)
            }
            (None, Some(path)) => ("--spec", given_spec(path)?),
            (None, None) => return Ok(None),
        };
        check_spec(flag, bundle, &spec)?;
        Ok(Some(spec))
    }

    /// The rows to fit a distribution to.
    fn healthy(&self, corpora: &Corpora, spec: &SpectrumSpec) -> Result<TrainingSet> {
        let mut drawn = on_disk::Sample::of(spec, FIT_ROWS, self.seed);
        corpora.each(Some(&[self.split.as_str()]), "reading", |row| {
            if reading::may_be_healthy(&row) {
                let sensor = row.sensor.to_string();
                let pushed = drawn.push(&sensor, row.captured_at, &row.bins);
                pushed.with_context(|| format!("{sensor} at {}", row.captured_at))?;
            }
            Ok(())
        })?;
        Ok(drawn.finish())
    }
}

impl Interpolate {
    pub(super) async fn run(self, ask: &Ask) -> Result<()> {
        let bundle = super::open(ask, &self.bundle).await?;
        let ends = self.ends()?;
        let spec = self.corpora.spec(&ends)?;
        check_spec("--corpus", &bundle, &spec)?;
        let mut set = TrainingSet::new(&spec);
        for row in &ends {
            let sensor = row.sensor.to_string();
            set.push(&sensor, row.captured_at, &row.bins)
                .with_context(|| format!("{sensor} at {}", row.captured_at))?;
        }
        let latents = latent_space::encode(&bundle, set.linear())?;
        let (from, to) = latents.split_at(bundle.manifest().latent.into());
        let decoded = latent_space::decode(&bundle, &latent_space::path(from, to, self.steps as usize))?;
        let [from, to] = ends
            .each_ref()
            .map(|row| format!("{} at {}", row.sensor, row.captured_at));
        let drawing = Drawing {
            bundle: &bundle,
            spec: Some(&spec),
            decoded: &decoded,
            note: format!(
                "{} steps on the straight line between the latents of {from} and {to}.",
                self.steps
            ),
        };
        self.out.write("path", &drawing, drawing.path(set.linear()))?;
        let mut told = told(&bundle, &decoded)?;
        told["from"] = from.into();
        told["to"] = to.into();
        told["errors"] = json!(decoded.errors);
        ask.output.item("path", told)
    }

    /// The readings at both ends, of rows that are not kept.
    fn ends(&self) -> Result<[Row; 2]> {
        let mut from = Search::of("--from", &self.from)?;
        let mut to = Search::of("--to", &self.to)?;
        self.corpora.each(None, "looking at", |row| {
            from.look(&row);
            to.look(&row);
            Ok(())
        })?;
        Ok([from.finish()?, to.finish()?])
    }
}

impl Out {
    fn write(&self, kind: &str, drawing: &Drawing<'_>, page: String) -> Result<()> {
        let corpus = match &self.out {
            Some(path) => Some((path, written_spec(drawing)?)),
            None => None,
        };
        if let Some(path) = &self.plot {
            std::fs::write(path, page).with_context(|| format!("--plot {}", path.display()))?;
        }
        if let Some((path, spec)) = corpus {
            let mut writer = Writer::create(path).with_context(|| format!("--out {}", path.display()))?;
            for row in rows(kind, drawing)? {
                writer.write(&row)?;
            }
            writer.finish()?;
            write_spec_beside(path, &spec)?;
        }
        Ok(())
    }
}

/// Decoded spectra as the rows of a corpus.
fn rows(kind: &str, drawing: &Drawing<'_>) -> Result<Vec<Row>> {
    let manifest = drawing.bundle.manifest();
    let sensor = SensorName {
        site: Slug::parse("site", SPLIT)?,
        machine: manifest.class.clone(),
        sensor: Slug::parse("sensor", kind)?,
    };
    let spectra = drawing.decoded.spectra.chunks_exact(manifest.bins.into());
    let row = |(second, bins): (i64, &[f32])| Row {
        sensor: sensor.clone(),
        captured_at: Timestamp::from_micros(second * 1_000_000),
        bins: bins.to_vec(),
        rpm: None,
        load: None,
        label: None,
        split: Some(SPLIT.to_owned()),
    };
    Ok((0..).zip(spectra).map(row).collect())
}

/// What decoded spectra are as a corpus: those of the bundle, in its own unit.
fn written_spec(drawing: &Drawing<'_>) -> Result<SpectrumSpec> {
    if let Some(spec) = drawing.spec {
        return Ok(canonical(spec));
    }
    let usual = SpectrumSpec::corpus_default(drawing.bundle.manifest().bins);
    match differing(drawing.bundle, &usual) {
        None => Ok(usual),
        Some(field) => bail!(
            "--out: what is written would be read back as something else ({field} of a corpus that says nothing differs from the \
             bundle's); --spec says what the bundle's spectra are"
        ),
    }
}

/// The specification of the same spectra in canonical form, as a decoder gives them.
fn canonical(spec: &SpectrumSpec) -> SpectrumSpec {
    let factor = spec.canonical_factor();
    SpectrumSpec {
        unit: match spec.quantity {
            Quantity::Acceleration | Quantity::AccelerationEnvelope { .. } => Unit::G,
            Quantity::Velocity => Unit::MillimetrePerSecond,
            Quantity::Displacement => Unit::Micrometre,
        },
        amplitude: match spec.amplitude {
            Amplitude::Psd => Amplitude::Psd,
            Amplitude::Rms | Amplitude::Peak | Amplitude::PeakToPeak => Amplitude::Peak,
        },
        full_scale: spec.full_scale * factor,
        s0: spec.s0 * factor,
        ..spec.clone()
    }
}

/// Refuses spectra that mean something else to the bundle; `flag` is where they come from.
fn check_spec(flag: &str, bundle: &Bundle, spec: &SpectrumSpec) -> Result<()> {
    match differing(bundle, spec) {
        Some(field) => bail!("{flag}: {field}: the specification of its spectra differs from the bundle's"),
        None => Ok(()),
    }
}

/// What a specification says otherwise than a bundle.
fn differing(bundle: &Bundle, spec: &SpectrumSpec) -> Option<&'static str> {
    let manifest = bundle.manifest();
    let fields = [
        ("bins", manifest.bins == spec.bins),
        (
            "full_scale",
            manifest.full_scale.to_bits() == spec.canonical_full_scale().to_bits(),
        ),
        ("s0", manifest.s0.to_bits() == spec.canonical_s0().to_bits()),
        ("unit", manifest.unit == spec.canonical_unit()),
    ];
    fields.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
}

/// What the bundle says of the decoded spectra, beside what it said of healthy ones.
fn told(bundle: &Bundle, decoded: &Decoded) -> Result<serde_json::Value> {
    let healthy: Vec<f64> = bundle
        .held_out()
        .of(Detector::Residual)
        .into_iter()
        .map(f64::from)
        .collect();
    let line = percentile(&healthy, LINE, CONFIDENCE).ok().map(|line| line.value);
    let errors: Vec<f64> = decoded.errors.iter().map(|error| f64::from(*error)).collect();
    let median = percentile(&errors, 0.5, CONFIDENCE).context("scoring the decoded spectra")?;
    let above = line.map(|line| errors.iter().filter(|error| **error > line).count());
    Ok(json!({
        "bundle": bundle.digest().to_string(),
        "network": bundle.manifest().network_name(),
        "spectra": errors.len(),
        "median_error": median.value,
        "healthy_99_5": line,
        "above_healthy_99_5": above,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_of_a_specification_has_its_scale_and_changes_no_amplitude() {
        for (quantity, unit) in [
            (Quantity::Acceleration, Unit::MetrePerSecondSquared),
            (Quantity::Velocity, Unit::InchPerSecond),
            (Quantity::Displacement, Unit::Mil),
        ] {
            for amplitude in [Amplitude::Rms, Amplitude::PeakToPeak, Amplitude::Psd] {
                let spec = SpectrumSpec {
                    quantity,
                    unit,
                    amplitude,
                    ..SpectrumSpec::corpus_default(64)
                };
                let written = canonical(&spec).parse().unwrap();
                assert_eq!(written.canonical_factor().to_bits(), 1.0_f64.to_bits());
                let of = |spec: &SpectrumSpec| {
                    let numbers = [spec.canonical_full_scale(), spec.canonical_s0()];
                    (numbers.map(f32::to_bits), spec.canonical_unit())
                };
                assert_eq!(of(&written), of(&spec));
            }
        }
    }
}
