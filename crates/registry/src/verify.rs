//! Trying a pushed bundle in a process of its own, with limits that a hostile one can't lift.
//!
//! What the check looks at is `tocsin_models::verify`'s business; that it can't hurt anybody is this module's. The
//! parent starts the configured command (by default its own binary with `verify-bundle`), with an empty environment, and
//! writes a [`Job`] to its standard input. The child ([`child`]) first puts limits on itself, then reads and tries the
//! archive, and writes a [`Report`] to its standard output. The parent waits so long and no longer.
//!
//! **Invariant:** a child that dies, babbles or uses up its processor time has rejected the bundle; one that could not
//! even begin, or was not done in time by the clock on the wall, says nothing about it, and the bundle stays pending.

mod child;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_domain::BundleDigest;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

pub use self::child::{child, child_with, restrict};

/// The longest report that is read, in bytes.
const MAX_REPORT: u64 = 1 << 20;
/// The most of a child's standard error that is kept, in bytes.
const MAX_COMPLAINT: u64 = 4 << 10;
/// The longest reason that is kept, in characters.
const MAX_REASON: usize = 1000;
/// The exit code of a Rust program that panicked.
const PANICKED: i32 = 101;
/// Runs of a child that is not done in time: the host may have been busy with other things.
const TRIES: u32 = 3;

/// The child process and its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The program; this very binary when not given.
    pub command: Option<PathBuf>,
    /// Its arguments.
    pub args: Vec<String>,
    /// The most address space, in bytes.
    pub memory_bytes: u64,
    /// The most processor time, in seconds.
    pub cpu_s: u64,
    /// The longest file it may write, in bytes.
    pub file_bytes: u64,
    /// The longest it may take by the clock on the wall, in milliseconds.
    pub wall_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            command: None,
            args: vec!["verify-bundle".to_owned()],
            memory_bytes: 2 << 30,
            cpu_s: 20,
            file_bytes: 0,
            wall_ms: 20_000,
        }
    }
}

/// What the child is to do, and within what limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The archive to try.
    pub archive: PathBuf,
    /// The most address space, in bytes.
    pub memory_bytes: u64,
    /// The most processor time, in seconds.
    pub cpu_s: u64,
    /// The longest file it may write, in bytes.
    pub file_bytes: u64,
}

/// What the child found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Report {
    /// Scorers may load it.
    Passed {
        /// The digest of what was tried.
        digest: BundleDigest,
        /// How often its models use each operator.
        operators: BTreeMap<String, usize>,
        /// Weights of its models.
        parameters: usize,
    },
    /// Nobody may.
    Rejected {
        /// Why not.
        reason: String,
    },
}

impl Report {
    fn rejected(reason: impl Into<String>) -> Self {
        let mut reason: String = reason.into();
        // Neither the database nor a terminal takes what a hostile model may have put into its names.
        reason.retain(|c| !c.is_control());
        if let Some((end, _)) = reason.char_indices().nth(MAX_REASON) {
            reason.truncate(end);
        }
        Self::Rejected { reason }
    }
}

/// Why nothing is known about the bundle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be started or spoken to.
    #[error("running the verifier {program}: {source}")]
    Process {
        /// The program.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The program gave up before it looked at the bundle.
    #[error("the verifier gave up ({status}): {complaint}")]
    GaveUp {
        /// How it ended.
        status: String,
        /// What it said on standard error.
        complaint: String,
    },
    /// The program was not done in time, however often it ran.
    #[error("verification took longer than {wall_ms} ms, {tries} times: push again when the host is less busy", tries = TRIES)]
    TookTooLong {
        /// The longest it may take.
        wall_ms: u64,
    },
}

/// Runs the child.
#[derive(Debug, Clone)]
pub struct Verifier {
    program: PathBuf,
    config: Config,
}

/// What a child left behind.
struct Remains {
    status: ExitStatus,
    report: Vec<u8>,
    complaint: String,
}

impl Verifier {
    /// A verifier by its settings. Fails when no program is configured and this one can't be found.
    pub fn new(config: Config) -> Result<Self, Error> {
        let own = || {
            std::env::current_exe().map_err(|source| Error::Process {
                program: "(this binary)".to_owned(),
                source,
            })
        };
        let program = config.command.clone().map_or_else(own, Ok)?;
        Ok(Self { program, config })
    }

    /// Tries the archive at `archive`, again when the child was not done in time.
    pub async fn run(&self, archive: &Path) -> Result<Report, Error> {
        for _ in 0..TRIES {
            if let Some(report) = self.run_once(archive).await? {
                return Ok(report);
            }
        }
        let wall_ms = self.config.wall_ms;
        Err(Error::TookTooLong { wall_ms })
    }

    /// One child's report; none when it was not done in time.
    async fn run_once(&self, archive: &Path) -> Result<Option<Report>, Error> {
        let failed = |source| Error::Process {
            program: self.program.display().to_string(),
            source,
        };
        let job = Job {
            archive: archive.to_owned(),
            memory_bytes: self.config.memory_bytes,
            cpu_s: self.config.cpu_s,
            file_bytes: self.config.file_bytes,
        };
        let mut child = Command::new(&self.program)
            .args(&self.config.args)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let wall = Duration::from_millis(self.config.wall_ms);
        if let Ok(remains) = tokio::time::timeout(wall, converse(&mut child, &job)).await {
            judge(remains.map_err(failed)?).map(Some)
        } else {
            child.kill().await.map_err(failed)?;
            tracing::warn!(wall_ms = self.config.wall_ms, "the verifier was not done in time");
            Ok(None)
        }
    }
}

