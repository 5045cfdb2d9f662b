//! The roles as processes of their own: one with the registry and all that faces people and gateways, two scorers, two
//! ensembles.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tocsin::credential::ServiceCredential;
use tocsin_transport::auth::Token;
use tocsin_transport::{Channel, channel};

use crate::binary::{self, Process};
use crate::stage::free_address;
use crate::{Postgres, Receiver};

/// The roles of the first process.
const FRONT: &str = "registry,recalibrator,pager,review,ingest,console";

/// Name and roles of each process.
const MEMBERS: [(&str, &str); 5] = [
    ("front", FRONT),
    ("scorer-1", "scorer"),
    ("scorer-2", "scorer"),
    ("ensemble-1", "ensemble"),
    ("ensemble-2", "ensemble"),
];

/// What a deployment is made of.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Name and roles of each process; `front` has the registry.
    pub members: &'static [(&'static str, &'static str)],
    /// Those that [`Deployment::bring_back`] starts for the first time.
    pub later: &'static [&'static str],
    /// More lines for the section `[telemetry]` of every process.
    pub telemetry: &'a str,
    /// On a Postgres that no other test uses.
    pub private_postgres: bool,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            members: &MEMBERS,
            later: &[],
            telemetry: "",
            private_postgres: false,
        }
    }
}

/// Processes on one database and one folder of objects.
#[derive(Debug)]
pub struct Deployment {
    /// The database of all of them.
    pub postgres: Postgres,
    /// Where pages go.
    pub receiver: Receiver,
    credential: ServiceCredential,
    folder: TempDir,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    name: &'static str,
    roles: &'static str,
    address: SocketAddr,
    metrics: SocketAddr,
    process: Option<Process>,
}

impl Deployment {
    /// Starts all five and waits until each takes connections and the first answers.
    pub async fn start() -> Result<Self> {
        Self::start_with("").await
    }

    /// The same, with more lines for the section `[telemetry]` of every process.
    pub async fn start_with(telemetry: &str) -> Result<Self> {
        Self::start_as(Plan {
            telemetry,
            ..Plan::default()
        })
        .await
    }

