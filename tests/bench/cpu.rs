//! CPU time of processes and of their threads by name, from the kernel's books (`/proc`).

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

/// Seconds of CPU that a group of threads or processes has used so far, by the group's name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Usage(BTreeMap<String, f64>);

impl Usage {
    /// What the server, its Postgres and this process have used.
    pub(crate) fn read(server: u32, postmaster: u32) -> Result<Self> {
        let mut usage = Self::default();
        for (name, seconds) in threads(server)? {
            usage.add(&format!("server {}", family(&name)), seconds);
        }
        usage.add("postgres", process(postmaster)?);
        for child in children(postmaster)? {
            // One that ended meanwhile is in the postmaster's own account.
            usage.add("postgres", process(child).unwrap_or_default());
        }
        usage.add("client", process(std::process::id())?);
        Ok(usage)
    }

    fn add(&mut self, name: &str, seconds: f64) {
        *self.0.entry(name.to_owned()).or_default() += seconds;
    }

    /// Microseconds of CPU per reading since `before`, by group.
    pub(crate) fn per_reading(&self, before: &Self, readings: u64) -> BTreeMap<String, f64> {
        let used = |name: &String, seconds: &f64| seconds - before.0.get(name).copied().unwrap_or_default();
        self.0
            .iter()
            .map(|(name, seconds)| (name.clone(), used(name, seconds) * 1e6 / readings as f64))
            .collect()
    }
}

/// Threads of one kind bear a number at the end.
fn family(thread: &str) -> &str {
    thread.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-')
}

fn threads(pid: u32) -> Result<Vec<(String, f64)>> {
    let mut threads = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).context("the server's threads")? {
        let folder = task.context("the server's threads")?.path();
        let name = std::fs::read_to_string(folder.join("comm")).unwrap_or_default();
        // A thread that ended meanwhile is left out.
        if let Ok(stat) = Stat::read(&folder) {
            threads.push((name.trim().to_owned(), stat.seconds));
        }
    }
    Ok(threads)
}

fn process(pid: u32) -> Result<f64> {
    Ok(Stat::read(Path::new(&format!("/proc/{pid}")))?.seconds)
}

fn children(parent: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc").context("the processes")? {
        let entry = entry.context("the processes")?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if Stat::read(&entry.path()).is_ok_and(|stat| stat.parent == parent) {
            children.push(pid);
        }
    }
    Ok(children)
}

struct Stat {
    parent: u32,
    seconds: f64,
}

impl Stat {
    fn read(folder: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(folder.join("stat")).context("a process's stat")?;
        // The name in brackets may hold anything; the fields begin after it.
        let (_, fields) = text.rsplit_once(')').context("a process's stat has no name")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok());
        let ticks = number(11).zip(number(12)).context("a process's stat has no times")?;
        Ok(Self {
            parent: number(1).context("a process's stat has no parent")? as u32,
            // The kernel counts in hundredths of a second, whatever its own clock (proc(5)).
            seconds: (ticks.0 + ticks.1) as f64 / 100.0,
        })
    }
}
