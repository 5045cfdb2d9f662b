//! The receivers of pages: one kind a file, each with its settings and the form it is told things in.

use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use tocsin_domain::{Invalid, Slug};

pub mod address;
pub mod alertmanager;
pub mod email;
pub mod pager_duty;
pub mod route;
pub mod slack;
pub mod webhook;

pub use address::Address;
pub use alertmanager::Alertmanager;
pub use email::Email;
pub use pager_duty::PagerDuty;
pub use route::{Day, Hours, Route};
pub use slack::Slack;
pub use webhook::Webhook;

/// A receiver of pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Destination {
    /// One `POST` of JSON per page and action.
    Webhook(Webhook),
    /// Alerts of Alertmanager's v2 API, posted again while the incident is open.
    Alertmanager(Alertmanager),
    /// `PagerDuty`'s Events API v2: one event per page and action, one alert per incident.
    PagerDuty(PagerDuty),
    /// An incoming webhook of Slack, or of what understands its messages.
    Slack(Slack),
    /// Mail over SMTP: one per page and action, one thread per incident.
    Email(Email),
}

impl Destination {
    /// The name in delivery histories.
    pub fn name(&self) -> &str {
        match self {
            Self::Webhook(webhook) => &webhook.name,
            Self::Alertmanager(alertmanager) => &alertmanager.name,
            Self::PagerDuty(pager_duty) => &pager_duty.name,
            Self::Slack(slack) => &slack.name,
            Self::Email(email) => &email.name,
        }
    }

    /// What it is called in the settings.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Alertmanager(_) => "alertmanager",
            Self::PagerDuty(_) => "pager_duty",
            Self::Slack(_) => "slack",
            Self::Email(_) => "email",
        }
    }

    /// The longest that an attempt can take, where one answer may take `request_timeout`.
    pub(crate) fn longest_attempt(&self, request_timeout: Duration) -> Duration {
        match self {
            Self::Webhook(_) | Self::Alertmanager(_) | Self::Slack(_) => request_timeout,
            // The end of what was acknowledged, and the opening after it.
            Self::PagerDuty(_) => request_timeout * 2,
            // To connect, to hand the mail over, to go.
            Self::Email(_) => request_timeout * 2 + email::CLOSING,
        }
    }

    /// Which pages it takes; with none, all of them.
    pub fn routes(&self) -> &[Route] {
        match self {
            Self::Webhook(webhook) => &webhook.routes,
            Self::Alertmanager(alertmanager) => &alertmanager.routes,
            Self::PagerDuty(pager_duty) => &pager_duty.routes,
            Self::Slack(slack) => &slack.routes,
            Self::Email(email) => &email.routes,
        }
    }

    /// Checks the settings by themselves; the error names the field within the destination.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        Slug::parse("name", self.name())?;
        for (index, route) in self.routes().iter().enumerate() {
            route
                .check()
                .map_err(|invalid| Invalid::new(format!("routes[{index}].{}", invalid.field), invalid.reason))?;
        }
        match self {
            Self::Webhook(webhook) => webhook.url.parse().map(drop),
            Self::Alertmanager(alertmanager) => alertmanager.check(),
            Self::PagerDuty(pager_duty) => pager_duty.url.parse().map(drop),
            Self::Slack(slack) => slack.url.parse().map(drop),
            Self::Email(email) => email.check(),
        }
    }

    /// Reads its secrets once: a mistake in the settings is told at the start, not at the first page.
    pub(crate) fn check_secrets(&self) -> Result<(), Invalid> {
        match self {
            Self::Webhook(webhook) => webhook.check_secrets(),
            Self::Alertmanager(alertmanager) => alertmanager.check_secrets(),
            Self::PagerDuty(pager_duty) => pager_duty.check_secrets(),
            Self::Slack(slack) => slack.check_secrets(),
            Self::Email(email) => email.check_secrets(),
        }
    }
}

/// Only `http` and `https` addresses with a host can be posted to.
fn is_postable(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.host_str().is_some()
}
