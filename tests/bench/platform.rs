//! `tocsin up` on a private Postgres, as a process of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use sqlx::PgPool;
use tempfile::TempDir;
use tocsin::client::Target;
use tocsin_store::Store;
use tocsin_tests::binary::Process;
use tocsin_transport::Channel;

use crate::cpu::Usage;

/// How it is set up.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Configuration file of the platform [default: the defaults]
    #[arg(long)]
    config: Option<String>,
}

/// A platform that is stopped and forgotten at the end.
#[derive(Debug)]
pub(crate) struct Platform {
    process: Process,
    folder: TempDir,
}

impl Platform {
    /// Starts one and waits until it answers.
    pub(crate) async fn start(settings: &Settings) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("tocsin-bench")
            .tempdir()
            .context("a temporary folder")?;
        open_to_all(folder.path())?;
        let data_dir = folder.path().join("data");
        let data_dir = data_dir.to_str().context("the temporary folder's name")?;
        let mut arguments = vec![
            "up",
            "--data-dir",
            data_dir,
            "--console",
            "127.0.0.1:0",
            "--listen",
            "127.0.0.1:0",
        ];
        if let Some(config) = &settings.config {
            arguments.extend(["--config", config.as_str()]);
        }
        let process = Process::start(&arguments, &folder.path().join("tocsin.log"))?;
        let mut platform = Self { process, folder };
        platform.answers().await?;
        Ok(platform)
    }

    /// Starts one with the defaults, that others of its kind don't meet on a port.
    pub(crate) async fn alone() -> Result<Self> {
        let folder = tempfile::tempdir().context("a temporary folder")?;
        let config = folder.path().join("tocsin.toml");
        std::fs::write(&config, "[telemetry]\nmetrics_listen = \"off\"\n").context("the configuration")?;
        let config = config.to_str().context("the configuration file's name")?.to_owned();
        Self::start(&Settings { config: Some(config) }).await
    }

    async fn answers(&mut self) -> Result<()> {
        for _ in 0..600 {
            if self.folder.path().join("data/endpoint").exists() {
                return Ok(());
            }
            if !self.process.is_alive() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = std::fs::read_to_string(self.folder.path().join("tocsin.log")).unwrap_or_default();
        bail!("tocsin up did not become ready:\n{log}")
    }

    /// Where it is, for clients.
    pub(crate) fn target(&self) -> Target {
        Target {
            data_dir: Some(self.folder.path().join("data")),
            ..Target::default()
        }
    }

    /// Where its bundles and its archive are.
    pub(crate) fn objects(&self) -> PathBuf {
        self.folder.path().join("data/objects")
    }

    /// Where its console is.
    pub(crate) fn console(&self) -> Result<String> {
        let log = std::fs::read_to_string(self.folder.path().join("tocsin.log")).context("the platform's log")?;
        let address = log
            .lines()
            .find_map(|line| line.trim().strip_prefix("console "))
            .map(str::trim);
        Ok(address
            .context("the platform does not say where its console is")?
            .to_owned())
    }

    /// The password of its first account, `admin`.
    pub(crate) fn password(&self) -> Result<String> {
        let file = self.folder.path().join("data/admin.password");
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        Ok(text.trim().to_owned())
    }

    /// A channel with the service credential.
    pub(crate) fn operator(&self) -> Result<Channel> {
        self.target().channel()
    }

    /// Its database.
    pub(crate) async fn database(&self) -> Result<PgPool> {
        PgPool::connect(&self.database_url()?)
            .await
            .context("the platform's database")
    }

    /// Its database, as the services know it.
    pub(crate) async fn store(&self) -> Result<Store> {
        let config = tocsin_store::Config {
            url: self.database_url()?,
            ..tocsin_store::Config::default()
        };
        Ok(Store::connect(&config).await?)
    }

    fn database_url(&self) -> Result<String> {
        let socket = self.postmaster()?.socket;
        Ok(format!(
            "postgres://tocsin@localhost/tocsin?host={}",
            socket.replace('/', "%2F")
        ))
    }

    /// What the kernel says of the server's memory under a name (proc(5): `VmRSS`, `VmHWM`), in bytes.
    pub(crate) fn memory(&self, name: &str) -> Result<u64> {
        let file = format!("/proc/{}/status", self.process.id());
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        Ok(1024 * number.with_context(|| format!("{file} has no {name}"))?)
    }

    /// Begins the server's peak of memory anew from what it has now.
    pub(crate) fn forget_peak(&self) -> Result<()> {
        let file = format!("/proc/{}/clear_refs", self.process.id());
        std::fs::write(&file, "5").with_context(|| format!("writing {file}"))
    }

    /// CPU time used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::read(self.process.id(), self.postmaster()?.pid)
    }

    fn postmaster(&self) -> Result<Postmaster> {
        let file = self.folder.path().join("data/postgres/data/postmaster.pid");
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let lines: Vec<&str> = text.lines().collect();
        Ok(Postmaster {
            pid: lines
                .first()
                .and_then(|line| line.trim().parse().ok())
                .context("no pid")?,
            socket: (*lines.get(4).context("no socket folder")?).to_owned(),
        })
    }

    /// Stops it, its Postgres last.
    pub(crate) fn stop(self) -> Result<()> {
        self.process.terminate()
    }
}

/// The first lines of `postmaster.pid`.
struct Postmaster {
    pid: u32,
    socket: String,
}

/// Postgres runs as another user, who has to get in.
fn open_to_all(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).context("opening the folder")
}
