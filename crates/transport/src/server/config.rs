//! The server's settings.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU64, NonZeroUsize};

use serde::{Deserialize, Serialize};

use crate::auth;
use crate::tls::TlsConfig;

/// Where to listen, and how much to bear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port; port 0 lets the system choose. Beyond loopback, `tls` is required.
    pub listen: SocketAddr,
    /// TLS 1.2 and 1.3, if set.
    pub tls: Option<TlsConfig>,
    /// How long a verified credential is trusted.
    pub auth: auth::Config,
    /// Connections at a time; one more is closed at once.
    pub max_connections: NonZeroUsize,
    /// Requests at a time; one more is answered `RESOURCE_EXHAUSTED` (HTTP 429) at once. A request counts until its answer begins, so a
    /// stream counts while it is being opened.
    pub max_concurrent_requests: NonZeroUsize,
    /// When a refused caller may come back, in milliseconds.
    pub retry_after_ms: u64,
    /// The largest gRPC message or HTTP body, in bytes.
    pub max_message_bytes: NonZeroUsize,
    /// An answer must begin within this many milliseconds, or sooner if the caller says so by `grpc-timeout`; an open stream may go on.
    pub request_deadline_ms: NonZeroU64,
    /// What runs when the server is told to stop may go on for this many milliseconds.
    pub drain_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 7700).into(),
            tls: None,
            auth: auth::Config::default(),
            max_connections: count(1_024),
            max_concurrent_requests: count(512),
            retry_after_ms: 250,
            max_message_bytes: count(16 << 20),
            request_deadline_ms: NonZeroU64::new(30_000).expect("30000 is not 0"),
            drain_ms: 20_000,
        }
    }
}

fn count(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).expect("the defaults are not 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default_and_listens_on_loopback() {
        let config: Config = toml::from_str("").expect("every field has a default");
        assert_eq!(config, Config::default());
        assert_eq!(config.listen.to_string(), "127.0.0.1:7700");
    }

    #[test]
    fn a_misspelt_field_and_a_zero_limit_are_refused() {
        for text in [
            "lisen = '127.0.0.1:1'",
            "max_connections = 0",
            "[tls]\ncertificate = 'a'",
            "[auth]\nttl = 1",
        ] {
            assert!(toml::from_str::<Config>(text).is_err(), "{text}");
        }
    }
}
