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
        let folder = tempfile::tempdir().context("a temporary folder")?;
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data).context("the data folder")?;
        let mut members = Vec::new();
        for (name, roles) in MEMBERS {
            members.push(Member {
                name,
                roles,
                address: free_address()?,
                metrics: free_address()?,
                process: None,
            });
        }
        let mut deployment = Self {
            postgres: Postgres::fresh().await?,
            receiver: Receiver::start().await?,
            credential: ServiceCredential::read_or_create(&data.join("service.credential"))?,
            folder,
            members,
        };
        let front = deployment.url("front")?;
        std::fs::write(data.join("endpoint"), format!("{front}\n")).context("the endpoint")?;
        for (name, _) in MEMBERS {
            deployment.write_config(name, telemetry)?;
            deployment.launch(name)?;
        }
        for (name, _) in MEMBERS {
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

    /// Starts a killed process again, at the same address, and waits until it takes connections.
    pub async fn bring_back(&mut self, name: &str) -> Result<()> {
        self.launch(name)?;
        self.listens(name).await
    }

    /// Whether all five run.
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

    fn url(&self, name: &str) -> Result<String> {
        Ok(format!("http://{}", self.member(name)?.address))
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
scorer = ["{scorer_1}", "{scorer_2}"]
ensemble = ["{ensemble_1}", "{ensemble_2}"]
registry = ["{front}"]
[[pager.destinations]]
kind = "webhook"
name = "receiver"
url = "{receiver}"
"#,
            scorer_1 = self.url("scorer-1")?,
            scorer_2 = self.url("scorer-2")?,
            ensemble_1 = self.url("ensemble-1")?,
            ensemble_2 = self.url("ensemble-2")?,
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
