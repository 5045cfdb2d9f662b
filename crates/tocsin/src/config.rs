//! The configuration: the sum of the components' own, read from one TOML file and overridden by the environment.
//!
//! Every field has a default that runs on this machine alone. An unknown key is an error that names it: a misspelt limit
//! that is silently ignored is worse than a process that doesn't start.
//!
//! | variable | in place of |
//! |---|---|
//! | `TOCSIN_DATABASE_URL` | `database.url` |
//! | `TOCSIN_OBJECTS_URL` | `objects.url` |
//! | `TOCSIN_SERVICE_CREDENTIAL` | the content of `access.service_credential_file` |
//! | `TOCSIN_SERVICE_CREDENTIAL_FILE` | `access.service_credential_file` |
//! | `TOCSIN_LOG` | `telemetry.log` |
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | `telemetry.otlp_endpoint` |
//!
//! S3 credentials come from the `AWS_*` variables, as everywhere.

mod peers;
mod redact;

pub use peers::Peers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::credential::ServiceCredential;
use crate::telemetry;

/// Everything that can be set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The one address all roles but the console are served on.
    pub server: tocsin_transport::server::Config,
    /// Postgres.
    pub database: tocsin_store::Config,
    /// Where bundles and the archive are kept.
    pub objects: Objects,
    /// Old days of readings in object storage.
    pub archive: tocsin_archive::Config,
    /// Who may.
    pub access: Access,
    /// Roles that run in other processes.
    pub peers: Peers,
    /// Logs, traces and metrics.
    pub telemetry: telemetry::Config,
    /// The role `ingest`.
    pub ingest: tocsin_ingest::Config,
    /// The role `scorer`.
    pub scorer: tocsin_scorer::Config,
    /// The role `ensemble`.
    pub ensemble: tocsin_ensemble::Config,
    /// The role `recalibrator`.
    pub recalibrator: tocsin_recalibrator::Config,
    /// The role `registry`.
    pub registry: tocsin_registry::Config,
    /// The role `pager`.
    pub pager: tocsin_pager::Config,
    /// The role `review`.
    pub review: tocsin_review::Config,
    /// The role `console`.
    pub console: tocsin_console::Config,
    /// The role `trainer`.
    #[cfg(feature = "trainer")]
    pub trainer: tocsin_trainer::Config,
}

/// Object storage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Objects {
    /// A folder, `s3://bucket/prefix`, or `memory://` for tests.
    pub url: String,
    /// Settings of the S3 client, such as `aws_endpoint` and `aws_region`; those not given come from `AWS_*` variables.
    pub settings: BTreeMap<String, String>,
}

/// Who may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// File with the secret by which Tocsin's own roles know each other; the same for every process.
    pub service_credential_file: Option<PathBuf>,
}

impl Config {
    /// Reads `file`, or takes the defaults when there is none, and puts the environment's overrides on top.
    ///
    /// # Errors
    /// If the file can't be read, or holds a key or a value that is no good; the place is named.
    pub fn load(file: Option<&Path>, environment: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let mut config = match file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("reading the configuration {}", path.display()))?;
                Self::parse(&text).with_context(|| format!("in {}", path.display()))?
            }
            None => Self::default(),
        };
        config.take(environment);
        Ok(config)
    }

    /// Reads a TOML document.
    ///
    /// # Errors
    /// With line, column and key of what is no good.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            let before = &text[..error.span().map_or(0, |span| span.start)];
            let line = before.matches('\n').count() + 1;
            let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
            anyhow!("line {line}, column {column}: {}", error.message())
        })
    }

    fn take(&mut self, environment: impl Fn(&str) -> Option<String>) {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        if let Some(url) = set("TOCSIN_DATABASE_URL") {
            self.database.url = url;
        }
        if let Some(url) = set("TOCSIN_OBJECTS_URL") {
            self.objects.url = url;
        }
        if let Some(path) = set("TOCSIN_SERVICE_CREDENTIAL_FILE") {
            self.access.service_credential_file = Some(path.into());
        }
        if let Some(log) = set("TOCSIN_LOG") {
            self.telemetry.log = log;
        }
        if let Some(endpoint) = set("OTEL_EXPORTER_OTLP_ENDPOINT") {
            self.telemetry.otlp_endpoint = Some(endpoint);
        }
    }

    /// The service credential: of the environment, or of the file.
    ///
    /// # Errors
    /// If there is none, or it is no good.
    pub fn service_credential(&self, environment: impl Fn(&str) -> Option<String>) -> Result<ServiceCredential> {
        if let Some(secret) = environment("TOCSIN_SERVICE_CREDENTIAL").filter(|secret| !secret.is_empty()) {
            return ServiceCredential::parse(&secret).context("the variable TOCSIN_SERVICE_CREDENTIAL");
        }
        match &self.access.service_credential_file {
            Some(path) => ServiceCredential::read(path),
            None => bail!(
                "access.service_credential_file: not set, and neither is TOCSIN_SERVICE_CREDENTIAL: make a file with \
                 `openssl rand -hex 32`, give it to every process of the deployment, and chmod it 600"
            ),
        }
    }

    /// The whole configuration as TOML, secrets left out.
    ///
    /// # Errors
    /// If it can't be written as TOML.
    pub fn dump(&self) -> Result<String> {
        let mut document = toml::Table::try_from(self).context("writing the configuration")?;
        redact::redact(&mut document);
        toml::to_string_pretty(&document).context("writing the configuration")
    }
}

#[cfg(test)]
mod tests;
