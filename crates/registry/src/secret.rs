//! Bearer secrets: 256 bits from the operating system, shown once, stored as their SHA-256.
//!
//! A fast hash is enough for them: unlike a password, 256 random bits can't be guessed from their hash.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::Error;

/// What a gateway token begins with, so that people and secret scanners know it.
pub const TOKEN_PREFIX: &str = "tocsin_";
/// What a session begins with.
pub const SESSION_PREFIX: &str = "tocsin_session_";

/// A new secret. It does not print itself.
pub struct Secret(String);

impl Secret {
    /// Draws one: `prefix` and 256 random bits in URL-safe base64.
    pub fn generate(prefix: &str) -> Result<Self, Error> {
        let mut bits = [0; 32];
        getrandom::fill(&mut bits).map_err(Error::internal("drawing a secret"))?;
        Ok(Self(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bits))))
    }

    /// The secret itself, for the one answer that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn hash(&self) -> [u8; 32] {
        hash(&self.0)
    }
}

/// SHA-256 of a bearer secret as it was presented: what the store looks principals up by.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_carries_256_bits_and_is_found_by_its_text() {
        let (one, other) = (
            Secret::generate(TOKEN_PREFIX).unwrap(),
            Secret::generate(TOKEN_PREFIX).unwrap(),
        );
        let bits = one.expose().strip_prefix(TOKEN_PREFIX).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(bits).unwrap().len(), 32);
        assert_ne!(one.expose(), other.expose());
        assert_eq!(hash(one.expose()), one.hash());
    }
}
