//! A destination, ready to be posted to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, RequestBuilder, Url};
use serde::Serialize;
use tocsin_domain::{Clock, Invalid, PageAction, Scope};
use tocsin_store::Store;
use tocsin_store::outbox::LeasedDelivery;

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
    /// Read anew for each post: tokens are rotated under a pager that runs for months.
    token_file: Option<PathBuf>,
    /// For level-triggered ones: how often open incidents are posted again.
    pub(crate) resend: Option<Duration>,
}

impl Target {
    pub(crate) fn new(destination: &Destination) -> Result<Self, BuildError> {
        // A mistake in the settings is told at the start, not at the first page.
        destination.token_file().map(authorization).transpose()?;
        let resend = match destination {
            Destination::Webhook { .. } => None,
            Destination::Alertmanager { resend_interval_ms, .. } => Some(Duration::from_millis(*resend_interval_ms)),
        };
        Ok(Self {
            name: destination.name().to_owned(),
            url: destination.endpoint()?,
            token_file: destination.token_file().map(Path::to_path_buf),
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

    async fn request(&self, sender: &Sender, leased: &LeasedDelivery) -> Result<Option<RequestBuilder>, Error> {
        let page = parse(&leased.page)?;
        let console_url = sender.console_url.as_deref();
        let Some(resend) = self.resend else {
            let request = self.post(sender, &WebhookBody::new(&page, console_url))?;
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
            .filter(|other| other.action == PageAction::Trigger && other.id <= leased.page.id)
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
        (!alerts.is_empty()).then(|| self.post(sender, &alerts)).transpose()
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
        let result = self.post(sender, &alerts)?.send().await;
        Ok((alerts.len(), Attempt::of(result, now).await))
    }

    fn post(&self, sender: &Sender, body: &impl Serialize) -> Result<RequestBuilder, Error> {
        let request = sender.client.post(self.url.clone()).json(body);
        Ok(match &self.token_file {
            Some(path) => request.header(AUTHORIZATION, authorization(path).map_err(Error::Token)?),
            None => request,
        })
    }
}

/// The token in a file, as a header. The error names the file and keeps the token to itself.
fn authorization(path: &Path) -> Result<HeaderValue, Invalid> {
    let invalid = |reason: String| {
        let reason = format!("{}: {reason}", path.display());
        Invalid::new("pager.destinations.token_file", reason)
    };
    let token = std::fs::read_to_string(path).map_err(|error| invalid(error.to_string()))?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .map_err(|_| invalid("it holds characters that no header can".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads a page out of the outbox.
pub(crate) fn parse(stored: &tocsin_store::outbox::Page) -> Result<Page, Error> {
    let payload = serde_json::from_str(&stored.payload_json).map_err(|error| Error::UnreadablePage {
        key: stored.page_key.clone(),
        reason: error.to_string(),
    })?;
    Ok(Page {
        key: stored.page_key.clone(),
        action: stored.action,
        created_at: stored.created_at,
        payload,
    })
}
