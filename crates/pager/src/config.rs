//! What the pager is told: where pages go, and how patient it is.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use tocsin_domain::{Invalid, PageAction, Slug, Timestamp};
use tocsin_store::outbox::Page;

/// Settings of the pager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where pages go. With none, incidents are kept and shown, and nobody is paged.
    pub destinations: Vec<Destination>,
    /// Address of the console, for links in pages, such as `https://tocsin.example.org`.
    pub console_url: Option<String>,
    /// Pages older than this, in milliseconds, are not sent to a destination that was never told of them: what a new
    /// destination is spared, and what a pager that was gone for longer leaves unsent. What opened an incident that is
    /// still open is sent however old it is.
    pub catch_up_ms: u64,
    /// How often to look for pages without being told of one, in milliseconds.
    pub poll_ms: u64,
    /// How long a receiver may take to answer, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long an attempt is this process's own before another may take it over, in milliseconds. Longer than
    /// `request_timeout_ms`, or a page still on its way is sent again.
    pub lease_ms: u64,
    /// Attempts under way at once for one destination.
    pub concurrency: usize,
    /// Pause after the first failed attempt, in milliseconds; it doubles with each further one.
    pub backoff_first_ms: u64,
    /// The longest pause, in milliseconds; also the longest wait a receiver may ask for.
    pub backoff_limit_ms: u64,
    /// After this many attempts without success a page is dead for its destination, unless it opened an incident that
    /// is still open: that is tried on, at the longest pause.
    pub max_attempts: u32,
    /// The same for a receiver that answers that the request itself is no good (4xx).
    pub max_rejections: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            destinations: Vec::new(),
            console_url: None,
            catch_up_ms: 86_400_000,
            poll_ms: 5_000,
            request_timeout_ms: 10_000,
            lease_ms: 30_000,
            concurrency: 8,
            backoff_first_ms: 1_000,
            backoff_limit_ms: 300_000,
            max_attempts: 100,
            max_rejections: 10,
        }
    }
}

/// A receiver of pages.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Destination {
    /// Edge-triggered: one `POST` of JSON per page and action.
    Webhook {
        /// The name in delivery histories. Pages are owed to names: another name is another receiver.
        name: String,
        /// Where to post. It may hold a secret, so it is never printed.
        url: String,
        /// File with a bearer token, if the receiver wants one.
        #[serde(default)]
        token_file: Option<PathBuf>,
    },
    /// Level-triggered: alerts of Alertmanager's v2 API, posted again while the incident is open.
    Alertmanager {
        /// The name in delivery histories.
        name: String,
        /// Base address, such as `http://127.0.0.1:9093`. It may hold a secret, so it is never printed.
        url: String,
        /// File with a bearer token, if a proxy in front wants one.
        #[serde(default)]
        token_file: Option<PathBuf>,
        /// How often open incidents are posted again, in milliseconds. Alertmanager takes an alert for resolved when
        /// it has not heard of it for three of these.
        #[serde(default = "default_resend_interval_ms")]
        resend_interval_ms: u64,
    },
}

fn default_resend_interval_ms() -> u64 {
    30_000
}

impl Destination {
    /// The name in delivery histories.
    pub fn name(&self) -> &str {
        match self {
            Self::Webhook { name, .. } | Self::Alertmanager { name, .. } => name,
        }
    }

    /// File with its bearer token.
    pub(crate) fn token_file(&self) -> Option<&Path> {
        match self {
            Self::Webhook { token_file, .. } | Self::Alertmanager { token_file, .. } => token_file.as_deref(),
        }
    }

