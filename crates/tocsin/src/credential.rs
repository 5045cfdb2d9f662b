//! The service credential: one secret per deployment, by which Tocsin's own roles know each other.
//!
//! It opens every RPC, so it lives in a file that its owner alone reads, or comes in the environment.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tocsin_transport::auth::Token;

/// The shortest service credential taken, in characters: 128 bits in base64.
const SHORTEST: usize = 22;

/// The deployment's own secret.
#[derive(Clone)]
pub struct ServiceCredential {
    token: Token,
    hash: [u8; 32],
}

impl ServiceCredential {
    /// Takes a secret as it is.
    ///
    /// # Errors
    /// If it is too short, or not a bearer token.
    pub fn parse(secret: &str) -> Result<Self> {
        let secret = secret.trim();
        if secret.len() < SHORTEST {
            bail!("a service credential has at least {SHORTEST} characters; make one with `openssl rand -hex 32`");
        }
        let token = Token::parse(secret).context("the service credential")?;
        let hash = hash(&token);
        Ok(Self { token, hash })
    }

    /// Draws 256 random bits.
    ///
    /// # Errors
    /// If the system has none to give.
    pub fn generate() -> Result<Self> {
        Self::parse(&random_secret("tocsin_service_")?)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// If it can't be read, or holds no credential.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("reading the service credential {}", path.display()))?;
        if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0) {
            tracing::warn!(path = %path.display(), "every user of this machine can read the service credential; chmod 600 it");
        }
        Self::parse(&text).with_context(|| format!("the file {}", path.display()))
    }

    /// Reads the file, or makes it with a new credential when it isn't there.
    ///
    /// # Errors
    /// If it can't be read or written.
    pub fn read_or_create(path: &Path) -> Result<Self> {
        if path.exists() {
            return Self::read(path);
        }
        let credential = Self::generate()?;
        match write_secret(path, credential.token.expose()) {
            Ok(()) => Ok(credential),
            // Somebody else was faster; theirs counts.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::read(path),
            Err(error) => Err(error).with_context(|| format!("writing {}", path.display())),
        }
    }

    /// What a role shows.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Whether `token` is this credential. Digests are compared, in constant time: how long it takes says nothing.
    pub fn matches(&self, token: &Token) -> bool {
        self.hash.ct_eq(&hash(token)).into()
    }
}

impl fmt::Debug for ServiceCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceCredential(…)")
    }
}

/// SHA-256 of a bearer secret: what the store knows it by.
pub(crate) fn hash(token: &Token) -> [u8; 32] {
    Sha256::digest(token.expose().as_bytes()).into()
}

/// `prefix` and 256 random bits in URL-safe base64.
pub(crate) fn random_secret(prefix: &str) -> Result<String> {
    let mut bits = [0; 32];
    getrandom::fill(&mut bits).context("drawing a secret")?;
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bits)))
}

/// Writes a new file that its owner alone reads; one that is there already is an error.
pub(crate) fn write_secret(path: &Path, secret: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_made_once_and_its_owner_alone_reads_it() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("service.credential");
        let made = ServiceCredential::read_or_create(&path).expect("made");
        let read = ServiceCredential::read_or_create(&path).expect("read");
        assert!(made.matches(read.token()));
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{made:?}").contains(made.token().expose()));
    }

    #[test]
    fn another_or_a_short_secret_does_not_pass() {
        let ours = ServiceCredential::generate().expect("random bits");
        let other = ServiceCredential::generate().expect("random bits");
        assert!(!ours.matches(other.token()));
        assert!(ServiceCredential::parse("hunter2").is_err());
        assert!(ServiceCredential::parse("twenty-two characters, with spaces").is_err());
    }
}
