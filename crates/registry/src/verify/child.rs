//! The child's side: limits first, then the archive.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Write};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tocsin_models::VerifyLimits;

use super::{Job, Report};

/// The longest job that is read, in bytes.
const MAX_JOB: u64 = 64 << 10;
/// Files a child may have open: its three pipes, the archive, and a few that the system opens.
const MAX_OPEN_FILES: u64 = 32;

/// The hidden subcommand: reads a [`Job`] from `input`, tries the archive, writes a [`Report`] to `output`.
///
/// To be called before anything else is set up: no threads, no sockets, no configuration. An error means that the bundle
/// was not looked at; the caller prints it and exits with a code other than 0 and 101.
pub fn child(input: impl Read, output: impl Write) -> Result<()> {
    child_with(input, output, |archive| {
        match tocsin_models::verify(archive, VerifyLimits::default()) {
            Ok(report) => {
                let (digest, operators, parameters) = (report.digest, report.operators, report.parameters);
                Report::Passed {
                    digest,
                    operators,
                    parameters,
                }
            }
            Err(reason) => Report::rejected(reason.to_string()),
        }
    })
}

/// [`child`] with another check.
pub fn child_with(input: impl Read, mut output: impl Write, check: impl FnOnce(&[u8]) -> Report) -> Result<()> {
    let mut job = Vec::new();
    input.take(MAX_JOB).read_to_end(&mut job)?;
    let job: Job = serde_json::from_slice(&job)?;
    restrict(&job)?;
    let mut archive = Vec::new();
    let report = match File::open(&job.archive)?.read_to_end(&mut archive) {
        Ok(_) => check(&archive),
        Err(error) if error.kind() == ErrorKind::OutOfMemory => Report::rejected("does not fit the memory limit"),
        Err(error) => return Err(error),
    };
    serde_json::to_writer(&mut output, &report)?;
    output.flush()
}

/// Puts the limits of `job` on this process, for good: address space, processor time, written files, open files, and no
/// core dump.
pub fn restrict(job: &Job) -> Result<()> {
    let limits = [
        ("address space", Resource::As, job.memory_bytes),
        ("processor time", Resource::Cpu, job.cpu_s),
        ("file size", Resource::Fsize, job.file_bytes),
        ("open files", Resource::Nofile, MAX_OPEN_FILES),
        ("core size", Resource::Core, 0),
    ];
    for (name, resource, most) in limits {
        // Where the system allows less already, that holds: nobody may raise it.
        let most = getrlimit(resource).maximum.map_or(most, |allowed| allowed.min(most));
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit).map_err(|e| Error::other(format!("limiting {name} to {most}: {e}")))?;
    }
    Ok(())
}
