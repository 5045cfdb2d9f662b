//! What is done with one bundle, be it a file here or in the registry.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde_json::json;
use tocsin_contracts::registry::v1::DownloadBundleRequest;
use tocsin_contracts::registry::v1::registry_service_client::RegistryServiceClient;
#[cfg(feature = "trainer")]
use tocsin_models::Bundle;
use tocsin_models::archive::REPORT_FILE;
use tocsin_models::{ArchiveLimits, BundleArchive};

#[cfg(feature = "trainer")]
use super::latent_space;
use crate::client::explain;
use crate::command::Ask;

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Save the report of the training that a bundle came of
    Report {
        /// The bundle: its folder or archive, or its number or digest in the registry
        bundle: String,
        /// HTML file to write it to; it needs nothing else
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Decode draws from a bundle's latent space into spectra
    #[cfg(feature = "trainer")]
    Sample(latent_space::Sample),
    /// Decode the path between two readings in a bundle's latent space into spectra
    #[cfg(feature = "trainer")]
    Interpolate(latent_space::Interpolate),
}

impl What {
    pub(super) async fn run(self, ask: &Ask) -> Result<()> {
        match self {
            Self::Report { bundle, out } => report(ask, &bundle, &out).await,
            #[cfg(feature = "trainer")]
            Self::Sample(sample) => sample.run(ask).await,
            #[cfg(feature = "trainer")]
            Self::Interpolate(interpolate) => interpolate.run(ask).await,
        }
    }
}

async fn report(ask: &Ask, bundle: &str, out: &Path) -> Result<()> {
    let report = match here(bundle)? {
        Some(archive) => match archive.named(REPORT_FILE) {
            Some(report) => report.to_vec(),
            None => bail!("{bundle}: the bundle holds no {REPORT_FILE}"),
        },
        None => download(ask, bundle, REPORT_FILE).await?,
    };
    std::fs::write(out, &report).with_context(|| format!("--out {}", out.display()))?;
    let told = json!({ "file": out.display().to_string(), "bytes": report.len() });
    ask.output.item("report", told)
}

/// The bundle of a path, a number or a digest, read and checked.
#[cfg(feature = "trainer")]
pub(super) async fn open(ask: &Ask, bundle: &str) -> Result<Bundle> {
    let archive = match here(bundle)? {
        Some(archive) => archive,
        None => unpack(bundle, &download(ask, bundle, "").await?)?,
    };
    Bundle::from_archive(archive).with_context(|| format!("reading the bundle {bundle}"))
}

/// The archive of a folder or file; nothing where there is none of that name.
fn here(bundle: &str) -> Result<Option<BundleArchive>> {
    let path = Path::new(bundle);
    if path.is_dir() {
        let archive = BundleArchive::from_dir(path).with_context(|| format!("reading the bundle {bundle}"))?;
        return Ok(Some(archive));
    }
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = std::fs::read(path).with_context(|| format!("reading the bundle {bundle}"))?;
    unpack(bundle, &bytes).map(Some)
}

fn unpack(bundle: &str, bytes: &[u8]) -> Result<BundleArchive> {
    BundleArchive::from_bytes(bytes, ArchiveLimits::default()).with_context(|| format!("reading the bundle {bundle}"))
}

/// A file of a bundle in the registry, or its whole archive.
async fn download(ask: &Ask, bundle: &str, file: &str) -> Result<Vec<u8>> {
    let failed = |status: tonic::Status| explain("downloading the bundle (no file has that name here)", &status);
    let mut client = RegistryServiceClient::new(ask.target.channel()?);
    let request = DownloadBundleRequest {
        bundle: bundle.to_owned(),
        file: file.to_owned(),
    };
    let mut pieces = client.download_bundle(request).await.map_err(failed)?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await.map_err(failed)? {
        bytes.extend(piece.bytes);
    }
    Ok(bytes)
}
