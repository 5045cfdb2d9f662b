//! Bundles in S3: stored once, read back, told apart from a changed object; and the platform itself on them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tocsin_models::BundleStore;
use tocsin_tests::stage::{CLASS, free_address};
use tocsin_tests::tools::{self, Server};
use tocsin_tests::{Plant, Postgres, Receiver, binary};

use crate::femto::up_with;

/// A local S3 server with the bucket `bundles`.
struct S3 {
    address: SocketAddr,
    client: reqwest::Client,
    _server: Server,
}

impl S3 {
    /// Starts it, if there is one on this machine.
    async fn start() -> Result<Option<Self>> {
        let Some(python) = tools::python_with(&["moto.server"]) else {
            return Ok(None);
        };
        let address = free_address()?;
        let mut command = Command::new(python);
        let port = address.port().to_string();
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port]);
        let server = Server::start(&mut command, address).await?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Who asks is looked at; the signature is not.
        let who =
            "AWS4-HMAC-SHA256 Credential=somebody/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        let headers = [(reqwest::header::AUTHORIZATION, who.parse()?)];
        let client = reqwest::Client::builder()
            .default_headers(headers.into_iter().collect())
            .build()?;
        let s3 = Self {
            address,
            client,
            _server: server,
        };
        s3.put("", Vec::new()).await?;
        Ok(Some(s3))
    }

    /// Puts an object of the bucket, or makes the bucket.
    async fn put(&self, key: &str, body: Vec<u8>) -> Result<()> {
        let url = format!("http://{}/bundles/{key}", self.address);
        let answer = self.client.put(url.trim_end_matches('/')).body(body).send().await?;
        ensure!(answer.status().is_success(), "{}", answer.status());
        Ok(())
    }

    /// The keys of the bucket's objects.
    async fn keys(&self) -> Result<Vec<String>> {
        let url = format!("http://{}/bundles?list-type=2", self.address);
        let listing = self.client.get(url).send().await?.text().await?;
        let keys = listing.split("<Key>").skip(1);
        Ok(keys
            .filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned()))
            .collect())
    }

    /// What a client of it is told.
    fn settings(&self) -> BTreeMap<String, String> {
        let settings = [
            ("aws_endpoint", format!("http://{}", self.address)),
            ("aws_region", "us-east-1".to_owned()),
            ("aws_access_key_id", "somebody".to_owned()),
            ("aws_secret_access_key", "anything".to_owned()),
            ("aws_allow_http", "true".to_owned()),
        ];
        settings.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_are_kept_in_s3_and_a_changed_object_is_noticed() -> Result<()> {
    let Some(s3) = S3::start().await? else {
        return Ok(());
    };
    // Each time without what another has in memory.
    let open = || BundleStore::open_with("s3://bundles/tocsin", &s3.settings());
    let archive = Plant::bundle(CLASS, 4)?;
    let digest = open()?.put(&archive).await?;
    assert_eq!(open()?.put(&archive).await?, digest, "storing it again changes nothing");
    assert_eq!(open()?.get(&digest).await?.archive().to_bytes(), archive.to_bytes());

    let keys = s3.keys().await?;
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(keys[0].starts_with("tocsin/"), "{keys:?}");
    // One byte in the middle, and another bundle whole.
    let mut bent = archive.to_bytes();
    let middle = bent.len() / 2;
    bent[middle] ^= 1;
    for changed in [bent, Plant::bundle(CLASS, 6)?.to_bytes(), Vec::new()] {
        s3.put(&keys[0], changed).await?;
        let refused = open()?.get(&digest).await.unwrap_err().to_string();
        assert!(
            refused.contains(&digest.to_string()) && refused.contains("damaged"),
            "{refused}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_platform_runs_on_bundles_in_s3() -> Result<()> {
    let Some(s3) = S3::start().await? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let postgres = Postgres::fresh().await?;
    let receiver = Receiver::start().await?;
    let mut sections = "[objects]\nurl = \"s3://bundles/tocsin\"\n[objects.settings]\n".to_owned();
    for (name, value) in s3.settings() {
        sections.push_str(&format!("{name} = {value:?}\n"));
    }
    let (_up, data_dir) = up_with(folder.path(), postgres.url(), &receiver, &sections).await?;

    let corpus = folder.path().join("corpus.parquet");
    let rows = Plant::corpus(&corpus, "works", 0..1_200, 1_150)?;
    let corpus = corpus.to_str().context("the path")?;
    let common = [
        "--corpus",
        corpus,
        "--class",
        CLASS,
        "--register",
        "--data-dir",
        &data_dir,
    ];
    let as_json = ["--format", "json"];
    binary::run(&[&["train"][..], &common, &as_json].concat(), &[]).await?;
    assert_eq!(s3.keys().await?.len(), 1);
    let sent = binary::run(&[&["replay"][..], &common, &as_json].concat(), &[]).await?;
    let sent: Value = serde_json::from_str(&sent)?;
    assert_eq!(sent["stored"].as_u64(), Some(rows), "{sent:#}");
    let store = postgres.store().await?;
    // The network came out of S3: its scores are there, and the machine that failed was paged.
    let (scored, degraded): (i64, i64) = sqlx::query_as(
        "select count(*) filter (where residual is not null), count(*) filter (where flags & 2 <> 0) from reading",
    )
    .fetch_one(store.pool())
    .await?;
    assert_eq!((scored, degraded), (rows as i64, 0));
    receiver.wait_until("the page", |pages| !pages.is_empty()).await?;
    assert!(
        !folder.path().join("data/objects").exists(),
        "a folder of objects was used"
    );
    store.close().await;
    Ok(())
}
