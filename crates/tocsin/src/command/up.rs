//! `tocsin up`: everything, on this machine alone.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::data_dir::DataDir;
use crate::local::{ADMIN, Local, Options};
use crate::telemetry::Telemetry;
use crate::{Config, signals};

/// Makes the data folder when it isn't there, with a private Postgres cluster, a service credential for commands on this
/// machine, and the account admin. Ends with ctrl-c; everything is there again at the next start.
#[derive(Debug, Args)]
pub(super) struct Up {
    /// Where everything is kept [default: /var/lib/tocsin for root, or else ~/.local/share/tocsin]
    #[arg(long, value_name = "DIR", env = "TOCSIN_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
    /// Address of the web pages [default: 127.0.0.1:7780]
    #[arg(long, value_name = "ADDR")]
    console: Option<SocketAddr>,
    /// Address of gRPC and POST /v1/readings [default: 127.0.0.1:7700]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// A running Postgres instead of a private one
    #[arg(long, value_name = "URL", env = "TOCSIN_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Configuration file, for everything else
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Up {
    pub(super) async fn run(self) -> Result<()> {
        let mut config = Config::load(self.config.as_deref(), |name| std::env::var(name).ok())?;
        if let Some(address) = self.console {
            config.console.listen = address;
        }
        if let Some(address) = self.listen {
            config.server.listen = address;
        }
        if let Some(url) = self.database_url {
            config.database.url = url;
        }
        let telemetry = Telemetry::install(&config.telemetry, "all")?;
        let shutdown = signals::shutdown()?;
        let data_dir = DataDir::find(self.data_dir.as_deref())?;
        let options = Options {
            data_dir: data_dir.clone(),
            config,
            metrics: telemetry.metrics().clone(),
        };
        // Not to be dropped half way by a signal: the private Postgres would be left behind.
        let local = Local::start(options).await?;
        greet(&local, &data_dir);
        let ended = local.run(&shutdown).await;
        tokio::task::spawn_blocking(move || telemetry.shut_down()).await?;
        ended
    }
}

fn greet(local: &Local, data_dir: &DataDir) {
    let data = data_dir.path().display();
    eprintln!("\ntocsin is up");
    if let Some(console) = local.console() {
        eprintln!("  console   http://{console}");
    }
    match &local.new_admin_password {
        Some(password) => {
            eprintln!("  sign in   {ADMIN} with {password}   (shown this once; kept in {data}/admin.password)");
        }
        None => eprintln!("  sign in   {ADMIN}; its first password is in {data}/admin.password"),
    }
    eprintln!("  gRPC      http://{}", local.running.grpc_addr());
    eprintln!("  data      {data}\n");
}
