//! The built binary, for stories that start and kill processes.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tocsin_transport::auth::Token;

/// Where the `tocsin` that belongs to this test build lies.
pub fn path() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program's own path")?;
    let folder = own.parent().context("this program's folder")?;
    // A benchmark lies beside it, a test in target/profile/deps.
    let folder = match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().context("the target folder")?,
        _ => folder,
    };
    let binary = folder.join("tocsin");
    if !binary.exists() {
        bail!(
            "{} is not built: run `make test`, or cargo build --release --workspace --bins",
            binary.display()
        );
    }
    Ok(binary)
}

/// A process that is killed, hard, when the story is over.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts `tocsin` with these arguments; what it logs goes to `log`.
    pub fn start(arguments: &[&str], log: &std::path::Path) -> Result<Self> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .context("the log file")?;
        let child = Command::new(path()?)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting tocsin {}", arguments.join(" ")))?;
        Ok(Self(child))
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.0.kill().context("killing")?;
        self.0.wait().context("waiting for the end")?;
        Ok(())
    }

    /// Asks it to stop and waits.
    pub fn terminate(mut self) -> Result<()> {
        let asked = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status()
            .context("kill -TERM")?;
        if !asked.success() {
            bail!("the process was gone before it was asked to stop");
        }
        self.0.wait().context("waiting for the end")?;
        Ok(())
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Still running.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `tocsin` to its end; standard output, or an error with standard error in it.
pub async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Result<String> {
    let mut command = tokio::process::Command::new(path()?);
    command
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command
        .output()
        .await
        .with_context(|| format!("running tocsin {}", arguments.join(" ")))?;
    if !output.status.success() {
        bail!(
            "tocsin {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).context("standard output")
}

/// The built `tocsin` as a person uses it: where the platform is, and a credential.
#[derive(Debug, Clone)]
pub struct CommandLine {
    target: String,
    token: Token,
}

impl CommandLine {
    /// For a platform's address.
    pub fn new(target: String, token: Token) -> Self {
        Self { target, token }
    }

    /// What it answers, as JSON.
    pub async fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.say(&[arguments, &["--format", "json"]].concat()).await?;
        serde_json::from_str(&said).with_context(|| format!("one JSON document from tocsin {}", arguments.join(" ")))
    }

    /// What it prints for people.
    pub async fn say(&self, arguments: &[&str]) -> Result<String> {
        let environment = [
            ("TOCSIN_TARGET", self.target.as_str()),
            ("TOCSIN_TOKEN", self.token.expose()),
        ];
        run(arguments, &environment).await
    }
}
