//! `tocsin serve`: chosen roles, by a configuration file.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::telemetry::Telemetry;
use crate::{Config, Platform, Role, signals};

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// What this process runs; several with commas
    #[arg(
        long = "role",
        value_name = "ROLE",
        value_enum,
        value_delimiter = ',',
        required = true
    )]
    roles: Vec<Role>,
    /// Configuration file; variables of the environment go before it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Serve {
    pub(super) async fn run(self) -> Result<()> {
        let config = Config::load(self.config.as_deref(), |name| std::env::var(name).ok())?;
        let names: Vec<&str> = self.roles.iter().map(|role| role.as_str()).collect();
        let telemetry = Telemetry::install(&config.telemetry, &names.join(","))?;
        let shutdown = signals::shutdown()?;
        let platform = Platform::builder(config)
            .roles(self.roles)
            .metrics(telemetry.metrics().clone());
        let ended = crate::serve(platform, shutdown).await;
        tokio::task::spawn_blocking(move || telemetry.shut_down()).await?;
        ended
    }
}
