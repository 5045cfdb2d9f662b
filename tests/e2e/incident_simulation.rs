//! A short run of the incident simulation (`make bench-incidents` has the long one): nothing is violated, and each way to break the product from outside is noticed.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

fn simulate(arguments: &[&str]) -> Result<Value> {
    let done = Command::new(env!("CARGO_BIN_EXE_incident-simulation"))
        .args(arguments)
        .output()
        .context("running the simulation")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{arguments:?}: {}: {said}", done.status);
    let mut document: Value = serde_json::from_slice(&done.stdout).with_context(|| said.to_string())?;
    document["said"] = said.into();
    Ok(document)
}

#[test]
fn nothing_is_violated_and_no_second_fault_is_missed() -> Result<()> {
    let arguments = ["--steps", "1000", "--seed", "5"];
    let document = simulate(&arguments)?;
    assert_eq!(
        (&document["violations"], &document["missed_second_faults"]),
        (&0.into(), &0.into()),
        "{document:#}"
    );
    for count in ["crashes", "incidents", "pages"] {
        assert!(document[count].as_u64() > Some(0), "{document:#}");
    }
    Ok(())
}

#[test]
fn each_sabotage_is_noticed() -> Result<()> {
    for sabotage in ["double-open", "lost-page", "skip-lock", "resurrect", "forget-outbox"] {
        let document = simulate(&["--steps", "3000", "--seed", "3", "--sabotage", sabotage])?;
        assert!(document["violations"].as_u64() > Some(0), "{sabotage}: {document:#}");
    }
    Ok(())
}
