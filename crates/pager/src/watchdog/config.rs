//! What the watchdog is told: its canaries, how often they sing, and whom to tell that they did.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_domain::fleet::SensorPath;
use tocsin_domain::{Invalid, Slug};

use crate::destination::Address;

/// Settings of the watch over Tocsin itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// One per site. With none, nobody watches.
    pub canaries: Vec<Canary>,
    /// How often each of them publishes a reading, in milliseconds. A heartbeat stops within two of these.
    pub period_ms: u64,
    /// An address that is fetched (GET) after each round in which the readings of all canaries went the whole way; whoever
    /// is behind it raises the alarm when that stops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_url: Option<Address>,
}

/// A sensor that exists only to be heard of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// Its site.
    pub site: String,
    /// `machine/sensor`: a sensor of the class `tocsin-canary`.
    #[serde(default = "default_sensor")]
    pub sensor: String,
    /// Base address of the ingest it publishes to, such as `http://127.0.0.1:7700`.
    pub ingest_url: Address,
    /// File with its token: one of a gateway of the site.
    pub token_file: PathBuf,
    /// PEM file with the authority that signs ingest's certificate; without it, those the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

fn default_sensor() -> String {
    "canary/heartbeat".to_owned()
}

impl Default for Config {
    fn default() -> Self {
        Self {
            canaries: Vec::new(),
            period_ms: 60_000,
            heartbeat_url: None,
        }
    }
}

impl Config {
    /// Whether anybody watches.
    pub(crate) fn is_on(&self) -> bool {
        !self.canaries.is_empty()
    }

    pub(crate) fn period(&self) -> Duration {
        Duration::from_millis(self.period_ms)
    }

    /// Checks the settings; the error names the field within the section.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if self.period_ms == 0 {
            return Err(Invalid::new("period_ms", "must be at least 1"));
        }
        if let Some(url) = &self.heartbeat_url {
            url.parse()
                .map_err(|invalid| Invalid::new("heartbeat_url", invalid.reason))?;
        }
        let mut sites = BTreeSet::new();
        for (index, canary) in self.canaries.iter().enumerate() {
            let within = |field: &str, reason: String| Invalid::new(format!("canaries[{index}].{field}"), reason);
            Slug::parse("site", &canary.site).map_err(|invalid| within("site", invalid.reason))?;
            SensorPath::parse(&canary.sensor).map_err(|invalid| within("sensor", invalid.reason))?;
            canary
                .ingest_url
                .parse()
                .map_err(|invalid| within("ingest_url", invalid.reason))?;
            if !sites.insert(&canary.site) {
                return Err(within("site", format!("{:?} is there twice", canary.site)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(site: &str) -> Canary {
        Canary {
            site: site.to_owned(),
            sensor: default_sensor(),
            ingest_url: "http://127.0.0.1:7700".into(),
            token_file: "/t".into(),
            ca_file: None,
        }
    }

    #[test]
    fn what_is_no_good_names_its_field() {
        let field = |config: Config| config.check().unwrap_err().field;
        let with = |canaries| Config {
            canaries,
            ..Config::default()
        };
        assert!(with(vec![canary("lisbon"), canary("porto")]).check().is_ok());
        assert_eq!(
            field(with(vec![canary("lisbon"), canary("lisbon")])),
            "canaries[1].site"
        );
        assert_eq!(field(with(vec![canary("L")])), "canaries[0].site");
        let nameless = Canary {
            sensor: "canary".to_owned(),
            ..canary("lisbon")
        };
        assert_eq!(field(with(vec![nameless])), "canaries[0].sensor");
        let nowhere = Canary {
            ingest_url: "ftp://x".into(),
            ..canary("lisbon")
        };
        assert_eq!(field(with(vec![nowhere])), "canaries[0].ingest_url");
        let idle = Config {
            period_ms: 0,
            ..Config::default()
        };
        assert_eq!(field(idle), "period_ms");
        let deaf = Config {
            heartbeat_url: Some("hush".into()),
            ..Config::default()
        };
        assert!(!deaf.check().unwrap_err().to_string().contains("hush"));
    }
}
