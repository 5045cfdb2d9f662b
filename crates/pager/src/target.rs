//! A destination, ready to be posted to.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, RequestBuilder, Url};
use serde::Serialize;
use tocsin_domain::{Clock, Invalid, Scope};
use tocsin_judge::PageAction;
use tocsin_store::Store;
use tocsin_store::outbox::{LeasedDelivery, PageAction as StoredAction};

use crate::attempt::{Attempt, Outcome};
use crate::config::Destination;
use crate::message::{Alert, Page, WebhookBody, alerts_of, still_firing};
use crate::{BuildError, Config, Error};

/// How many resend intervals an open alert's end lies ahead: two may be missed before Alertmanager takes it for over.
const INTERVALS_AHEAD: u32 = 3;

/// The header under which a receiver can tell a repeat.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What all targets share.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    client: Client,
    console_url: Option<String>,
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
        })
    }
}

/// A destination, ready to be posted to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) name: String,
    url: Url,
    authorization: Option<HeaderValue>,
    /// For level-triggered ones: how often open incidents are posted again.
    pub(crate) resend: Option<Duration>,
}

impl Target {
    pub(crate) fn new(destination: &Destination) -> Result<Self, BuildError> {
        let resend = match destination {
            Destination::Webhook { .. } => None,
            Destination::Alertmanager { resend_interval_ms, .. } => Some(Duration::from_millis(*resend_interval_ms)),
        };
        Ok(Self {
            name: destination.name().to_owned(),
            url: destination.endpoint()?,
            authorization: destination
                .token_file()
                .map(|_| authorization(destination))
                .transpose()?,
            resend,
        })
    }

    /// Sends a leased page and reads what comes back.
    pub(crate) async fn deliver(&self, sender: &Sender, leased: &LeasedDelivery) -> Attempt {
        match self.request(sender, leased).await {
            Ok(Some(request)) => Attempt::of(request.send().await, sender.clock.now()).await,
            Ok(None) => Attempt {
                outcome: Outcome::Delivered,
                answer: "nothing to send: the receiver knows no such action".to_owned(),
            },
            // Nothing was sent. A page that can't be read won't become readable; the database may come back.
            Err(error) => {
                let permanent = matches!(error, Error::UnreadablePage { .. });
                Attempt {
                    outcome: Outcome::Refused { permanent, wait: None },
                    answer: format!("not sent: {error}"),
                }
            }
        }
    }

    async fn request(&self, sender: &Sender, leased: &LeasedDelivery) -> Result<Option<RequestBuilder>, Error> {
        let page = parse(&leased.page)?;
        let console_url = sender.console_url.as_deref();
        let Some(resend) = self.resend else {
            let request = self.post(sender, &WebhookBody::new(&page, console_url));
            let key = format!("{}:{}", page.key, page.action.as_str());
            return Ok(Some(request.header(IDEMPOTENCY_KEY, key)));
        };
        let history = sender
            .store
            .pages_by_incident(&Scope::All, leased.page.incident)
            .await?;
        let mut triggers: Vec<&tocsin_store::outbox::Page> = history
            .iter()
            .map(|delivery| &delivery.page)
            .filter(|other| other.action == StoredAction::Trigger && other.id <= leased.page.id)
            .collect();
        triggers.dedup_by_key(|page| page.id); // one entry per destination
        let triggers = triggers.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let alerts = alerts_of(
            &page,
            &triggers,
            console_url,
            sender.clock.now(),
            resend * INTERVALS_AHEAD,
        );
        Ok((!alerts.is_empty()).then(|| self.post(sender, &alerts)))
    }

    /// Posts every open incident again; answers how many there are.
    pub(crate) async fn resend(&self, sender: &Sender, resend: Duration) -> Result<(usize, Attempt), Error> {
        let open = sender.store.triggers_open(&Scope::All).await?;
        let now = sender.clock.now();
        let mut alerts: Vec<Alert> = Vec::with_capacity(open.len());
        for trigger in &open {
            match parse(trigger) {
                Ok(page) => {
                    let console_url = sender.console_url.as_deref();
                    alerts.push(still_firing(&page, console_url, now, resend * INTERVALS_AHEAD));
                }
                Err(error) => tracing::error!(%error, "an open incident's page can't be posted again"),
            }
        }
        if alerts.is_empty() {
            return Ok((
                0,
                Attempt {
                    outcome: Outcome::Delivered,
                    answer: String::new(),
                },
            ));
        }
        let result = self.post(sender, &alerts).send().await;
        Ok((alerts.len(), Attempt::of(result, now).await))
    }

    fn post(&self, sender: &Sender, body: &impl Serialize) -> RequestBuilder {
        let request = sender.client.post(self.url.clone()).json(body);
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        }
    }
}

fn authorization(destination: &Destination) -> Result<HeaderValue, BuildError> {
    let path = destination.token_file().cloned().unwrap_or_default();
    let token = std::fs::read_to_string(path).map_err(|source| BuildError::TokenFile {
        destination: destination.name().to_owned(),
        source,
    })?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_| {
        let reason = format!(
            "the token of {} holds characters that no header can",
            destination.name()
        );
        Invalid::new("pager.destinations.token_file", reason)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads a page out of the outbox.
pub(crate) fn parse(stored: &tocsin_store::outbox::Page) -> Result<Page, Error> {
    let payload = serde_json::from_str(&stored.payload_json).map_err(|error| Error::UnreadablePage {
        key: stored.page_key.clone(),
        reason: error.to_string(),
    })?;
    let action = match stored.action {
        StoredAction::Trigger => PageAction::Trigger,
        StoredAction::Acknowledge => PageAction::Acknowledge,
        StoredAction::Resolve => PageAction::Resolve,
    };
    Ok(Page {
        key: stored.page_key.clone(),
        action,
        created_at: stored.created_at,
        payload,
    })
}
