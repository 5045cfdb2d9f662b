//! An address that may hold a secret, as receivers' addresses often do.

use std::fmt;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use tocsin_domain::Invalid;

use super::is_postable;

/// Where to post. It may hold a secret, so it is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(String);

impl Address {
    /// Reads it. The text is left out of the error's reason, for it may hold a secret.
    pub(crate) fn parse(&self) -> Result<Url, Invalid> {
        let url = Url::parse(&self.0).map_err(|error| Invalid::new("url", error.to_string()))?;
        if is_postable(&url) {
            Ok(url)
        } else {
            let reason = "must start with http:// or https:// and name a host";
            Err(Invalid::new("url", reason))
        }
    }
}

impl<T: Into<String>> From<T> for Address {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_never_printed_and_must_be_one_that_can_be_posted_to() {
        let address = Address::from("http://u:hush@x/hush");
        assert!(address.parse().is_ok() && !format!("{address:?}").contains("hush"));
        for text in ["ftp://hush@x", "hush", "http://", "mailto:hush@x"] {
            let error = Address::from(text).parse().unwrap_err();
            assert!(error.field == "url" && !error.to_string().contains("hush"), "{error}");
        }
    }
}
