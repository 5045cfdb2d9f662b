//! `tocsin migrate`: the database's schema, up to date.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use tocsin_store::Store;

use crate::Config;

#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database, instead of the configuration's [env: `TOCSIN_DATABASE_URL`]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

impl Migrate {
    pub(super) async fn run(self) -> Result<()> {
        let mut config = Config::load(self.config.as_deref(), |name| std::env::var(name).ok())?.database;
        if let Some(url) = self.database_url {
            config.url = url;
        }
        if config.url.is_empty() {
            bail!("no database: give --database-url, set TOCSIN_DATABASE_URL, or database.url in --config");
        }
        let store = Store::connect(&config).await.context("connecting to the database")?;
        store.migrate().await?;
        store.close().await;
        eprintln!("the schema is up to date");
        Ok(())
    }
}