    /// The address that pages are posted to.
    pub(crate) fn endpoint(&self) -> Result<Url, Invalid> {
        let (text, path) = match self {
            Self::Webhook { url, .. } => (url, None),
            Self::Alertmanager { url, .. } => (url, Some("api/v2/alerts")),
        };
        // The text is left out of the reason, for it may hold a secret.
        let mut url = Url::parse(text).map_err(|error| Invalid::new("url", error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(Invalid::new(
                "url",
                "must start with http:// or https:// and name a host",
            ));
        }
        if let Some(path) = path {
            let mut segments = url.path_segments_mut().expect("an http address has a path");
            segments.pop_if_empty().extend(path.split('/'));
        }
        Ok(url)
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Webhook { .. } => "Webhook",
            Self::Alertmanager { .. } => "Alertmanager",
        };
        f.debug_struct(kind)
            .field("name", &self.name())
            .field("url", &"(not shown)")
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Checks the settings against each other; the error names the field.
    pub fn parse(self) -> Result<Self, Invalid> {
        let mut names = BTreeSet::new();
        for (index, destination) in self.destinations.iter().enumerate() {
            let within = |invalid: Invalid| {
                Invalid::new(format!("pager.destinations[{index}].{}", invalid.field), invalid.reason)
            };
            Slug::parse("name", destination.name()).map_err(within)?;
            if !names.insert(destination.name()) {
                return Err(within(Invalid::new(
                    "name",
                    format!("{:?} is there twice", destination.name()),
                )));
            }
            destination.endpoint().map_err(within)?;
            if matches!(
                destination,
                Destination::Alertmanager {
                    resend_interval_ms: 0,
                    ..
                }
            ) {
                return Err(within(Invalid::new("resend_interval_ms", "must be at least 1")));
            }
        }
        if self.lease_ms <= self.request_timeout_ms {
            let reason = format!(
                "{} must be longer than request_timeout_ms {}",
                self.lease_ms, self.request_timeout_ms
            );
            return Err(Invalid::new("pager.lease_ms", reason));
        }
        let positive = [
            ("poll_ms", self.poll_ms),
            ("request_timeout_ms", self.request_timeout_ms),
            ("concurrency", self.concurrency as u64),
            ("backoff_first_ms", self.backoff_first_ms),
            ("backoff_limit_ms", self.backoff_limit_ms),
            ("max_attempts", self.max_attempts.into()),
            ("max_rejections", self.max_rejections.into()),
        ];
        if let Some((field, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(Invalid::new(format!("pager.{field}"), "must be at least 1"));
        }
        if let Some(url) = &self.console_url {
            Url::parse(url).map_err(|error| Invalid::new("pager.console_url", format!("{url:?}: {error}")))?;
        }
        Ok(self)
    }

    pub(crate) fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    pub(crate) fn catch_up(&self) -> Duration {
        Duration::from_millis(self.catch_up_ms)
    }

    /// Whether a page is owed to destinations that were never told of it: the rule of
    /// [`Store::deliveries_fan_out`](tocsin_store::Store::deliveries_fan_out).
    pub(crate) fn owes(&self, page: &Page, incident_is_open: bool, now: Timestamp) -> bool {
        let is_young = page.created_at >= now - self.catch_up();
        let must_arrive = incident_is_open && page.action == PageAction::Trigger;
        !self.destinations.is_empty() && (is_young || must_arrive)
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::IncidentId;

    fn webhook(name: &str, url: &str) -> Destination {
        Destination::Webhook {
            name: name.into(),
            url: url.into(),
            token_file: None,
        }
    }

    fn refused(destinations: Vec<Destination>) -> String {
        Config {
            destinations,
            ..Config::default()
        }
        .parse()
        .unwrap_err()
        .to_string()
    }

    #[test]
    fn the_defaults_are_legal_and_what_is_not_names_its_field() {
        let config = Config::default();
        assert_eq!(config.clone().parse().unwrap(), config);
        assert_eq!(
            refused(vec![webhook("a b", "http://x")]).split(':').next(),
            Some("pager.destinations[0].name")
        );
        let twice = refused(vec![webhook("a", "http://x"), webhook("a", "http://y")]);
        assert_eq!(twice, "pager.destinations[1].name: \"a\" is there twice");
        assert!(refused(vec![webhook("a", "ftp://hush@x")]).starts_with("pager.destinations[0].url: must start"));
        let short = Config {
            lease_ms: 1_000,
            ..Config::default()
        }
        .parse()
        .unwrap_err();
        assert_eq!(short.field, "pager.lease_ms");
        assert_eq!(
            Config {
                concurrency: 0,
                ..Config::default()
            }
            .parse()
            .unwrap_err()
            .field,
            "pager.concurrency"
        );
    }

    #[test]
    fn a_config_file_is_read_and_an_unknown_field_refused() {
        let json = r#"{"destinations": [{"kind": "alertmanager", "name": "am", "url": "http://127.0.0.1:9093/x/"}]}"#;
        let config: Config = serde_json::from_str(json).unwrap();
        assert_eq!(
            config.destinations[0].endpoint().unwrap().as_str(),
            "http://127.0.0.1:9093/x/api/v2/alerts"
        );
        let wrong = json.replace("\"name\"", "\"colour\": 1, \"name\"");
        assert!(
            serde_json::from_str::<Config>(&wrong)
                .unwrap_err()
                .to_string()
                .contains("colour")
        );
    }

    #[test]
    fn a_page_is_owed_while_it_is_young_or_its_incident_is_open() {
        let config = Config {
            destinations: vec![webhook("a", "http://x")],
            ..Config::default()
        };
        let page = |action| Page {
            id: 1,
            page_key: "k".to_owned(),
            incident: IncidentId(1),
            action,
            payload_json: "{}".to_owned(),
            created_at: Timestamp::from_micros(0),
        };
        let (trigger, resolve) = (page(PageAction::Trigger), page(PageAction::Resolve));
        let day = trigger.created_at + Duration::from_hours(24);
        let later = day + Duration::from_micros(1);
        assert!(config.owes(&trigger, false, day) && config.owes(&resolve, false, day));
        assert!(config.owes(&trigger, true, later));
        assert!(!config.owes(&trigger, false, later) && !config.owes(&resolve, true, later));
        assert!(
            !Config::default().owes(&trigger, true, day),
            "there is nobody to owe it to"
        );
    }

    #[test]
    fn an_address_is_never_printed() {
        let destination = webhook("a", "http://u:hush@x/hush");
        assert!(!format!("{destination:?}").contains("hush"));
    }
}
