//! A destination, ready to be told of pages.

use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use tocsin_domain::Clock;
use tocsin_store::Store;
use tocsin_store::outbox::{LeasedDelivery, Page as Stored};

use crate::attempt::{Attempt, Outcome};
use crate::destination::{Alertmanager, Destination};
use crate::link::{Links, Purpose};
use crate::message::Page;
use crate::{BuildError, Config, Error};

/// What all targets share.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) client: Client,
    pub(crate) console_url: Option<String>,
    pub(crate) links: Option<Links>,
    pub(crate) request_timeout: Duration,
}

impl Sender {
    pub(crate) fn new(config: &Config, store: Store, clock: Clock) -> Result<Self, BuildError> {
        let client = Client::builder()
            .timeout(config.request_timeout())
            // A page goes where it was configured to go, its token with it.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("tocsin/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(BuildError::Client)?;
        Ok(Self {
            store,
            clock,
            client,
            console_url: config.console_url.clone(),
            links: Links::of(config),
            request_timeout: config.request_timeout(),
        })
    }

    /// Reads a page out of the outbox, with the links for whoever gets it at a destination.
    pub(crate) fn page(&self, stored: &Stored, destination: &str) -> Result<Page, Error> {
        let mut page = Page::parse(stored)?;
        // A flood is many incidents, and a link takes one: floods are taken in the console.
        if let Some(links) = self.links.as_ref().filter(|_| page.payload.flood.is_none()) {
            let now = self.clock.now();
            let url = |purpose| links.url(purpose, &page, destination, now).map_err(Error::Setting);
            let acknowledge = url(Purpose::Acknowledge)?;
            let picture = if page.has_picture() {
                url(Purpose::Picture)?
            } else {
                None
            };
            (page.acknowledge_url, page.picture_url) = (acknowledge, picture);
        }
        Ok(page)
    }

    pub(crate) async fn post(&self, request: RequestBuilder) -> Attempt {
        Attempt::of(request.send().await, self.clock.now()).await
    }
}

/// A destination, ready to be told of pages.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) name: String,
    destination: Destination,
}

impl Target {
    pub(crate) fn new(destination: &Destination) -> Result<Self, BuildError> {
        destination.check_secrets()?;
        Ok(Self {
            name: destination.name().to_owned(),
            destination: destination.clone(),
        })
    }

    /// The destination when it is told of levels, again and again, and not of edges.
    pub(crate) fn levels(&self) -> Option<&Alertmanager> {
        match &self.destination {
            Destination::Alertmanager(alertmanager) => Some(alertmanager),
            _ => None,
        }
    }

    /// Sends a leased page and reads what comes back.
    pub(crate) async fn deliver(&self, sender: &Sender, leased: &LeasedDelivery) -> Attempt {
        match self.send(sender, leased).await {
            Ok(Some(attempt)) => attempt,
            Ok(None) => Attempt {
                outcome: Outcome::Delivered,
                answer: "nothing to send: the receiver knows no such action".to_owned(),
            },
            // Nothing was sent. A page that can't be read won't become readable; the database and the token may come back.
            Err(error) => {
                let permanent = matches!(error, Error::UnreadablePage { .. });
                Attempt {
                    outcome: Outcome::Refused { permanent, wait: None },
                    answer: format!("not sent: {error}"),
                }
            }
        }
    }

    async fn send(&self, sender: &Sender, leased: &LeasedDelivery) -> Result<Option<Attempt>, Error> {
        let page = Page {
            resent_after: leased.attempt - leased.attempt_since_resend,
            remaining: leased.remaining.clone(),
            ..sender.page(&leased.page, &self.name)?
        };
        let request = match &self.destination {
            Destination::Webhook(webhook) => webhook.request(sender, &page)?,
            Destination::PagerDuty(pager_duty) => return pager_duty.send(sender, &page).await.map(Some),
            // Slack fetches the picture, and refuses a message whose picture it can't get: what is repeated goes without.
            Destination::Slack(slack) if leased.attempt_since_resend > 1 => {
                let plain = Page {
                    picture_url: None,
                    ..page
                };
                slack.request(sender, &plain)?
            }
            Destination::Slack(slack) => slack.request(sender, &page)?,
            Destination::Email(email) => return email.send(sender, &page).await.map(Some),
            Destination::Alertmanager(alertmanager) => match alertmanager.request(sender, leased).await? {
                Some(request) => request,
                None => return Ok(None),
            },
        };
        Ok(Some(sender.post(request).await))
    }
}
