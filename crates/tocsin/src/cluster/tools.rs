//! Postgres' own programs: finding them, and running them as the right user.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::{Context, Result, bail};

use super::user::Owner;

/// Debian keeps each major version in a folder of its own.
const DEBIAN: &str = "/usr/lib/postgresql";
/// How long the server may take to start or to stop, in seconds.
const PATIENCE_S: &str = "60";

/// `pg_isready`: 0 is ready, 1 is starting or stopping, 2 is no response.
const NO_RESPONSE: i32 = 2;

/// The folder with `initdb` and `pg_ctl`: of major version `wanted`, or of the newest.
///
/// # Errors
/// If there is none.
pub(super) fn find(wanted: Option<&str>) -> Result<PathBuf> {
    let mut debian: Vec<(u32, PathBuf)> = fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    debian.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = debian
        .into_iter()
        .rev()
        .map(|(version, bin)| (Some(version.to_string()), bin));
    // A version is known by its folder; one in PATH is taken at its word.
    let candidates = candidates.chain(std::env::split_paths(&path).map(|bin| (None, bin)));
    let fits = |version: &Option<String>| match (wanted, version) {
        (Some(wanted), Some(version)) => wanted == version,
        _ => true,
    };
    for (version, bin) in candidates {
        if fits(&version) && bin.join("initdb").is_file() && bin.join("pg_ctl").is_file() {
            return Ok(bin);
        }
    }
    match wanted {
        Some(version) => {
            bail!("postgres {version}, which made this cluster, isn't installed: apt install postgresql-{version}")
        }
        None => bail!(
            "postgres isn't installed: apt install postgresql, put its bin folder into PATH, or name a running server by --database-url"
        ),
    }
}

/// The programs, and whom they run as.
#[derive(Debug)]
pub(super) struct Tools {
    bin: PathBuf,
    owner: Owner,
}

impl Tools {
    pub(super) fn new(bin: PathBuf, owner: Owner) -> Self {
        Self { bin, owner }
    }

    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Fails when the owner can't get to `folder`.
    pub(super) async fn can_use(&self, folder: &Path) -> Result<()> {
        let mut shell = self.owner.command(Path::new("/bin/sh"));
        shell
            .args(["-c", "test -w \"$0\" && test -x \"$0\""])
            .arg(folder)
            .current_dir("/");
        let status = tokio::process::Command::from(shell)
            .status()
            .await
            .context("starting /bin/sh")?;
        if status.success() {
            Ok(())
        } else {
            self.owner.explain(folder)
        }
    }

    pub(super) async fn initialise(&self, data: &Path, role: &str) -> Result<()> {
        let mut initdb = self.command("initdb");
        initdb.arg("--pgdata").arg(data).arg("--username").arg(role);
        initdb.args(["--encoding=UTF8", "--locale=C", "--data-checksums"]);
        // The socket's folder is the lock on the door.
        initdb.args(["--auth-local=trust", "--auth-host=reject"]);
        succeeded("initdb", &output(initdb).await?)
    }

    /// Starts the server and waits until it answers.
    pub(super) async fn start(&self, data: &Path, log: &Path) -> Result<()> {
        let mut pg_ctl = self.command("pg_ctl");
        pg_ctl.arg("start").arg("--pgdata").arg(data).arg("--log").arg(log);
        pg_ctl.args(["--wait", "--timeout", PATIENCE_S]);
        let outcome = output(pg_ctl).await?;
        if outcome.status.success() {
            return Ok(());
        }
        let last_words = fs::read_to_string(log).unwrap_or_default();
        let mut last_words: Vec<&str> = last_words.lines().rev().take(5).collect();
        last_words.reverse();
        bail!(
            "the private postgres doesn't start; {} ends with: {}",
            log.display(),
            last_words.join(" | ")
        )
    }

    /// The running server's socket folder, as `postmaster.pid` has it; `None` if no server runs on `data`.
    pub(super) async fn running(&self, data: &Path) -> Result<Option<PathBuf>> {
        let mut pg_ctl = self.command("pg_ctl");
        pg_ctl.arg("status").arg("--pgdata").arg(data);
        if !output(pg_ctl).await?.status.success() {
            return Ok(None);
        }
        let path = data.join("postmaster.pid");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let Some(socket) = socket_of(&text) else {
            return Ok(None);
        };
        // The number may be another program's by now, after a power cut: then nobody answers, and the start, which looks
        // closer, decides.
        let mut pg_isready = self.command("pg_isready");
        pg_isready
            .arg("--host")
            .arg(socket)
            .args(["--timeout", "10", "--quiet"]);
        let answers = output(pg_isready)
            .await?
            .status
            .code()
            .is_some_and(|code| code < NO_RESPONSE);
        Ok(answers.then(|| socket.to_owned()))
    }

    pub(super) async fn create_database(&self, socket: &Path, role: &str, name: &str) -> Result<()> {
        let mut createdb = self.command("createdb");
        createdb
            .arg("--host")
            .arg(socket)
            .args(["--username", role, "--", name]);
        let outcome = output(createdb).await?;
        if String::from_utf8_lossy(&outcome.stderr).contains("already exists") {
            return Ok(());
        }
        succeeded("createdb", &outcome)
    }

    pub(super) async fn stop(&self, data: &Path) -> Result<()> {
        let mut pg_ctl = self.command("pg_ctl");
        pg_ctl.arg("stop").arg("--pgdata").arg(data);
        pg_ctl.args(["--mode", "fast", "--wait", "--timeout", PATIENCE_S]);
        succeeded("pg_ctl stop", &output(pg_ctl).await?)
    }

    pub(super) fn stop_without_waiting(&self, data: &Path) {
        let mut pg_ctl = self.command("pg_ctl");
        pg_ctl.arg("stop").arg("--pgdata").arg(data);
        pg_ctl.args(["--mode", "fast", "--no-wait", "--silent"]);
        if let Err(error) = pg_ctl.stdout(Stdio::null()).stderr(Stdio::null()).status() {
            tracing::warn!(%error, "the private postgres was not told to stop");
        }
    }

    fn command(&self, program: impl AsRef<OsStr>) -> std::process::Command {
        let mut command = self.owner.command(&self.bin.join(program.as_ref()));
        // Its own words are read, so they are in one language; and the folder we stand in may be closed to its user.
        command
            .env("LC_ALL", "C")
            .env_remove("PGDATA")
            .current_dir("/")
            .stdin(Stdio::null());
        for variable in [
            "PGHOST",
            "PGPORT",
            "PGUSER",
            "PGDATABASE",
            "PGPASSWORD",
            "PGSERVICE",
            "PGOPTIONS",
        ] {
            command.env_remove(variable);
        }
        command
    }
}

async fn output(command: std::process::Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    tokio::process::Command::from(command)
        .output()
        .await
        .with_context(|| format!("starting {program}"))
}

fn succeeded(what: &str, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    bail!(
        "{what} failed ({}): {}",
        output.status,
        words.trim().replace('\n', " | ")
    )
}

/// The fifth line of `postmaster.pid` (`src/include/utils/pidfile.h` of Postgres): the first socket folder.
fn socket_of(postmaster_pid: &str) -> Option<&Path> {
    postmaster_pid
        .lines()
        .nth(4)
        .filter(|line| !line.is_empty())
        .map(Path::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_of_a_running_server_is_read_from_its_pid_file() {
        let file = "4711\n/srv/data\n1769990000\n5432\n/srv/run\n\n  5432001         3\nready   \n";
        assert_eq!(socket_of(file), Some(Path::new("/srv/run")));
        assert_eq!(socket_of("4711\n/srv/data\n"), None);
    }
}
