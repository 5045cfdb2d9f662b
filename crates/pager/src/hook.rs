//! What receivers post back: that somebody took an incident there. Whoever posts has no credential; the signature of the
//! body is one, made with a secret that the receiver shares with one destination.

pub(crate) mod pager_duty;
pub(crate) mod slack;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tocsin_domain::{FloodId, IncidentId, Timestamp};

/// What a signed post asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// What was taken.
    pub(crate) what: What,
    /// Who took it, for the journal.
    pub(crate) by: String,
    /// Which of its pages they answered.
    pub(crate) answered: Answered,
}

/// What can be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// An incident; or the flood that the page is about which is answered.
    Incident(IncidentId),
    /// A flood: every incident of it that is nobody's.
    Flood(FloodId),
}

/// Which page an acknowledgement answers: one that a newer has overtaken takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Whatever was said last: of a person who sees the incident as it is.
    Newest,
    /// This one, by its place in the outbox.
    Page(i64),
    /// What had been decided by then.
    DecidedBy(Timestamp),
}

/// Whether `signature` (hexadecimal) is the HMAC-SHA256 of the parts, one after the other; compared in constant time.
fn is_signed(secret: &str, parts: &[&[u8]], signature: &str) -> bool {
    let Ok(signature) = hex::decode(signature) else {
        return false;
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length will do");
    for part in parts {
        mac.update(part);
    }
    mac.verify_slice(&signature).is_ok()
}

/// A signature as a receiver would make it.
#[cfg(test)]
fn sign(secret: &str, parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    for part in parts {
        mac.update(part);
    }
    hex::encode(mac.finalize().into_bytes())
}
