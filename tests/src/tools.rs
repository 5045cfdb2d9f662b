//! Programs of others that a story needs. Where one is missing the story is skipped and says so; in CI that is a failure.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A program on the path, or in the tools folder of `TOCSIN_CACHE`.
///
/// # Panics
/// If it is missing and `CI` is set.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    found.or_else(|| missing(name))
}

/// A Python that can import these modules: `python3`, or that of the tools folder of `TOCSIN_CACHE`.
///
/// # Panics
/// If there is none and `CI` is set.
pub fn python_with(modules: &[&str]) -> Option<PathBuf> {
    let found = any_python_with(modules);
    found.or_else(|| missing(&format!("a Python with {}", modules.join(", "))))
}

/// The same for modules that are too large to be asked of everyone: without them, skipped in CI as well.
pub fn python_perhaps_with(modules: &[&str]) -> Option<PathBuf> {
    let found = any_python_with(modules);
    if found.is_none() {
        eprintln!("skipped: no Python with {} is installed", modules.join(", "));
    }
    found
}

fn any_python_with(modules: &[&str]) -> Option<PathBuf> {
    let cache = std::env::var_os("TOCSIN_CACHE").map(|cache| Path::new(&cache).join("tools/python/bin/python3"));
    let imports = format!("import {}", modules.join(", "));
    let able = |python: &PathBuf| {
        let tried = Command::new(python)
            .args(["-c", &imports])
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    };
    cache.into_iter().chain([PathBuf::from("python3")]).find(able)
}

fn missing(what: &str) -> Option<PathBuf> {
    assert!(std::env::var_os("CI").is_none(), "{what} is missing");
    eprintln!("skipped: {what} is not installed");
    None
}

/// A server that ends with the story.
#[derive(Debug)]
pub struct Server(Child);

impl Server {
    /// Starts it and waits until it listens at `address`, at most 30 s.
    pub async fn start(command: &mut Command, address: std::net::SocketAddr) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut server = Self(child.with_context(|| format!("starting {command:?}"))?);
        for _ in 0..300 {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Ok(server);
            }
            if let Some(status) = server.0.try_wait().context("looking at a server")? {
                bail!("{command:?} ended with {status}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("{command:?} does not listen at {address}")
    }

    /// Asks it to stop and waits.
    pub fn stop(mut self) -> Result<()> {
        let asked = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status()
            .context("kill -TERM")?;
        if !asked.success() {
            bail!("the server was gone before it was asked to stop");
        }
        self.0.wait().context("waiting for the end")?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
