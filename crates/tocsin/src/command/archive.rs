//! `tocsin archive`: how old days stand, and archiving by hand.
//!
//! Works on the database and the object storage themselves, as their configuration names them.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tocsin_archive::Archiver;
use tocsin_domain::Clock;
use tocsin_models::Objects;
use tocsin_store::Store;
use tocsin_store::archive::{Part, PartState};

use crate::Config;
use crate::output::{Output, Section};

/// Who the audit record says did it.
const BY_HAND: &str = "tocsin archive run";

#[derive(Debug, Args)]
pub(super) struct Archive {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    open: Open,
    #[command(subcommand)]
    what: What,
}

/// Which database and object storage.
#[derive(Debug, Clone, Args)]
pub(super) struct Open {
    /// Configuration file
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What is hot and what is archived, with bytes per reading
    Status,
    /// Archive every day that is due, and delete what is kept no longer
    Run,
}

impl Open {
    /// Connects to what the configuration names.
    pub(super) async fn open(&self) -> Result<(Config, Store, Objects)> {
        let config = Config::load(self.config.as_deref(), |name| std::env::var(name).ok())?;
        if config.database.url.is_empty() {
            bail!("no database: set TOCSIN_DATABASE_URL, or database.url in --config");
        }
        if config.objects.url.is_empty() {
            bail!("no object storage: set TOCSIN_OBJECTS_URL, or objects.url in --config");
        }
        let objects = Objects::open_with(&config.objects.url, &config.objects.settings)?;
        let store = Store::connect(&config.database)
            .await
            .context("connecting to the database")?;
        match store.schema().await? {
            tocsin_store::Schema::Current => Ok((config, store, objects)),
            other => bail!("{other}"),
        }
    }
}

impl Archive {
    pub(super) async fn run(self) -> Result<()> {
        let (config, store, objects) = self.open.open().await?;
        match self.what {
            What::Status => status(self.output, &store).await,
            What::Run => {
                let archiver = Archiver::new(config.archive.parse()?, store, objects, Clock::system(), BY_HAND);
                let round = archiver.round().await.context("archiving")?;
                let done = json!({
                    "archived": round.archived.iter().map(part).collect::<Vec<_>>(),
                    "put_off": round.put_off.iter().map(part).collect::<Vec<_>>(),
                    "expired": round.expired.iter().map(part).collect::<Vec<_>>(),
                });
                self.output.item("round", done)
            }
        }
    }
}

async fn status(output: Output, store: &Store) -> Result<()> {
    let parts = store.archive_parts().await?;
    let (hot_bytes, hot_rows) = store.archive_hot().await?;
    let (key_bytes, kept_bytes) = store.archive_kept_bytes().await?;
    let archived = parts.iter().filter(|part| part.state == PartState::Archived);
    let sum = |of: fn(&Part) -> u64| archived.clone().map(of).sum::<u64>();
    let (rows, bytes) = (sum(|part| part.rows), sum(|part| part.bytes));
    let head = json!({
        "hot_readings": hot_rows,
        "hot_bytes": hot_bytes,
        "hot_bytes_per_reading": per(hot_bytes, hot_rows),
        "archived_readings": rows,
        "archived_spectra": sum(|part| part.spectra),
        "archived_bytes": bytes,
        "archived_bytes_per_reading": per(bytes, rows),
        "hot_bytes_per_reading_then": per(sum(|part| part.hot_bytes), rows),
        "key_bytes_per_reading": per(key_bytes, rows),
        "kept_for_pages_bytes": kept_bytes,
    });
    let views: Vec<Value> = parts.iter().map(part).collect();
    let mut whole = head.clone();
    whole["parts"] = views.clone().into();
    let columns = &[
        "day",
        "part",
        "state",
        "readings",
        "spectra",
        "bytes",
        "bytes_per_reading",
        "error",
    ];
    let section = Section {
        title: "days".to_owned(),
        items: views,
        columns,
    };
    output.report("archive", &whole, &head, &[section])
}

fn part(part: &Part) -> Value {
    json!({
        "day": part.day.to_string(),
        "part": part.part,
        "state": part.state.as_str(),
        "readings": part.rows,
        "spectra": part.spectra,
        "bytes": part.bytes,
        "bytes_per_reading": per(part.bytes, part.rows),
        "error": part.error,
    })
}

/// To a tenth; nothing of nothing.
fn per(bytes: u64, readings: u64) -> Value {
    if readings == 0 {
        return Value::Null;
    }
    json!((bytes as f64 / readings as f64 * 10.0).round() / 10.0)
}
