//! The settings of a remote channel.

use std::num::NonZeroU64;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

use crate::tls;

/// Where the servers are, and how long to wait for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `https://host:port`, or `http://…` on loopback; a list, or just one. Several are replicas: equal servers.
    #[serde(alias = "url", deserialize_with = "one_or_several")]
    pub urls: Vec<String>,
    /// PEM file with the authorities that sign the servers; required for `https`.
    pub ca: Option<PathBuf>,
    /// The name the servers' certificate is checked for, if it isn't the URL's host.
    pub server_name: Option<String>,
    /// PEM file with this client's certificate, if the servers ask for one; with `client_key`.
    pub client_certificate: Option<PathBuf>,
    /// PEM file with its private key.
    pub client_key: Option<PathBuf>,
    /// Connecting (TCP) takes no longer, in milliseconds.
    pub connect_timeout_ms: NonZeroU64,
    /// A call's answer begins within this many milliseconds.
    pub deadline_ms: NonZeroU64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            urls: vec!["http://127.0.0.1:7700".to_owned()],
            ca: None,
            server_name: None,
            client_certificate: None,
            client_key: None,
            connect_timeout_ms: NonZeroU64::new(2_000).expect("2000 is not 0"),
            deadline_ms: NonZeroU64::new(10_000).expect("10000 is not 0"),
        }
    }
}

/// Which field of a [`Config`] is no good.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a URL we can call.
    #[error("urls[{index}]: {url:?} {reason}")]
    Url {
        /// Its place in the list, from 0.
        index: usize,
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// One channel has one URL.
    #[error("urls: one is needed here, {0} are given")]
    NotOne(usize),
    /// Replicas without any.
    #[error("urls: at least one is needed")]
    None,
    /// An `https` URL, and nobody to trust.
    #[error("ca: needed for {0:?}")]
    NeedsCa(String),
    /// A certificate without its key, or the other way round.
    #[error("client_certificate, client_key: both or neither")]
    HalfIdentity,
    /// A PEM file.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a URL or a list of URLs")]
    enum Urls {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Urls::deserialize(deserializer)? {
        Urls::One(url) => vec![url],
        Urls::Several(urls) => urls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_url_or_several_are_read_and_a_misspelt_field_is_not() {
        let urls = |text: &str| toml::from_str::<Config>(text).map(|config| config.urls);
        assert_eq!(urls("url = 'a'").expect("one"), ["a"]);
        assert_eq!(urls("urls = ['a', 'b']").expect("two"), ["a", "b"]);
        assert_eq!(urls("").expect("the default"), Config::default().urls);
        assert!(urls("uri = 'a'").is_err());
        assert!(urls("deadline_ms = 0").is_err());
    }
}
