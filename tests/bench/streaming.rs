//! Training on a corpus that does not fit in memory: rows per second, the most memory and the disk that it takes, beside a
//! training in memory on as many rows as fit there.
//!
//! The corpora are made here, by a seed: machines of four sensors whose lines rise and fall with a load of their own, sensor by
//! sensor and in order of time, as corpora are kept. Each training is a `tocsin train` of its own, so that its memory is that
//! of the whole process.

mod child;
mod corpus;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use self::child::{Child, Trained};
use crate::report::Report;
use crate::thresholds::free;

/// Bins of a spectrum.
const BINS: u16 = 64;
/// Bytes of a row in a corpus, in the files that are learned from, and of its key.
const BYTES: u64 = 4 * BINS as u64 + BINS as u64 + 40;
/// Rows of the training that shows what a process takes beside its rows.
const BASE_ROWS: u64 = 2_000;
/// More memory than any of the rows take, in MiB.
const PLENTY: u64 = 1 << 20;

/// Settings.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rows to train on from disk; a fifth of them sets limits
    #[arg(long, default_value_t = 18_000_000)]
    rows: u64,
    /// Rows to train on both ways
    #[arg(long, default_value_t = 1_000_000)]
    in_memory_rows: u64,
    /// Files of a corpus
    #[arg(long, default_value_t = 12)]
    files: u64,
    /// What `--memory` says, in MiB
    #[arg(long, default_value_t = 512)]
    memory: u64,
    /// Epochs of each stage
    #[arg(long, default_value_t = 1)]
    epochs: u32,
    /// Seed of the corpora and trainings
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for corpora and rows on disk [default: the system's folder for temporary files]
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Runs it.
pub(crate) fn run(options: &Options) -> Result<Report> {
    let parent = options.folder.clone().unwrap_or_else(std::env::temp_dir);
    ensure!(options.files > 0, "--files: at least one is needed");
    let (needed, room) = (options.rows * BYTES, free(&parent)?);
    ensure!(
        needed < room,
        "--rows: {} rows take about {:.1} GB, and {:.1} GB are free in {}",
        options.rows,
        needed as f64 / 1e9,
        room as f64 / 1e9,
        parent.display()
    );
    let folder = tempfile::tempdir_in(&parent)?;
    let mut report = Report::default();
    let train = |corpus: &[PathBuf], memory: u64| -> Result<Trained> {
        let child = Child {
            corpus,
            memory,
            epochs: options.epochs,
            seed: options.seed,
            folder: folder.path(),
        };
        child.run()
    };
    let make = |name: &str, rows: u64| corpus::write(&folder.path().join(name), (rows, options.files), options.seed);

    let base = train(&make("base", BASE_ROWS)?, PLENTY)?;
    report.note("base_rows", BASE_ROWS);
    report.note("base_peak_mib", base.peak_mib);

    let small = make("small", options.in_memory_rows)?;
    let in_memory = train(&small, PLENTY)?;
    let streamed = train(&small, options.memory)?;
    std::fs::remove_dir_all(folder.path().join("small"))?;
    ensure!(
        in_memory.scratch_bytes == 0 && streamed.scratch_bytes > 0,
        "--in-memory-rows, --memory: {} rows are to fit in memory, and not in {} MiB of it",
        options.in_memory_rows,
        options.memory
    );
    report.note("rows_both_ways", options.in_memory_rows);
    in_memory.tell(&mut report, "in_memory");
    streamed.tell(&mut report, "streamed");
    report.figure(
        "streamed_speed_ratio",
        streamed.rows_per_second / in_memory.rows_per_second,
    );
    report.figure(
        "streamed_loss_ratio",
        streamed.validation_loss / in_memory.validation_loss,
    );

    let large = make("large", options.rows)?;
    report.note("rows", options.rows);
    report.note("files", options.files);
    report.note("memory_flag_mib", options.memory);
    report.figure("corpus_gb", corpus::bytes(&large)? as f64 / 1e9);
    train(&large, options.memory)?.tell(&mut report, "large");
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousandth_of_the_rows_is_trained_on_from_disk_about_as_well_as_from_memory() {
        let options = Options {
            rows: 18_000,
            in_memory_rows: 6_000,
            files: 3,
            memory: 3,
            epochs: 6,
            seed: 1,
            folder: None,
        };
        let report = run(&options).unwrap();
        let figure = |name: &str| report.value(name).as_f64().unwrap();
        assert!((0.8..1.25).contains(&figure("streamed_loss_ratio")), "{report:?}");
        // A byte a bin of the rows to learn from; their keys are gone by then, and were fewer bytes.
        assert_eq!(figure("large_scratch_mb"), (14_400.0 * 64.0 / 1e3_f64).round() / 1e3);
        assert!(figure("large_rows_per_second") > 0.0);
    }
}
