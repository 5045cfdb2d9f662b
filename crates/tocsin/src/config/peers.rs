//! Where the roles are that run in other processes.

use std::num::NonZeroU64;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tocsin_transport::{Replicas, channel};

use crate::Role;

/// Addresses of other processes' servers by role, and how to call them. A role that runs in this process needs none:
/// it is called within the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Peers {
    /// Scorers, equal to each other.
    pub scorer: Vec<String>,
    /// Ensembles, equal to each other.
    pub ensemble: Vec<String>,
    /// The recalibrator.
    pub recalibrator: Vec<String>,
    /// The registry.
    pub registry: Vec<String>,
    /// The pager, which serves incidents.
    pub incidents: Vec<String>,
    /// The review role.
    pub review: Vec<String>,
    /// PEM file with the authorities that sign the servers; required for `https`.
    pub ca: Option<PathBuf>,
    /// The name their certificates are checked for, if it isn't the URL's host.
    pub server_name: Option<String>,
    /// PEM file with this process's certificate, if the servers ask for one; with `client_key`.
    pub client_certificate: Option<PathBuf>,
    /// PEM file with its private key.
    pub client_key: Option<PathBuf>,
    /// Connecting takes no longer, in milliseconds.
    pub connect_timeout_ms: NonZeroU64,
    /// A call's answer begins within this many milliseconds.
    pub deadline_ms: NonZeroU64,
}

impl Default for Peers {
    fn default() -> Self {
        let channel = channel::Config::default();
        Self {
            scorer: Vec::new(),
            ensemble: Vec::new(),
            recalibrator: Vec::new(),
            registry: Vec::new(),
            incidents: Vec::new(),
            review: Vec::new(),
            ca: None,
            server_name: None,
            client_certificate: None,
            client_key: None,
            connect_timeout_ms: channel.connect_timeout_ms,
            deadline_ms: channel.deadline_ms,
        }
    }
}

impl Peers {
    /// Whether an address of `role` is given.
    pub(crate) fn knows(&self, role: Role) -> bool {
        self.of(role).is_ok_and(|(_, urls)| !urls.is_empty())
    }

    /// The channels to the processes of `role`, on behalf of `caller`.
    ///
    /// # Errors
    /// If none is given, or one is no good.
    pub(crate) fn remote(&self, caller: Role, role: Role) -> Result<Replicas> {
        let (key, urls) = self.of(role)?;
        if urls.is_empty() {
            bail!("peers.{key}: {caller} calls {role}, which isn't in this process: name its address, or add the role");
        }
        let config = channel::Config {
            urls: urls.to_vec(),
            ca: self.ca.clone(),
            server_name: self.server_name.clone(),
            client_certificate: self.client_certificate.clone(),
            client_key: self.client_key.clone(),
            connect_timeout_ms: self.connect_timeout_ms,
            deadline_ms: self.deadline_ms,
        };
        Replicas::remote(&config).with_context(|| format!("peers.{key}"))
    }

    fn of(&self, role: Role) -> Result<(&'static str, &[String])> {
        Ok(match role {
            Role::Scorer => ("scorer", &self.scorer),
            Role::Ensemble => ("ensemble", &self.ensemble),
            Role::Recalibrator => ("recalibrator", &self.recalibrator),
            Role::Registry => ("registry", &self.registry),
            Role::Pager => ("incidents", &self.incidents),
            Role::Review => ("review", &self.review),
            Role::Ingest | Role::Console => bail!("no role calls {role}"),
            #[cfg(feature = "trainer")]
            Role::Trainer => bail!("no role calls {role}"),
        })
    }
}
