//! Another CPU: what was judged here is made again by the same binary on an emulated Haswell. The engine picks other kernels
//! there, so a score may differ in its last bits; no decision may.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tocsin_domain::BundleId;
use tocsin_models::BundleStore;
use tocsin_tests::binary::{self, CommandLine};
use tocsin_tests::stage::free_address;
use tocsin_tests::tools::{self, Server};
use tocsin_tests::{Plant, Stage};

/// AVX2 and FMA, and no AVX-512.
const CPU: [&str; 2] = ["-cpu", "Haswell"];
const VERIFY: [&str; 2] = ["verdict", "verify"];
/// The emulator is some tens of times slower.
const PATIENCE: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn on_another_cpu_model_every_decision_comes_out_the_same() -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        return Ok(());
    }
    let Some(emulator) = tools::program("qemu-x86_64") else {
        return Ok(());
    };
    let stage = Stage::judging().await?;
    let mut publisher = stage.publisher().await?;
    let readings = (0..60).flat_map(|n| {
        let failing = if n < 40 { Plant::healthy(n) } else { Plant::failing(n) };
        [
            Plant::reading("m1/h", n, failing),
            Plant::reading("m1/v", n, Plant::healthy(n + 500)),
        ]
    });
    assert_eq!(publisher.publish(readings.collect()).await?.stored, 120);
    let here = stage.ask(&VERIFY).await?;
    assert_eq!(
        (&here["decision_mismatches"], &here["score_mismatches"]),
        (&Value::from(0), &Value::from(0)),
        "{here:#}"
    );

    // The review of another host: its own process, on the same database, registry and bundles.
    let folder = tempfile::tempdir()?;
    let objects = folder.path().join("objects");
    let bundle: i32 = sqlx::query_scalar("select max(bundle_id) from bundle")
        .fetch_one(stage.store.pool())
        .await?;
    let objects_url = objects.to_str().context("the path")?;
    stage
        .copy_bundle(BundleId(bundle), &BundleStore::open(objects_url)?)
        .await?;
    let credential = folder.path().join("service.credential");
    std::fs::write(&credential, stage.service_token().expose())?;
    let listen = free_address()?;
    let config = folder.path().join("tocsin.toml");
    let text = format!(
        r#"
[server]
listen = "{listen}"
[telemetry]
metrics_listen = "off"
[database]
url = "{}"
[objects]
url = "{objects_url}"
[peers]
registry = ["http://{}"]
[access]
service_credential_file = "{}"
"#,
        stage.postgres.url(),
        stage.running.grpc_addr(),
        credential.display()
    );
    std::fs::write(&config, text)?;
    let mut serve = Command::new(&emulator);
    serve
        .args(CPU)
        .arg(binary::path()?)
        .args(["serve", "--role", "review", "--config"])
        .arg(&config);
    let server = Server::start(&mut serve, listen).await?;

    let there = CommandLine::new(format!("http://{listen}"), stage.service_token().clone());
    let explained = there.ask(&["verdict", "explain", "works/m1/h"]).await?;
    let build = explained["verdict"]["deriving_build"]
        .as_str()
        .context("deriving_build")?;
    assert!(build.ends_with("+tract-fma"), "{build}");

    // The command too runs there.
    let mut verify = tokio::process::Command::new(&emulator);
    verify
        .args(CPU)
        .arg(binary::path()?)
        .args(VERIFY)
        .args(["--format", "json"])
        .env("TOCSIN_TARGET", format!("http://{listen}"))
        .env("TOCSIN_TOKEN", stage.service_token().expose())
        .kill_on_drop(true);
    let said = tokio::time::timeout(PATIENCE, verify.output()).await;
    let said = said.context("the emulated verification takes too long")??;
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let found: Value = serde_json::from_slice(&said.stdout)?;
    assert_eq!(
        (
            &found["verdicts"],
            &found["decision_mismatches"],
            &found["without_spectrum"]
        ),
        (&here["verdicts"], &Value::from(0), &Value::from(0)),
        "{found:#}"
    );
    drop(server);
    stage.stop().await
}
