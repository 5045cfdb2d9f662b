//! A short run of the incident simulation (`make bench-incidents` has the long one): nothing is violated, a seed reproduces
//! its run, and each way to break the product from outside is noticed.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Ways to break it, with a seed and the steps in which that is noticed.
const SABOTAGES: [(&str, &str, &str); 5] = [
    ("double-open", "3", "600"),
    ("lost-page", "3", "600"),
    ("forget-outbox", "3", "600"),
    ("skip-lock", "3", "600"),
    ("resurrect", "3", "2400"),
];

fn begin(arguments: &[&str]) -> Result<Child> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_incident-simulation"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().context("running the simulation")
}

/// The document of a run, and what it had to say.
fn end(run: Child) -> Result<(Value, String)> {
    let done = run.wait_with_output().context("waiting for the simulation")?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.success(), "{}: {said}", done.status);
    let document = serde_json::from_slice(&done.stdout).with_context(|| said.clone())?;
    Ok((document, said))
}

#[test]
fn nothing_is_violated_no_second_fault_is_missed_and_a_seed_reproduces_its_run() -> Result<()> {
    let arguments = ["--steps", "1000", "--seed", "5"];
    let (one, other) = (begin(&arguments)?, begin(&arguments)?);
    let ((document, said), (again, _)) = (end(one)?, end(other)?);
    assert_eq!(
        (&document["violations"], &document["missed_second_faults"]),
        (&0.into(), &0.into()),
        "{document:#}: {said}"
    );
    for count in ["crashes", "incidents", "pages"] {
        assert!(document[count].as_u64() > Some(0), "{document:#}");
    }
    assert_eq!(document, again);
    Ok(())
}

#[test]
fn each_sabotage_is_noticed() -> Result<()> {
    for two in SABOTAGES.chunks(2) {
        let run = |(name, seed, steps): &(&'static str, &str, &str)| {
            let run = begin(&["--steps", steps, "--seed", seed, "--sabotage", name])?;
            anyhow::Ok((*name, run))
        };
        for (sabotage, run) in two.iter().map(run).collect::<Result<Vec<_>>>()? {
            let (document, said) = end(run)?;
            assert!(
                document["violations"].as_u64() > Some(0),
                "{sabotage}: {document:#}: {said}"
            );
        }
    }
    Ok(())
}
