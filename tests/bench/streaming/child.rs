//! A training in a process of its own, watched from outside.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tocsin_tests::binary;

use crate::report::Report;

/// How often its open files are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What to train.
pub(super) struct Child<'a> {
    pub(super) corpus: &'a [PathBuf],
    pub(super) memory: u64,
    pub(super) epochs: u32,
    pub(super) seed: u64,
    pub(super) folder: &'a Path,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trained {
    /// The most memory of the process, in MiB (`VmHWM`).
    pub(super) peak_mib: u64,
    /// The most bytes of its files without a name.
    pub(super) scratch_bytes: u64,
    /// Rows trained on per second, over all epochs.
    pub(super) rows_per_second: f64,
    pub(super) validation_loss: f64,
    /// From its start to its end, with reading, the other detectors and the report.
    pub(super) wall: Duration,
}

impl Child<'_> {
    pub(super) fn run(&self) -> Result<Trained> {
        eprintln!("training on {} files with --memory {}", self.corpus.len(), self.memory);
        let started = Instant::now();
        let mut child = Command::new(binary::path()?)
            .args(["train", "--class", "pump", "--format", "json"])
            .args(["--memory", &self.memory.to_string()])
            .args(["--epochs", &self.epochs.to_string()])
            .args(["--seed", &self.seed.to_string()])
            .arg("--scratch")
            .arg(self.folder)
            .arg("--out")
            .arg(self.folder.join("bundle"))
            .arg("--corpus")
            .args(self.corpus)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting tocsin train")?;
        let mut scratch_bytes = 0;
        while child.try_wait().context("waiting for tocsin train")?.is_none() {
            scratch_bytes = scratch_bytes.max(unnamed_bytes(child.id()));
            std::thread::sleep(LOOK);
        }
        let wall = started.elapsed();
        // Its answer is shorter than a pipe is long.
        let output = child.wait_with_output().context("what tocsin train said")?;
        ensure!(output.status.success(), "tocsin train failed: {}", output.status);
        let said: Value = serde_json::from_slice(&output.stdout).context("what tocsin train said")?;
        let said = &said["bundle"];
        let number = |value: &Value, name: &str| value.as_f64().with_context(|| format!("{name}: {said}"));
        Ok(Trained {
            peak_mib: number(&said["peak_memory_mib"], "peak_memory_mib")? as u64,
            scratch_bytes,
            rows_per_second: number(&said["rows_per_second"], "rows_per_second")?,
            validation_loss: number(&said["metrics"]["validation_loss"], "metrics.validation_loss")?,
            wall,
        })
    }
}

impl Trained {
    /// Notes the figures under names that begin so.
    pub(super) fn tell(&self, report: &mut Report, name: &str) {
        report.note(format!("{name}_peak_mib"), self.peak_mib);
        report.figure(format!("{name}_scratch_mb"), self.scratch_bytes as f64 / 1e6);
        report.figure(format!("{name}_rows_per_second"), self.rows_per_second);
        report.figure(format!("{name}_validation_loss"), self.validation_loss);
        report.figure(format!("{name}_wall_s"), self.wall.as_secs_f64());
    }
}

/// Bytes of the files without a name that a process has open; nothing once it is gone.
fn unnamed_bytes(process: u32) -> u64 {
    let Ok(open) = std::fs::read_dir(format!("/proc/{process}/fd")) else {
        return 0;
    };
    let unnamed = open.flatten().filter(|file| {
        let target = std::fs::read_link(file.path()).unwrap_or_default();
        target.to_string_lossy().ends_with(" (deleted)")
    });
    let length = |file: std::fs::DirEntry| std::fs::metadata(file.path()).map_or(0, |file| file.len());
    unnamed.map(length).sum()
}
