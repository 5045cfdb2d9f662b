//! Passwords: argon2id with the parameters of the OWASP Password Storage Cheat Sheet (19 MiB, two passes).
//!
//! A check takes tens of milliseconds of a core, so it runs apart from the async threads and only a few run at once.

use std::sync::{Arc, LazyLock};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tocsin_contracts::Malformed;
use tokio::sync::Semaphore;

use crate::Error;

/// The fewest characters of a new password (NIST SP 800-63B).
const MIN_CHARS: usize = 8;
/// The most bytes of any password.
const MAX_BYTES: usize = 1024;

/// What the password of a name that doesn't exist is checked against, so that it takes as long as any other.
static NOBODY: LazyLock<String> = LazyLock::new(|| {
    let hash = Argon2::default().hash_password_with_salt(b"nobody signs in with this", b"tocsin.no.account");
    hash.expect("a fixed password and salt of legal length hash")
        .to_string()
});

/// Makes and checks password hashes, a few at a time.
#[derive(Debug, Clone)]
pub(super) struct Passwords {
    permits: Arc<Semaphore>,
}

impl Passwords {
    pub(super) fn new(concurrent: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(concurrent.max(1))),
        }
    }

    /// The argon2 string of a new password.
    pub(super) async fn hash(&self, password: String) -> Result<String, Error> {
        if password.chars().count() < MIN_CHARS {
            return Err(Malformed::new("password", format!("has fewer than {MIN_CHARS} characters")).into());
        }
        check_length(&password)?;
        let hashed = self
            .apart(move || Argon2::default().hash_password(password.as_bytes()))
            .await?;
        Ok(hashed.map_err(Error::internal("hashing a password"))?.to_string())
    }

    /// Whether `password` is the one behind `stored`; false, after the same work, when there is none.
    pub(super) async fn matches(&self, password: String, stored: Option<String>) -> Result<bool, Error> {
        check_length(&password)?;
        self.apart(move || {
            let exists = stored.is_some();
            let stored = stored.unwrap_or_else(|| NOBODY.clone());
            // A stored string that is no hash matches nothing.
            let matches = PasswordHash::new(&stored)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
            matches && exists
        })
        .await
    }

    async fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(Error::internal("waiting for a turn"))?;
        let work = move || {
            let done = work();
            drop(permit);
            done
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(Error::internal("checking a password"))
    }
}

fn check_length(password: &str) -> Result<(), Error> {
    if password.len() > MAX_BYTES {
        return Err(Malformed::new("password", format!("has more than {MAX_BYTES} bytes")).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_own_hash_alone() {
        let passwords = Passwords::new(1);
        let stored = passwords.hash("correct horse".into()).await.unwrap();
        assert!(stored.starts_with("$argon2id$"), "{stored}");
        assert!(
            passwords
                .matches("correct horse".into(), Some(stored.clone()))
                .await
                .unwrap()
        );
        assert!(!passwords.matches("wrong horse".into(), Some(stored)).await.unwrap());
        assert!(
            !passwords
                .matches("correct horse".into(), Some("garbage".into()))
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_costs_the_same_check_and_never_matches() {
        let passwords = Passwords::new(1);
        let real = passwords.hash("correct horse".into()).await.unwrap();
        let parameters = |hash: &str| hash.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parameters(&NOBODY), parameters(&real));
        assert!(
            !passwords
                .matches("nobody signs in with this".into(), None)
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn a_password_too_short_or_too_long_is_refused_by_its_field() {
        let passwords = Passwords::new(1);
        for bad in ["short".to_owned(), "x".repeat(MAX_BYTES + 1)] {
            let error = passwords.hash(bad).await.unwrap_err();
            assert!(
                matches!(error, Error::Malformed(Malformed { ref field, .. }) if field == "password"),
                "{error}"
            );
        }
    }
}
