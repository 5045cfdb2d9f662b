//! SKAB's files, and its published table.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int8Type, Int32Type};
use arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

/// Channels of a row.
pub(super) const CHANNELS: usize = 8;
/// Rows of a file to learn from; the protocol's.
pub(super) const TRAINING_ROWS: usize = 400;
const COLUMNS: [&str; CHANNELS] = [
    "Accelerometer1RMS",
    "Accelerometer2RMS",
    "Current",
    "Pressure",
    "Temperature",
    "Thermocouple",
    "Voltage",
    "Volume Flow RateRMS",
];
/// The folder of the file without anomalies, which is not part of the protocol.
const WITHOUT: &str = "anomaly-free";

/// One experiment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Experiment {
    pub(super) file: String,
    /// A reading of every channel each second.
    pub(super) rows: Vec<[f64; CHANNELS]>,
    /// Whether each is labelled anomalous; looked at when everything has been decided.
    pub(super) anomalous: Vec<bool>,
}

/// Every experiment with anomalies, in the order of their names.
pub(super) fn read(path: &Path) -> Result<Vec<Experiment>> {
    let reading = || path.display().to_string();
    let file = File::open(path).with_context(reading)?;
    let mut experiments: Vec<Experiment> = Vec::new();
    // By the columns' own types: the schema of whoever wrote the file may ask for others of the same meaning.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).with_context(reading)?;
    for batch in builder.build()? {
        append(&batch.with_context(reading)?, &mut experiments).with_context(reading)?;
    }
    experiments.retain(|experiment| !experiment.file.starts_with(WITHOUT));
    experiments.sort_by(|a, b| a.file.cmp(&b.file));
    for experiment in &experiments {
        ensure!(
            experiment.rows.len() > TRAINING_ROWS,
            "{}: {} rows are too few",
            experiment.file,
            experiment.rows.len()
        );
    }
    Ok(experiments)
}

fn append(batch: &RecordBatch, experiments: &mut Vec<Experiment>) -> Result<()> {
    let column = |name: &str| batch.column_by_name(name).with_context(|| format!("no column {name}"));
    let files = column("file")?.as_string_opt::<i32>().context("file: not a text")?;
    let places = column("row")?
        .as_primitive_opt::<Int32Type>()
        .context("row: not an int32")?;
    let labels = column("anomaly")?
        .as_primitive_opt::<Int8Type>()
        .context("anomaly: not an int8")?;
    let channels = COLUMNS.map(|name| {
        let values = column(name)?.as_primitive_opt::<Float64Type>();
        values.with_context(|| format!("{name}: not a double"))
    });
    for at in 0..batch.num_rows() {
        let file = files.value(at);
        if experiments.last().is_none_or(|last| last.file != file) {
            experiments.push(Experiment {
                file: file.to_owned(),
                rows: Vec::new(),
                anomalous: Vec::new(),
            });
        }
        let last = experiments.last_mut().context("just pushed")?;
        ensure!(
            places.value(at) as usize == last.rows.len(),
            "{file}: row {} is out of order",
            places.value(at)
        );
        let mut row = [0.0; CHANNELS];
        for (value, channel) in row.iter_mut().zip(&channels) {
            let channel = channel.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
            ensure!(
                channel.is_valid(at),
                "{file}: a value of row {} is missing",
                last.rows.len()
            );
            *value = channel.value(at);
        }
        last.rows.push(row);
        last.anomalous.push(labels.value(at) != 0);
    }
    Ok(())
}

/// One row of the published table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Published {
    pub(super) algorithm: String,
    pub(super) f1: f64,
    /// False alarm rate, percent.
    pub(super) far: f64,
    /// Missed alarm rate, percent.
    pub(super) mar: f64,
}

/// The published rows that give all three figures.
pub(super) fn published(path: &Path) -> Result<Vec<Published>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let rows = text.lines().skip(1).filter_map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        Some(Published {
            algorithm: (*cells.first()?).to_owned(),
            f1: cells.get(1)?.parse().ok()?,
            far: cells.get(2)?.parse().ok()?,
            mar: cells.get(3)?.parse().ok()?,
        })
    });
    Ok(rows.collect())
}
