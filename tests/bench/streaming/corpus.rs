//! Corpora of many rows, made quickly.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tocsin_corpus::{Row, SensorName, Writer};
use tocsin_domain::Timestamp;

use super::BINS;

/// Rows of a sensor, at most; there are as many sensors as that takes.
const OF_SENSOR: u64 = 20_000;
/// Sensors of a machine.
const SENSORS: u64 = 4;
/// Time between a sensor's rows, in microseconds.
const INTERVAL: i64 = 10_000_000;
/// One row in so many sets limits: a sensor's newest.
const LIMITS: u64 = 5;

/// Writes so many rows in so many files; the files.
pub(super) fn write(folder: &Path, (rows, files): (u64, u64), seed: u64) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)?;
    let file = |nth: u64| {
        let path = folder.join(format!("{nth}.parquet"));
        let wanted = (nth + 1) * rows / files - nth * rows / files;
        eprintln!("writing {wanted} rows to {}", path.display());
        let mut rng = StdRng::seed_from_u64(seed ^ ((nth + 1) << 32));
        let mut writer = Writer::create(&path)?;
        let sensors = wanted.div_ceil(OF_SENSOR).max(SENSORS);
        for sensor in 0..sensors {
            let of_sensor = (sensor + 1) * wanted / sensors - sensor * wanted / sensors;
            write_sensor(&mut writer, &mut rng, &name(nth, sensor)?, of_sensor)?;
        }
        writer.finish()?;
        Ok(path)
    };
    (0..files).map(file).collect()
}

fn name(file: u64, sensor: u64) -> Result<SensorName> {
    let path = format!("works/pump-{file}-{}/axis-{}", sensor / SENSORS, sensor % SENSORS);
    Ok(SensorName::parse(&path)?)
}

/// Every eighth bin is a line; all of them go with a load that wanders, and each scatters by a fifth.
fn write_sensor(writer: &mut Writer, rng: &mut StdRng, sensor: &SensorName, rows: u64) -> Result<()> {
    let shape: Vec<f32> = (0..BINS)
        .map(|bin| (if bin % 8 == 3 { 0.2 } else { 0.01 }) * (0.7 + 0.6 * rng.random::<f32>()))
        .collect();
    let mut load = 1.0_f32;
    for nth in 0..rows {
        load = (load + 0.1 * (rng.random::<f32>() - 0.5)).clamp(0.5, 1.5);
        let scatter = |level: &f32| level * load * (0.8 + 0.4 * rng.random::<f32>());
        let limits = (nth + 1) * LIMITS > (LIMITS - 1) * rows;
        writer.write(&Row {
            sensor: sensor.clone(),
            captured_at: Timestamp::from_micros(nth as i64 * INTERVAL),
            bins: shape.iter().map(scatter).collect(),
            rpm: None,
            load: Some(load),
            label: Some("healthy".to_owned()),
            split: Some(if limits { "cal" } else { "train" }.to_owned()),
        })?;
    }
    Ok(())
}

/// Bytes of files.
pub(super) fn bytes(files: &[PathBuf]) -> Result<u64> {
    let size = |path: &PathBuf| Ok(std::fs::metadata(path).context("a corpus")?.len());
    files.iter().map(size).sum()
}