async fn converse(child: &mut Child, job: &Job) -> std::io::Result<Remains> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let job = serde_json::to_vec(job)?;
    let tell = async move {
        if let Some(mut stdin) = stdin {
            // A child that has gone already shows in its status.
            let _ = stdin.write_all(&job).await;
        }
    };
    let ((), report, complaint) = tokio::join!(tell, read(stdout, MAX_REPORT), read(stderr, MAX_COMPLAINT));
    let status = child.wait().await?;
    Ok(Remains {
        status,
        report: report?,
        complaint: String::from_utf8_lossy(&complaint?).trim().to_owned(),
    })
}

/// Reads up to `limit` bytes and then closes the pipe, so that a child that writes more can't fill our memory.
async fn read(pipe: Option<impl AsyncRead + Unpin>, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(limit).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

fn judge(remains: Remains) -> Result<Report, Error> {
    let Remains {
        status,
        report,
        complaint,
    } = remains;
    if report.len() as u64 >= MAX_REPORT {
        return Ok(Report::rejected("the verifier's report is too long"));
    }
    if status.success() {
        return Ok(match serde_json::from_slice(&report) {
            Ok(Report::Rejected { reason }) => Report::rejected(reason),
            Ok(passed) => passed,
            Err(_) => Report::rejected("the verifier gave no readable report"),
        });
    }
    match status.code() {
        Some(PANICKED) => Ok(Report::rejected(format!("the verifier panicked: {complaint}"))),
        Some(_) => Err(Error::GaveUp {
            status: status.to_string(),
            complaint,
        }),
        // Killed by a signal: it went beyond its limits, or broke.
        None => Ok(Report::rejected(format!(
            "verification was stopped ({status}): {complaint}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(script: &str) -> Result<Report, Error> {
        let config = Config {
            command: Some("/bin/sh".into()),
            args: vec!["-c".into(), script.into()],
            wall_ms: 2_000,
            ..Config::default()
        };
        Verifier::new(config)
            .unwrap()
            .run(Path::new("/nowhere/bundle.tar"))
            .await
    }

    async fn rejection(script: &str) -> String {
        match run(script).await.unwrap() {
            Report::Rejected { reason } => reason,
            passed @ Report::Passed { .. } => panic!("{script:?} passed: {passed:?}"),
        }
    }

    #[tokio::test]
    async fn the_child_gets_the_job_and_no_environment_and_its_report_is_the_answer() {
        let passed = Report::Passed {
            digest: BundleDigest([7; 32]),
            operators: BTreeMap::from([("Gemm".to_owned(), 4)]),
            parameters: 9,
        };
        let json = serde_json::to_string(&passed).unwrap();
        let script = format!(
            "read job; case $job in *nowhere/bundle.tar*) ;; *) exit 3 ;; esac; \
             [ -z \"$HOME$CARGO$USER\" ] || exit 4; echo '{json}'"
        );
        assert_eq!(run(&script).await.unwrap(), passed);
    }

    #[tokio::test]
    async fn a_child_that_is_not_done_in_time_runs_again_and_in_the_end_says_nothing_about_the_bundle() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let hangs = |on: &str| {
            format!(
                "echo >> {0}; [ $(wc -l < {0}) -{on} ] && exec sleep 60; ",
                runs.display()
            )
        };
        let rejects = r#"echo '{"outcome":"rejected","reason":"seen"}'"#;
        assert_eq!(rejection(&(hangs("lt 3") + rejects)).await, "seen");

        std::fs::remove_file(&runs).unwrap();
        let late = run(&(hangs("ge 0") + rejects)).await.unwrap_err();
        assert!(matches!(late, Error::TookTooLong { wall_ms: 2_000 }), "{late}");
        assert_eq!(std::fs::read(&runs).unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_child_that_dies_or_babbles_has_rejected_the_bundle() {
        assert!(rejection("kill -ABRT $$").await.contains("signal"));
        assert!(rejection("echo hello").await.contains("no readable report"));
        assert!(
            rejection("head -c 3000000 /dev/zero")
                .await
                .contains("report is too long")
        );
        assert!(
            rejection("echo index out of bounds >&2; exit 101")
                .await
                .contains("panicked: index out")
        );
        let long = rejection(r#"printf '{"outcome":"rejected","reason":"a\\u0000b%2000d"}' 1"#).await;
        assert!(long.len() <= MAX_REASON && long.starts_with("ab"), "{long}");
    }

    #[tokio::test]
    async fn a_verifier_that_can_not_begin_says_nothing_about_the_bundle() {
        let gave_up = run("echo no such limit >&2; exit 1").await.unwrap_err();
        assert!(
            matches!(gave_up, Error::GaveUp { ref complaint, .. } if complaint == "no such limit"),
            "{gave_up}"
        );
        let config = Config {
            command: Some("/nowhere/verifier".into()),
            ..Config::default()
        };
        let missing = Verifier::new(config)
            .unwrap()
            .run(Path::new("/nowhere"))
            .await
            .unwrap_err();
        assert!(matches!(missing, Error::Process { .. }), "{missing}");
    }
}
