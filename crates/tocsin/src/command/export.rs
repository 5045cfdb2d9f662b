//! `tocsin export --all`: everything that was entrusted to Tocsin, in open formats.
//!
//! ```text
//! DIR/readings/date=…/site=…/*.parquet   every reading, hot and archived
//! DIR/tables/NAME.jsonl                  everything else, a JSON object a line
//! DIR/models/DIGEST/                     the model versions' files, ONNX among them
//! ```

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;
use tocsin_models::{BundleStore, Objects};
use tocsin_store::Store;
use tocsin_store::export::TABLES;

use super::archive::Open;
use super::corpora::bar;
use crate::output::Output;

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    open: Open,
    /// Everything: readings, scores, models, threshold sets, baselines, incidents, labels, pages and audit entries
    #[arg(long, required = true)]
    all: bool,
    /// A folder to write to; it is made
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Export {
    pub(super) async fn run(self) -> Result<()> {
        let (_, store, objects) = self.open.open().await?;
        std::fs::create_dir_all(&self.out).with_context(|| format!("making {}", self.out.display()))?;
        let readings = readings(&store, &objects, &self.out).await?;
        let rows = tables(&store, &self.out.join("tables")).await?;
        let models = models(&store, objects, &self.out.join("models")).await?;
        let done = json!({ "readings": readings, "rows": rows, "models": models });
        self.output.item("export", done)
    }
}

/// How far one kind of thing is.
fn bar_of(length: usize, what: &str) -> ProgressBar {
    bar(length as u64, &format!("{{pos}} of {{len}} {what} {{msg}}"))
}

/// Hot days first: one that is archived meanwhile is copied then.
async fn readings(store: &Store, objects: &Objects, out: &Path) -> Result<u64> {
    let to = Objects::open(&out.display().to_string())?;
    let export = tocsin_archive::Export {
        store: store.clone(),
        from: objects.clone(),
        to,
    };
    let days = export.hot_days().await?;
    let mut readings = 0;
    let progress = bar_of(days.len(), "hot days");
    for day in &days {
        progress.set_message(day.to_string());
        readings += export.hot_day(*day).await.with_context(|| format!("exporting {day}"))?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    let archived = export.archived().await?;
    let progress = bar_of(archived.len(), "archived files");
    for (day, file) in &archived {
        progress.set_message(day.to_string());
        let copied = export.copy(*day, file, days.contains(day)).await;
        copied.with_context(|| format!("exporting {}", file.path))?;
        readings += file.rows;
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(readings)
}

async fn tables(store: &Store, out: &Path) -> Result<u64> {
    std::fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    let mut snapshot = store.export_snapshot().await?;
    let progress = bar_of(TABLES.len(), "tables");
    let mut rows = 0;
    for (table, what) in TABLES {
        progress.set_message(what);
        let path = out.join(format!("{table}.jsonl"));
        let file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
        let mut file = BufWriter::new(file);
        snapshot
            .open(table)
            .await
            .with_context(|| format!("exporting {what}"))?;
        loop {
            let lines = snapshot.next().await.with_context(|| format!("exporting {what}"))?;
            if lines.is_empty() {
                break;
            }
            rows += lines.len() as u64;
            for line in lines {
                writeln!(file, "{line}").with_context(|| format!("writing {}", path.display()))?;
            }
        }
        snapshot.close().await?;
        file.flush().with_context(|| format!("writing {}", path.display()))?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(rows)
}

async fn models(store: &Store, objects: Objects, out: &Path) -> Result<usize> {
    let bundles = store.bundle_list(None).await?;
    let files = BundleStore::over(objects);
    let progress = bar_of(bundles.len(), "models");
    for bundle in &bundles {
        let folder = out.join(bundle.digest.to_string());
        let archive = files.get_archive(&bundle.digest).await?;
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        archive.to_dir(&folder).context("writing a model")?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(bundles.len())
}
