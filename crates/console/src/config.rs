//! The console's settings.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_transport::server;
use tocsin_transport::tls::TlsConfig;
use url::Url;

/// Where to listen, and how the console is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port; port 0 lets the system choose. Beyond loopback, `tls` is required.
    pub listen: SocketAddr,
    /// TLS 1.2 and 1.3, if set.
    pub tls: Option<TlsConfig>,
    /// How browsers reach the console when a proxy stands before it, such as `https://tocsin.example.org`. Forms are taken from this
    /// origin alone; without it, from the origin of the request's own `Host`. The proxy's `X-Forwarded-For` says who signs in; let nobody
    /// else reach the console then.
    pub public_url: Option<String>,
    /// Where gateways send readings and the command line asks, as the first-run page says it, such as `https://ingest.example.org:7700`.
    /// Without it the address that this process listens on itself, if it takes readings.
    pub ingest_url: Option<String>,
    /// A machine that was not heard of for this many milliseconds is shown as "no data", however well it was before. Machines of a class
    /// with a long decision interval get at least ten of those.
    pub silent_after_ms: NonZeroU64,
    /// Open pages and live connections have this many milliseconds to end when the console stops.
    pub drain_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 7780).into(),
            tls: None,
            public_url: None,
            ingest_url: None,
            silent_after_ms: NonZeroU64::new(600_000).expect("600000 is not 0"),
            drain_ms: 5_000,
        }
    }
}

impl Config {
    pub(crate) fn silent_after(&self) -> Duration {
        Duration::from_millis(self.silent_after_ms.get())
    }

    /// The origin browsers see, if it is configured.
    pub(crate) fn origin(&self) -> Result<Option<String>, Error> {
        let Some(text) = &self.public_url else {
            return Ok(None);
        };
        let refuse = |reason: &str| Error::PublicUrl {
            url: text.clone(),
            reason: reason.to_owned(),
        };
        let url = Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("is neither http nor https"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(refuse(
                "must be an origin without a path: the console's pages start at /",
            ));
        }
        Ok(Some(url.origin().ascii_serialization()))
    }

    /// Whether browsers come over TLS, to us or to a proxy: then cookies are marked `Secure`.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some() || self.public_url.as_ref().is_some_and(|url| url.starts_with("https:"))
    }
}

/// Why the console doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `public_url` is no good.
    #[error("public_url: {url:?} {reason}")]
    PublicUrl {
        /// As configured.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server: its address, its certificate.
    #[error(transparent)]
    Server(#[from] server::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_url(url: &str) -> Config {
        Config {
            public_url: Some(url.to_owned()),
            ..Config::default()
        }
    }

    #[test]
    fn a_public_url_is_an_origin_and_says_whether_cookies_are_secure() {
        let config = with_url("https://tocsin.example.org");
        assert_eq!(
            config.origin().expect("an origin"),
            Some("https://tocsin.example.org".to_owned())
        );
        assert!(config.is_secure() && !Config::default().is_secure());
        for url in ["tocsin.example.org", "ftp://a", "https://a/console"] {
            let error = with_url(url).origin().expect_err(url).to_string();
            assert!(error.starts_with("public_url: "), "{error}");
        }
    }

    #[test]
    fn by_default_the_console_listens_on_loopback() {
        assert_eq!(Config::default().listen.to_string(), "127.0.0.1:7780");
    }
}
