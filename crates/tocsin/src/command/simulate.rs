//! `tocsin simulate`: a corpus of a simulated fleet, to try things on before the plant's own readings are there.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tocsin_corpus::{Row, SensorName, Writer};
use tocsin_domain::Slug;
use tocsin_domain::spec::Axis;
use tocsin_simulator::harbor::{Config, Fleet, Machine};

use super::corpora::{bar, write_spec_beside};
use crate::output::Output;

/// Seconds of a day.
const DAY_S: f64 = 86_400.0;

#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// Machines of the fleet
    #[arg(long, value_name = "N")]
    machines: usize,
    /// Days of readings
    #[arg(long, value_name = "D")]
    days: f64,
    /// Seconds between readings
    #[arg(long, value_name = "SECONDS")]
    interval: f64,
    /// The same seed gives the same file
    #[arg(long, value_name = "N")]
    seed: u64,
    /// Machines that fail
    #[arg(long, value_name = "N", default_value_t = 0)]
    faults: usize,
    /// Bins of a spectrum
    #[arg(long, value_name = "N", default_value_t = 64)]
    bins: u16,
    /// What the bins are counted along
    #[arg(long, value_enum, value_name = "AXIS", default_value = "hertz")]
    axis: AxisArg,
    /// Spectra averaged into one reading
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    averages: u16,
    /// Sensors on each machine
    #[arg(long, value_name = "N", default_value_t = 1)]
    sensors: usize,
    /// The site all machines stand at
    #[arg(long, value_name = "NAME", default_value = "harbor")]
    site: String,
    /// Parquet file to write; where its spectra are not those of a corpus that says nothing, their specification goes beside
    /// it, as FILE.spec.json
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// What the bins are counted along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AxisArg {
    /// Frequency, to 12.8 kHz: lines wander with the speed
    Hertz,
    /// Multiples of the shaft's rotation, to 128: its lines stand still
    Orders,
}

impl From<AxisArg> for Axis {
    fn from(axis: AxisArg) -> Self {
        match axis {
            AxisArg::Hertz => Self::Hertz,
            AxisArg::Orders => Self::Orders,
        }
    }
}

impl Simulate {
    pub(super) fn run(self) -> Result<()> {
        let fleet = Fleet::generate(self.config()?)?;
        let site = Slug::parse("--site", &self.site)?;
        let mut writer = Writer::create(&self.out).with_context(|| format!("--out {}", self.out.display()))?;
        let bar = bar(fleet.machines().len() as u64, "{pos}/{len} machines, {eta} left");
        for machine in fleet.machines() {
            write(&mut writer, &fleet, machine, &site)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        let rows = writer.finish()?;
        eprintln!("{rows} readings written to {}", self.out.display());
        write_spec_beside(&self.out, fleet.spec())?;
        let failures: Vec<Value> = fleet
            .machines()
            .iter()
            .filter_map(|machine| failure(machine, &site))
            .collect();
        self.output.list(
            "failures",
            failures,
            &["machine", "kind", "onset", "failure", "change_db"],
        )
    }

    fn config(&self) -> Result<Config> {
        let length = duration("--days", self.days * DAY_S)?;
        let mut config = Config {
            machines: self.machines,
            sensors: self.sensors,
            bins: self.bins,
            axis: self.axis.into(),
            averages: self.averages,
            length,
            interval: duration("--interval", self.interval)?,
            ..Config::with_seed(self.seed)
        };
        config.failures.count = self.faults;
        config.failures.healthy = length / 3;
        config.failures.life = length / 3;
        Ok(config)
    }
}

fn duration(field: &str, seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds).with_context(|| format!("{field}: not a length of time"))
}

fn write(writer: &mut Writer, fleet: &Fleet, machine: &Machine, site: &Slug) -> Result<()> {
    let bins = usize::from(fleet.spec().bins);
    let mut buffer = vec![0.0; fleet.row_length()];
    let mut stream = machine.stream();
    while let Some(reading) = stream.next_into(&mut buffer) {
        let ill = machine.failure().filter(|failure| failure.onset <= reading.captured_at);
        for (sensor, spectrum) in buffer.chunks_exact(bins).enumerate() {
            writer.write(&Row {
                sensor: SensorName {
                    site: site.clone(),
                    machine: machine.name().clone(),
                    sensor: Slug::parse("sensor", &format!("axis-{}", sensor + 1))?,
                },
                captured_at: reading.captured_at,
                bins: spectrum.to_vec(),
                rpm: reading.condition.rpm,
                load: reading.condition.load,
                label: Some(ill.map_or("healthy", |failure| failure.kind.name()).to_owned()),
                split: None,
            })?;
        }
    }
    Ok(())
}

fn failure(machine: &Machine, site: &Slug) -> Option<Value> {
    let failure = machine.failure()?;
    Some(json!({
        "machine": format!("{site}/{}", machine.name()),
        "kind": failure.kind.name(),
        "onset": failure.onset,
        "failure": failure.failure,
        "change_db": (failure.change_db * 10.0).round() / 10.0,
    }))
}
