//! Acknowledging from where a person is: by a page's own link, and by what other receivers post back.

use std::path::Path;

use tocsin_contracts::incidents::v1;
use tocsin_domain::{IncidentId, Scope};
use tocsin_store::incident::IncidentListing;
use tocsin_store::outbox::Page as StoredPage;

use crate::hook::{Answered, Taken, What, pager_duty, slack};
use crate::link::{self, Claim, Purpose};
use crate::message::Page;
use crate::service::Service;
use crate::taking::{Taker, newest_trigger};
use crate::{Destination, Error, picture, secret, wire};

/// The receivers whose posts are understood.
const PAGER_DUTY: &str = "pagerduty";
const SLACK: &str = "slack";

impl Service {
    /// What a link leads to. Changes nothing: scanners of mail follow links.
    pub(crate) async fn look_at_link(&self, token: &str) -> Result<v1::GetAcknowledgeLinkResponse, Error> {
        let claim = self.claim(Purpose::Acknowledge, token)?;
        let listing = self.store.incident_get(&Scope::All, claim.incident).await?;
        let pages = self.store.pages_by_incident(&Scope::All, claim.incident).await?;
        let newest = newest_trigger(&pages);
        let is_newest = newest.is_some_and(|page| page.id == claim.outbox_id);
        let summary = newest.map(Page::parse).transpose()?;
        let state = listing.incident.state.clone();
        Ok(v1::GetAcknowledgeLinkResponse {
            may_acknowledge: is_newest && state.acknowledge(String::new(), self.clock.now()).is_ok(),
            summary: summary.map(|page| page.summary()).unwrap_or_default(),
            incident: Some(wire::incident(listing)),
        })
    }

    /// Takes the incident a link's page is about. The journal says by which destination's link.
    pub(crate) async fn acknowledge_by_link(&self, token: &str) -> Result<IncidentListing, Error> {
        let claim = self.claim(Purpose::Acknowledge, token)?;
        let taker = Taker {
            scope: Scope::All,
            actor: format!("acknowledge link sent to {}", claim.destination),
            answered: Answered::Page(claim.outbox_id),
        };
        self.acknowledge_as(taker, claim.incident, String::new()).await
    }

    /// The picture that a link leads to, PNG. Changes nothing.
    pub(crate) async fn look_at_picture(&self, token: &str) -> Result<Vec<u8>, Error> {
        let claim = self.claim(Purpose::Picture, token)?;
        let pages = self.store.pages_by_incident(&Scope::All, claim.incident).await?;
        let page = pages.iter().find(|delivery| delivery.page.id == claim.outbox_id);
        let page = page.map(|delivery| Page::parse(&delivery.page)).transpose()?;
        let picture = match &page {
            Some(page) => picture::of(&self.store, &page.payload).await?,
            None => None,
        };
        picture.ok_or(Error::NoPicture)
    }

    fn claim(&self, purpose: Purpose, token: &str) -> Result<Claim, Error> {
        // Without a secret no link was ever signed.
        let path = self.config.acknowledge_secret_file.as_deref();
        let secret = link::read(path.ok_or(Error::BadSignature)?).map_err(Error::Setting)?;
        Claim::parse(purpose, token, &secret, self.clock.now())
    }

    /// Heeds a receiver's post. What it says of something else, or too late, is heard and changes nothing: the receiver
    /// would send it again for nothing. Answers whether an incident was taken.
    ///
    /// # Errors
    /// [`Error::BadSignature`] when no destination's secret signed it.
    pub(crate) async fn receive_hook(&self, post: &v1::ReceiveHookRequest) -> Result<bool, Error> {
        let Some(Taken { what, by, answered }) = self.genuine(post)? else {
            return Ok(false);
        };
        let incident = match self.answered_flood(what, answered).await? {
            What::Incident(incident) => incident,
            What::Flood(flood) => return Ok(self.take_flood((Scope::All, by), answered, flood, "").await? > 0),
        };
        let taker = Taker {
            scope: Scope::All,
            actor: by,
            answered,
        };
        match self.acknowledge_as(taker, incident, String::new()).await {
            Ok(_) => Ok(true),
            Err(
                error @ (Error::Transition(_) | Error::Overtaken | Error::Store(tocsin_store::Error::NotFound { .. })),
            ) => {
                tracing::info!(incident = incident.0, reason = %error, "a receiver's acknowledgement changes nothing");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The flood, where the page that is answered is about one.
    async fn answered_flood(&self, what: What, answered: Answered) -> Result<What, Error> {
        let Answered::Page(outbox_id) = answered else {
            return Ok(what);
        };
        let flood = self.store.page_flood(outbox_id).await?;
        Ok(flood.map_or(what, What::Flood))
    }

    /// What a post says, once its signature holds.
    fn genuine(&self, post: &v1::ReceiveHookRequest) -> Result<Option<Taken>, Error> {
        let secrets = self.hook_secrets(&post.receiver)?;
        let secrets = secrets.iter().map(String::as_str);
        let is_genuine = match post.receiver.as_str() {
            PAGER_DUTY => pager_duty::is_genuine(secrets, &post.signature, &post.body),
            SLACK => slack::is_genuine(
                secrets,
                (&post.signature, &post.timestamp),
                &post.body,
                self.clock.now(),
            ),
            _ => false,
        };
        if !is_genuine {
            return Err(Error::BadSignature);
        }
        Ok(match post.receiver.as_str() {
            PAGER_DUTY => pager_duty::taken(&post.body),
            _ => slack::taken(&post.body),
        })
    }

    fn hook_secrets(&self, receiver: &str) -> Result<Vec<String>, Error> {
        let files = self
            .config
            .destinations
            .iter()
            .filter_map(|destination| match destination {
                Destination::PagerDuty(one) if receiver == PAGER_DUTY => one.webhook_secret_file.as_deref(),
                Destination::Slack(one) if receiver == SLACK => one.signing_secret_file.as_deref(),
                _ => None,
            });
        let read = |path: &Path| secret::read("webhook_secret_file", path).map_err(Error::Setting);
        files.map(read).collect()
    }
}

/// Whether what was answered is the newest page that called somebody.
pub(crate) fn is_current(answered: Answered, newest: Option<&StoredPage>) -> bool {
    match answered {
        Answered::Newest => true,
        Answered::Page(outbox_id) => newest.is_some_and(|page| page.id == outbox_id),
        Answered::DecidedBy(at) => newest.is_none_or(|page| page.created_at <= at),
    }
}

/// What is answered of an incident that was taken.
pub(crate) fn acknowledged(listing: IncidentListing) -> v1::AcknowledgeByLinkResponse {
    let incident: IncidentId = listing.incident.id;
    v1::AcknowledgeByLinkResponse {
        incident_id: incident.0,
    }
}
