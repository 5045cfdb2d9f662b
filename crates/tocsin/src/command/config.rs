//! `tocsin config`: what is in force, after file and environment.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::Config;

#[derive(Debug, Args)]
pub(super) struct ConfigCommand {
    /// Configuration file [default: none, so the defaults are printed]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigCommand {
    pub(super) fn run(self) -> Result<()> {
        let config = Config::load(self.config.as_deref(), |name| std::env::var(name).ok())?;
        print!("{}", config.dump()?);
        Ok(())
    }
}
