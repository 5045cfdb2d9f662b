//! Links that need no sign-in: one that acknowledges, and one to a page's picture. Each names a page and a destination, runs
//! out, and carries a signature made with the pager's own secret.
//!
//! **Invariant:** a link to a picture takes nothing. One that acknowledges takes its incident at most once: only while the
//! page it came with is the newest that called somebody, and nobody has taken the incident since.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tocsin_domain::{IncidentId, Invalid, PageAction, Timestamp};

use crate::message::Page;
use crate::{Config, Error, secret};

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Its incident is taken.
    Acknowledge,
    /// Its page's picture is looked at.
    Picture,
}

impl Purpose {
    /// What a signature is made over begins with: what is signed for one purpose is good for no other.
    fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "tocsin-acknowledge-1",
            Self::Picture => "tocsin-picture-1",
        }
    }

    /// How long a link is good, from when its page is sent.
    fn good_for(self) -> Duration {
        match self {
            Self::Acknowledge => Duration::from_hours(12),
            // As long as readings are looked at: a receiver asks for the picture whenever somebody opens its incident.
            Self::Picture => Duration::from_hours(7 * 24),
        }
    }

    /// Where the console answers to it.
    fn path(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Picture => "pictures",
        }
    }
}

/// Where links lead, and the secret that signs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Links {
    console_url: String,
    secret_file: PathBuf,
}

/// What a link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The page's incident.
    pub(crate) incident: IncidentId,
    /// The page's place in the outbox.
    pub(crate) outbox_id: i64,
    /// Whom it was sent to.
    pub(crate) destination: String,
    /// In seconds since the epoch.
    pub(crate) expires_s: i64,
}

impl Links {
    /// Links, where both an address and a secret are configured.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        Some(Self {
            console_url: config.console_url.clone()?,
            secret_file: config.acknowledge_secret_file.clone()?,
        })
    }

    /// The link for a purpose that goes with a page to a destination: with what calls somebody, and with nothing else.
    pub(crate) fn url(
        &self,
        purpose: Purpose,
        page: &Page,
        destination: &str,
        now: Timestamp,
    ) -> Result<Option<String>, Invalid> {
        if page.action != PageAction::Trigger {
            return Ok(None);
        }
        let claim = Claim {
            incident: page.payload.incident_id,
            outbox_id: page.outbox_id,
            destination: destination.to_owned(),
            expires_s: seconds(now + purpose.good_for()),
        };
        let token = claim.token(purpose, &read(&self.secret_file)?);
        let base = self.console_url.trim_end_matches('/');
        Ok(Some(format!("{base}/{}/{token}", purpose.path())))
    }
}

impl Claim {
    fn text(&self) -> String {
        let Self {
            incident,
            outbox_id,
            destination,
            expires_s,
        } = self;
        format!("{incident}.{outbox_id}.{expires_s}.{destination}")
    }

    fn token(&self, purpose: Purpose, secret: &str) -> String {
        let text = self.text();
        let signature = hex::encode(mac(purpose, secret, &text).finalize().into_bytes());
        format!("{text}.{signature}")
    }

    /// Reads a token that `secret` signed for a purpose.
    ///
    /// # Errors
    /// [`Error::BadSignature`] for whatever else; [`Error::LinkExpired`] for one that has run out.
    pub(crate) fn parse(purpose: Purpose, token: &str, secret: &str, now: Timestamp) -> Result<Self, Error> {
        let (text, signature) = token.rsplit_once('.').ok_or(Error::BadSignature)?;
        let signature = hex::decode(signature).map_err(|_| Error::BadSignature)?;
        let signed = mac(purpose, secret, text).verify_slice(&signature);
        signed.map_err(|_| Error::BadSignature)?;
        let claim = Self::signed(text).ok_or(Error::BadSignature)?;
        if seconds(now) >= claim.expires_s {
            return Err(Error::LinkExpired);
        }
        Ok(claim)
    }

    fn signed(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, '.');
        Some(Self {
            incident: IncidentId(parts.next()?.parse().ok()?),
            outbox_id: parts.next()?.parse().ok()?,
            expires_s: parts.next()?.parse().ok()?,
            destination: parts.next()?.to_owned(),
        })
    }
}

/// Reads the secret that signs links.
pub(crate) fn read(path: &Path) -> Result<String, Invalid> {
    secret::read("acknowledge_secret_file", path)
        .map_err(|invalid| Invalid::new("pager.acknowledge_secret_file", invalid.reason))
}

fn seconds(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(1_000_000)
}

fn mac(purpose: Purpose, secret: &str, text: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length will do");
    mac.update(format!("{}\n{text}", purpose.as_str()).as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::page;
    use proptest::prelude::*;
    use tocsin_domain::Severity;
    use tocsin_judge::PageReason;

    const ACKNOWLEDGE: Purpose = Purpose::Acknowledge;

    fn claim() -> Claim {
        Claim {
            incident: IncidentId(7),
            outbox_id: 12,
            destination: "duty-mail".to_owned(),
            expires_s: 1_000,
        }
    }

    #[test]
    fn a_link_is_good_until_it_runs_out_and_with_its_own_secret_alone() {
        let token = claim().token(ACKNOWLEDGE, "hush");
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        assert_eq!(Claim::parse(ACKNOWLEDGE, &token, "hush", at(999)).unwrap(), claim());
        assert!(matches!(
            Claim::parse(ACKNOWLEDGE, &token, "hush", at(1_000)),
            Err(Error::LinkExpired)
        ));
        assert!(matches!(
            Claim::parse(ACKNOWLEDGE, &token, "hash", at(0)),
            Err(Error::BadSignature)
        ));
        let picture = claim().token(Purpose::Picture, "hush");
        assert_eq!(
            Claim::parse(Purpose::Picture, &picture, "hush", at(0)).unwrap(),
            claim()
        );
        let other = Claim::parse(ACKNOWLEDGE, &picture, "hush", at(0));
        assert!(
            matches!(other, Err(Error::BadSignature)),
            "whoever sees a picture takes nothing"
        );
    }

    #[test]
    fn only_what_calls_somebody_has_a_link_and_it_is_good_for_twelve_hours() {
        let folder = tempfile::tempdir().unwrap();
        let secret_file = folder.path().join("secret");
        std::fs::write(&secret_file, "hush\n").unwrap();
        let links = Links {
            console_url: "https://t.example.org/".to_owned(),
            secret_file,
        };
        let now = Timestamp::from_micros(0);
        let of = |reason| {
            links
                .url(ACKNOWLEDGE, &page(reason, Severity::Page), "mail", now)
                .unwrap()
        };
        let url = of(PageReason::Opened).unwrap();
        let token = url.strip_prefix("https://t.example.org/acknowledge/").unwrap();
        let claim = Claim::parse(ACKNOWLEDGE, token, "hush", now).unwrap();
        assert_eq!((claim.expires_s, claim.destination.as_str()), (43_200, "mail"));
        assert_eq!(of(PageReason::Acknowledged), None);
        assert_eq!(of(PageReason::Cleared), None);
    }

    proptest! {
        #[test]
        fn no_other_text_is_taken_for_a_link(at in 0_usize..90, with in "[0-9a-f.x]") {
            let token = claim().token(ACKNOWLEDGE, "hush");
            let at = at.min(token.len() - 1);
            let mut changed = token.clone();
            changed.replace_range(at..=at, &with);
            let now = Timestamp::from_micros(0);
            prop_assume!(changed != token);
            prop_assert!(matches!(Claim::parse(ACKNOWLEDGE, &changed, "hush", now), Err(Error::BadSignature)));
        }
    }
}