    /// The same, of other processes.
    pub async fn start_as(plan: Plan<'_>) -> Result<Self> {
        let folder = tempfile::tempdir().context("a temporary folder")?;
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data).context("the data folder")?;
        let mut members = Vec::new();
        for (name, roles) in plan.members.iter().copied() {
            members.push(Member {
                name,
                roles,
                address: free_address()?,
                metrics: free_address()?,
                process: None,
            });
        }
        let mut deployment = Self {
            postgres: if plan.private_postgres {
                Postgres::private().await?
            } else {
                Postgres::fresh().await?
            },
            receiver: Receiver::start().await?,
            credential: ServiceCredential::read_or_create(&data.join("service.credential"))?,
            folder,
            members,
        };
        let front = deployment.url("front")?;
        std::fs::write(data.join("endpoint"), format!("{front}\n")).context("the endpoint")?;
        let names = || plan.members.iter().map(|(name, _)| *name);
        let at_once = || names().filter(|name| !plan.later.contains(name));
        for name in names() {
            deployment.write_config(name, plan.telemetry)?;
        }
        for name in at_once() {
            deployment.launch(name)?;
        }
        for name in at_once() {
            deployment.listens(name).await?;
        }
        deployment.answers().await?;
        Ok(deployment)
    }

    /// `--data-dir` of commands: it holds the credential and the first process's address.
    pub fn data_dir(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    /// A file of the deployment's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where a process scrapes to.
    pub fn metrics_url(&self, name: &str) -> Result<String> {
        Ok(format!("http://{}/metrics", self.member(name)?.metrics))
    }

    /// A channel to the first process that shows this token.
    pub fn channel(&self, token: &Token) -> Result<Channel> {
        let config = channel::Config {
            urls: vec![self.url("front")?],
            ..channel::Config::default()
        };
        Ok(Channel::remote(&config)
            .context("a channel to the first process")?
            .with_token(token))
    }

    /// The same, as Tocsin's own roles come.
    pub fn service_channel(&self) -> Result<Channel> {
        self.channel(self.credential.token())
    }

    /// `kill -9`.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let process = self.member_mut(name)?.process.as_mut();
        process.context("it runs")?.kill()
    }

    /// Starts a process that was killed, or not started yet, at its address, and waits until it takes connections.
    pub async fn bring_back(&mut self, name: &str) -> Result<()> {
        self.launch(name)?;
        self.listens(name).await
    }

    /// Adds lines to a process's configuration, for its next start.
    pub fn add_to_config(&self, name: &str, lines: &str) -> Result<()> {
        let path = self.path(&format!("{name}.toml"));
        let mut text = std::fs::read_to_string(&path).context("the configuration")?;
        text.push_str(lines);
        std::fs::write(&path, text).context("the configuration")
    }

    /// Whether all of them run.
    pub fn is_whole(&mut self) -> bool {
        let mut processes = self.members.iter_mut().map(|member| &mut member.process);
        processes.all(|process| process.as_mut().is_some_and(Process::is_alive))
    }

    /// Waits until both ensembles know what judges `class`, at most 20 s: they log it when they have it loaded.
    pub async fn judges(&self, class: &str) -> Result<()> {
        let loaded = format!("class is judged by class=\"{class}\"");
        for name in ["ensemble-1", "ensemble-2"] {
            let mut patience = 200;
            while !self.log(name).contains(&loaded) {
                if patience == 0 {
                    bail!("{name} knows nothing of {class}:\n{}", self.log(name));
                }
                patience -= 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// What a process has logged.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    fn member(&self, name: &str) -> Result<&Member> {
        let found = self.members.iter().find(|member| member.name == name);
        found.with_context(|| format!("no process {name}"))
    }

    fn member_mut(&mut self, name: &str) -> Result<&mut Member> {
        let found = self.members.iter_mut().find(|member| member.name == name);
        found.with_context(|| format!("no process {name}"))
    }

    /// A process's address.
    pub fn url(&self, name: &str) -> Result<String> {
        Ok(format!("http://{}", self.member(name)?.address))
    }

    /// Addresses of the processes whose names begin so, as a list's elements.
    fn urls(&self, beginning: &str) -> Result<String> {
        let names = self.members.iter().map(|member| member.name);
        let urls = names
            .filter(|name| name.starts_with(beginning))
            .map(|name| self.url(name));
        let quoted: Vec<String> = urls.map(|url| Ok(format!("{:?}", url?))).collect::<Result<_>>()?;
        Ok(quoted.join(", "))
    }

    fn write_config(&self, name: &str, telemetry: &str) -> Result<()> {
        let Member { address, metrics, .. } = self.member(name)?;
        let text = format!(
            r#"
[server]
listen = "{address}"
[console]
listen = "127.0.0.1:0"
[telemetry]
metrics_listen = "{metrics}"
{telemetry}
[database]
url = "{database}"
max_connections = 8
[objects]
url = "{objects}"
[access]
service_credential_file = "{data}/service.credential"
[ensemble]
score_deadline_ms = 10000
[peers]
scorer = [{scorers}]
ensemble = [{ensembles}]
registry = ["{front}"]
[[pager.destinations]]
kind = "webhook"
name = "receiver"
url = "{receiver}"
"#,
            scorers = self.urls("scorer")?,
            ensembles = self.urls("ensemble")?,
            front = self.url("front")?,
            database = self.postgres.url(),
            objects = self.path("objects").display(),
            data = self.data_dir(),
            receiver = self.receiver.url(),
        );
        std::fs::write(self.path(&format!("{name}.toml")), text).with_context(|| format!("{name}'s configuration"))
    }

    fn launch(&mut self, name: &str) -> Result<()> {
        let config = self.path(&format!("{name}.toml"));
        let config = config.to_str().context("the path")?;
        let log = self.path(&format!("{name}.log"));
        let member = self.member_mut(name)?;
        let arguments = ["serve", "--role", member.roles, "--config", config];
        member.process = Some(Process::start(&arguments, &log)?);
        Ok(())
    }

    async fn listens(&mut self, name: &str) -> Result<()> {
        let address = self.member(name)?.address;
        for _ in 0..600 {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Ok(());
            }
            let process = self.member_mut(name)?.process.as_mut();
            if !process.is_some_and(Process::is_alive) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{name} does not listen at {address}:\n{}", self.log(name))
    }

    async fn answers(&self) -> Result<()> {
        let data_dir = self.data_dir();
        let ask = ["sites", "list", "--data-dir", &data_dir, "--format", "json"];
        binary::run(&ask, &[])
            .await
            .with_context(|| format!("the first process does not answer:\n{}", self.log("front")))?;
        Ok(())
    }
}
