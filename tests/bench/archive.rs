//! Archiving days of readings: bytes of a reading in the archive, in Postgres and raw, and readings per second there and back.
//!
//! The readings are put into the store by `COPY`, as if they had been judged. Their spectra and latents are noise, which
//! does not compress: a plant's take less. Files go to a folder on the same disk.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use tocsin_archive::{Archiver, Config, Reader, Replayed};
use tocsin_corpus::archive::Columns;
use tocsin_domain::{Clock, MachineId, Scope, SensorId, Timestamp};
use tocsin_models::Objects;
use tocsin_store::Store;
use tocsin_store::archive::Part;
use tocsin_tests::Plant;

use crate::fill::{self, BINS, Filling};
use crate::fleet::CLASS;
use crate::platform::Platform;
use crate::report::Report;

/// Time between readings.
const INTERVAL: Duration = Duration::from_secs(10);
const STEPS_OF_A_DAY: u64 = 8_640;
/// Machines that are replayed at once.
const MACHINES: usize = 12;
/// Raw, a bin is a number of four bytes, and a capture time one of eight.
const RAW_BYTES: u64 = 4 * BINS as u64 + 8;

/// Settings.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Options {
    /// Sensors, four on each machine
    #[arg(long, default_value_t = 240)]
    sensors: usize,
    /// Days of a reading every ten seconds
    #[arg(long, default_value_t = 2.0)]
    days: f64,
}

impl Options {
    fn filling(self) -> Filling {
        Filling {
            sensors: self.sensors,
            of_machine: fill::OF_MACHINE,
            failing: 0,
            steps: (self.days * STEPS_OF_A_DAY as f64) as u64,
            interval: INTERVAL,
            from: Plant::start(),
        }
    }
}

/// Runs it.
pub(crate) async fn run(options: Options) -> Result<Report> {
    fill::check_sensors(options.sensors)?;
    let filling = options.filling();
    ensure!(filling.steps > 0, "--days: at least ten seconds are needed");
    let platform = Platform::alone().await?;
    let fleet = fill::declare(&platform, options.sensors).await?;
    let store = platform.store().await?;
    fill::fill(&store, &fleet, filling).await?;
    let readings = filling.steps * filling.sensors as u64;
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let objects = Objects::open(&folder.path().display().to_string())?;
    let mut report = Report::default();
    report.note("sensors", options.sensors);
    report.note("readings", readings);

    let clock = Clock::manual(Plant::start() + INTERVAL * filling.steps as u32 + Duration::from_hours(24 * 365));
    let archiver = Archiver::new(Config::default(), store.clone(), objects.clone(), clock, "benchmark");
    let began = Instant::now();
    let archived = archiver.round().await?.archived;
    speed(&mut report, "archived", readings, began);
    sizes(&store, &archived, readings, &mut report).await?;

    let reader = Reader::new(store.clone(), objects);
    for (name, columns) in [("read_whole", Columns::All), ("read_scores", Columns::Decisions)] {
        let began = Instant::now();
        ensure!(
            read(&store, &reader, columns).await? == readings,
            "{name}: not all were read"
        );
        speed(&mut report, name, readings, began);
    }
    let began = Instant::now();
    ensure!(replayed(&store, &reader).await? == readings, "not all were replayed");
    speed(&mut report, "replayed", readings, began);
    store.close().await;
    platform.stop()?;
    Ok(report)
}

fn speed(report: &mut Report, name: &str, readings: u64, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    report.note(format!("{name}_per_second"), (readings as f64 / seconds).round() as u64);
}

/// What a reading takes, and that all are archived.
async fn sizes(store: &Store, archived: &[Part], readings: u64, report: &mut Report) -> Result<()> {
    let sum = |of: fn(&Part) -> u64| archived.iter().map(of).sum::<u64>();
    ensure!(
        sum(|part| part.rows) == readings,
        "{} of {readings} are archived",
        sum(|part| part.rows)
    );
    let (keys, kept) = store.archive_kept_bytes().await?;
    let each = |bytes: u64| bytes as f64 / readings as f64;
    report.note("spectra_kept", sum(|part| part.spectra));
    report.note("bytes_per_reading raw", RAW_BYTES);
    report.figure("bytes_per_reading postgres", each(sum(|part| part.hot_bytes)));
    report.figure("bytes_per_reading archive", each(sum(|part| part.bytes)));
    report.figure("bytes_per_reading keys", each(keys));
    report.figure("bytes_per_reading kept_for_pages", each(kept));
    Ok(())
}

/// Reads all that is archived once; how many readings.
async fn read(store: &Store, reader: &Reader, columns: Columns) -> Result<u64> {
    let sensors = store.sensor_list(&Scope::All, None, None).await?;
    let sensors: Vec<SensorId> = sensors.into_iter().map(|listing| listing.sensor.id).collect();
    let ever = (Timestamp::MIN, Timestamp::MAX);
    let mut cold = reader.readings(&Scope::All, sensors, ever, columns).await?;
    let mut readings = 0;
    while let Some(some) = cold.next().await? {
        readings += some.len() as u64;
    }
    Ok(readings)
}

/// Reads the scores in order of capture, as a what-if does on one processor; how many readings.
async fn replayed(store: &Store, reader: &Reader) -> Result<u64> {
    let class = store.class_by_name(&CLASS.parse()?).await?.id;
    let binding = store.binding_current(class).await?.context("the class has no bundle")?;
    let (bundle, _) = binding.champion.context("the class has no champion")?;
    let machines = store.machines_by_class(&Scope::All, class).await?;
    let machines: Vec<MachineId> = machines.iter().map(|machine| machine.id).collect();
    let replayed = Replayed {
        bundle: Some(bundle),
        period: (Plant::start(), Timestamp::MAX),
        active_baselines_only: false,
        historical: false,
    };
    let mut readings = 0;
    for some in machines.chunks(MACHINES) {
        let mut replay = reader.replay(&Scope::All, some, replayed).await?;
        while let Some(day) = replay.next_day().await? {
            readings += day.len() as u64;
        }
    }
    Ok(readings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_tiny_fleet_is_archived_and_read_back_whole() {
        let options = Options { sensors: 8, days: 0.1 };
        let report = run(options).await.unwrap();
        let number = |name: &str| report.value(name).as_f64().unwrap();
        // The first of each sensor and hour, of which two and a half are touched.
        assert_eq!(number("spectra_kept") % 8.0, 0.0);
        assert!((3..=4).contains(&(number("spectra_kept") as u64 / 8)));
        assert!(number("bytes_per_reading archive") < number("bytes_per_reading postgres"));
    }
}
