//! The whole platform on this machine alone: all roles in one process, on a private Postgres cluster and a folder of
//! objects. `tocsin up` is this and waiting.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{Account, CreateAccountRequest, ListAccountsRequest};
use tocsin_transport::auth::Token;
use tokio_util::sync::CancellationToken;

use crate::client::explain;
use crate::cluster::Cluster;
use crate::credential::{ServiceCredential, random_secret, write_secret};
use crate::data_dir::{DataDir, Lock};
use crate::platform::{Platform, Running};
use crate::{Config, Role};

/// The account made at the first start.
pub const ADMIN: &str = "admin";

/// What a local platform is made from.
#[derive(Debug)]
pub struct Options {
    /// Where it keeps everything.
    pub data_dir: DataDir,
    /// Settings; the database, the objects and the credential are set by the start, unless they are set here.
    pub config: Config,
    /// What `/metrics` shows.
    pub metrics: prometheus::Registry,
}

/// A local platform at work.
#[derive(Debug)]
pub struct Local {
    /// The roles.
    pub running: Running,
    /// The service credential, for commands on this machine.
    pub credential: ServiceCredential,
    /// The admin's password, when this start made it.
    pub new_admin_password: Option<String>,
    cluster: Option<Cluster>,
    _lock: Lock,
}

impl Local {
    /// Starts it; the data folder is made when it isn't there.
    ///
    /// # Errors
    /// If the folder is in use, Postgres isn't installed or doesn't start, or an address can't be had.
    pub async fn start(options: Options) -> Result<Self> {
        let Options {
            data_dir,
            mut config,
            metrics,
        } = options;
        let lock = data_dir.lock()?;
        let credential = match &config.access.service_credential_file {
            Some(file) => ServiceCredential::read(file)?,
            None => ServiceCredential::read_or_create(&data_dir.service_credential())?,
        };
        if config.objects.url.is_empty() {
            let folder = data_dir.objects();
            config.objects.url = folder.to_str().context("--data-dir: its name isn't text")?.to_owned();
        }
        let cluster = if config.database.url.is_empty() {
            let cluster = Cluster::start(&data_dir.postgres()).await?;
            config.database.url = cluster.url();
            Some(cluster)
        } else {
            None
        };
        let platform = Platform::builder(config)
            .roles(Role::ALL)
            .credential(credential.clone())
            .metrics(metrics)
            .migrate();
        let started = async {
            let running = platform.start().await?;
            data_dir.write_endpoint(&format!("http://{}", running.grpc_addr()))?;
            let new_admin_password = make_admin(&running, &data_dir).await?;
            Ok((running, new_admin_password))
        };
        match started.await {
            Ok((running, new_admin_password)) => Ok(Self {
                running,
                credential,
                new_admin_password,
                cluster,
                _lock: lock,
            }),
            Err(error) => {
                stop(cluster).await;
                Err(error)
            }
        }
    }

    /// Where the web pages are.
    pub fn console(&self) -> Option<SocketAddr> {
        self.running.console_addr()
    }

    /// The token of Tocsin's own roles.
    pub fn token(&self) -> &Token {
        self.credential.token()
    }

    /// Runs until `shutdown`, or until a part breaks; then stops everything, the private Postgres last.
    ///
    /// # Errors
    /// If a part broke.
    pub async fn run(mut self, shutdown: &CancellationToken) -> Result<()> {
        let broken = tokio::select! {
            () = shutdown.cancelled() => None,
            error = self.running.failed() => Some(error),
        };
        if let Some(error) = &broken {
            tracing::error!("stopping, because a part broke: {error:#}");
        }
        self.stop().await;
        broken.map_or(Ok(()), Err)
    }

    /// Stops everything, the private Postgres last.
    pub async fn stop(self) {
        let store = self.running.store().cloned();
        self.running.shutdown().await;
        if let Some(store) = store {
            store.close().await;
        }
        stop(self.cluster).await;
    }
}

async fn stop(cluster: Option<Cluster>) {
    if let Some(cluster) = cluster
        && let Err(error) = cluster.stop().await
    {
        tracing::warn!("the private postgres is left running: {error:#}");
    }
}

/// Makes the first account, once. The password is written before the account is made: a start that is killed in between
/// finds it in the file.
async fn make_admin(running: &Running, data_dir: &DataDir) -> Result<Option<String>> {
    let mut access = AccessServiceClient::new(running.service_channel());
    let answer = access.list_accounts(ListAccountsRequest {}).await;
    let accounts = answer
        .map_err(|status| explain("listing accounts", &status))?
        .into_inner()
        .accounts;
    if accounts.iter().any(|account| account.name == ADMIN) {
        return Ok(None);
    }
    let password = admin_password(data_dir.admin_password())?;
    let account = Account {
        name: ADMIN.to_owned(),
        role: "admin".to_owned(),
        all_sites: true,
        ..Account::default()
    };
    let request = CreateAccountRequest {
        account: Some(account),
        password: password.clone(),
    };
    let answer = access.create_account(request).await;
    answer.map_err(|status| explain("making the account admin", &status))?;
    Ok(Some(password))
}

fn admin_password(file: PathBuf) -> Result<String> {
    if !file.exists() {
        write_secret(&file, &random_secret("")?).with_context(|| format!("writing {}", file.display()))?;
    }
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    Ok(text.trim().to_owned())
}
