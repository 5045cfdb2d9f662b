//! What the pager is told: where pages go, and how patient it is.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use tocsin_domain::{Invalid, PageAction, Timestamp};
use tocsin_store::outbox::Page;
use tocsin_store::outbox::canary::WATCHDOG;

use crate::{DayShift, Destination, WorkOrders, watchdog};

/// Settings of the pager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where pages go. With none, incidents are kept and shown, and nobody is paged.
    pub destinations: Vec<Destination>,
    /// Names of destinations that are told as well, in this order, of a page that nobody acknowledged in time. One of
    /// these that has no routes is told of nothing else.
    pub escalate_to: Vec<String>,
    /// How long after a page was decided it is so, in milliseconds, while its incident is open and not acknowledged.
    pub escalate_after_ms: u64,
    /// The maintenance system that takes work orders, if there is one.
    pub work_orders: Option<WorkOrders>,
    /// Sites whose slow failures wait for people to be there.
    pub day_shifts: Vec<DayShift>,
    /// A page about an incident that is new to a destination waits there, in case it is one of a flood: one and a half times
    /// so long, in milliseconds, or one and a half machine steps where that is longer. With 0 none waits.
    pub flood_wait_ms: u64,
    /// Address of the console, for links in pages, such as `https://tocsin.example.org`.
    pub console_url: Option<String>,
    /// File with a secret of the pager's own, the same for all of its replicas: with it and `console_url`, every page carries a
    /// link that acknowledges without signing in, once, for 12 hours, and one to its picture, for 7 days.
    pub acknowledge_secret_file: Option<PathBuf>,
    /// Pages older than this, in milliseconds, are not sent to a destination that was never told of them: what a new
    /// destination is spared, and what a pager that was gone for longer leaves unsent. What opened an incident that is
    /// still open is sent however old it is.
    pub catch_up_ms: u64,
    /// How often to look for pages without being told of one, in milliseconds.
    pub poll_ms: u64,
    /// How long a receiver may take to answer, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long an attempt is this process's own before another may take it over, in milliseconds. Longer than
    /// `request_timeout_ms`, or a page still on its way is sent again; than twice that for mail, with a second more, and
    /// for `PagerDuty`, whose attempts may take two answers.
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
    /// After this many attempts in a row that a destination did not answer, or refused for now, nothing is sent there
    /// for a while; then one page probes. The pauses are those between attempts.
    pub circuit_after_failures: u32,
    /// How often to look for sensors and gateways that are silent, and for sensors that are stuck, in milliseconds.
    pub silence_interval_ms: u64,
    /// The watch over Tocsin itself.
    pub watchdog: watchdog::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            destinations: Vec::new(),
            escalate_to: Vec::new(),
            escalate_after_ms: 900_000,
            work_orders: None,
            day_shifts: Vec::new(),
            flood_wait_ms: 10_000,
            console_url: None,
            acknowledge_secret_file: None,
            catch_up_ms: 86_400_000,
            poll_ms: 5_000,
            request_timeout_ms: 10_000,
            lease_ms: 30_000,
            concurrency: 8,
            backoff_first_ms: 1_000,
            backoff_limit_ms: 300_000,
            max_attempts: 100,
            max_rejections: 10,
            circuit_after_failures: 5,
            silence_interval_ms: 10_000,
            watchdog: watchdog::Config::default(),
        }
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
            destination.check().map_err(within)?;
            if destination.name() == WATCHDOG {
                return Err(within(Invalid::new(
                    "name",
                    format!("{WATCHDOG:?} is a name of Tocsin's own"),
                )));
            }
            if !names.insert(destination.name()) {
                return Err(within(Invalid::new(
                    "name",
                    format!("{:?} is there twice", destination.name()),
                )));
            }
        }
        for (index, name) in self.escalate_to.iter().enumerate() {
            let invalid =
                |reason: &str| Invalid::new(format!("pager.escalate_to[{index}]"), format!("{name:?} {reason}"));
            if !names.contains(name.as_str()) {
                return Err(invalid("is no destination's name"));
            }
            if self.escalate_to[..index].contains(name) {
                return Err(invalid("is there twice"));
            }
        }
        if let Some(system) = &self.work_orders {
            let within =
                |invalid: Invalid| Invalid::new(format!("pager.work_orders.{}", invalid.field), invalid.reason);
            system.check().map_err(within)?;
        }
        for (index, shift) in self.day_shifts.iter().enumerate() {
            let within =
                |invalid: Invalid| Invalid::new(format!("pager.day_shifts[{index}].{}", invalid.field), invalid.reason);
            shift.check().map_err(within)?;
        }
        if self.lease_ms <= self.request_timeout_ms {
            let reason = format!(
                "{} must be longer than request_timeout_ms {}",
                self.lease_ms, self.request_timeout_ms
            );
            return Err(Invalid::new("pager.lease_ms", reason));
        }
        for destination in &self.destinations {
            let longest = destination.longest_attempt(self.request_timeout());
            if self.lease() <= longest {
                let reason = format!(
                    "{} must be longer than the {} ms that an attempt at {:?} may take",
                    self.lease_ms,
                    longest.as_millis(),
                    destination.name()
                );
                return Err(Invalid::new("pager.lease_ms", reason));
            }
        }
        let positive = [
            ("escalate_after_ms", self.escalate_after_ms),
            ("poll_ms", self.poll_ms),
            ("silence_interval_ms", self.silence_interval_ms),
            ("request_timeout_ms", self.request_timeout_ms),
            ("concurrency", self.concurrency as u64),
            ("backoff_first_ms", self.backoff_first_ms),
            ("backoff_limit_ms", self.backoff_limit_ms),
            ("max_attempts", self.max_attempts.into()),
            ("max_rejections", self.max_rejections.into()),
            ("circuit_after_failures", self.circuit_after_failures.into()),
        ];
        if let Some((field, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(Invalid::new(format!("pager.{field}"), "must be at least 1"));
        }
        self.watchdog
            .check()
            .map_err(|invalid| Invalid::new(format!("pager.watchdog.{}", invalid.field), invalid.reason))?;
        if let Some(url) = &self.console_url {
            Url::parse(url).map_err(|error| Invalid::new("pager.console_url", format!("{url:?}: {error}")))?;
        }
        if self.acknowledge_secret_file.is_some() && self.console_url.is_none() {
            let reason = "needs console_url, where the links lead";
            return Err(Invalid::new("pager.acknowledge_secret_file", reason));
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
    /// [`Store::pages_owed`](tocsin_store::Store::pages_owed), whatever their routes say.
    pub(crate) fn owes(&self, page: &Page, incident_is_open: bool, now: Timestamp) -> bool {
        let is_young = page.created_at >= now - self.catch_up();
        let must_arrive = incident_is_open && page.action == PageAction::Trigger;
        !self.destinations.is_empty() && (is_young || must_arrive)
    }

    pub(crate) fn flood_wait(&self) -> Duration {
        Duration::from_millis(self.flood_wait_ms)
    }

    /// Whether a destination is told of each page by itself, rather than of what holds, again and again.
    pub(crate) fn is_told_of_edges(&self, name: &str) -> bool {
        let named = self.destinations.iter().find(|destination| destination.name() == name);
        named.is_none_or(|destination| !matches!(destination, Destination::Alertmanager(_)))
    }

    pub(crate) fn silence_interval(&self) -> Duration {
        Duration::from_millis(self.silence_interval_ms)
    }

    pub(crate) fn escalate_after(&self) -> Duration {
        Duration::from_millis(self.escalate_after_ms)
    }

    pub(crate) fn backoff_limit(&self) -> Duration {
        Duration::from_millis(self.backoff_limit_ms)
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
    use crate::destination::Webhook;
    use tocsin_domain::IncidentId;

    fn webhook(name: &str, url: &str) -> Destination {
        Destination::Webhook(Webhook::new(name, url))
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
        for (names, index, reason) in [(["b", "a"], 0, "is no"), (["a", "a"], 1, "is there twice")] {
            let wrong = Config {
                destinations: vec![webhook("a", "http://x")],
                escalate_to: names.map(str::to_owned).to_vec(),
                ..Config::default()
            };
            let wrong = wrong.parse().unwrap_err();
            assert_eq!(wrong.field, format!("pager.escalate_to[{index}]"));
            assert!(wrong.reason.contains(reason), "{wrong}");
        }
        let short = Config {
            lease_ms: 1_000,
            ..Config::default()
        }
        .parse()
        .unwrap_err();
        assert_eq!(short.field, "pager.lease_ms");
        let two_answers = |lease_ms| Config {
            destinations: vec![Destination::Email(crate::destination::email::tests::email("relay", 25))],
            lease_ms,
            ..Config::default()
        };
        let short = two_answers(21_000).parse().unwrap_err();
        assert_eq!(
            short.to_string(),
            "pager.lease_ms: 21000 must be longer than the 21000 ms that an attempt at \"mail\" may take"
        );
        two_answers(21_001).parse().unwrap();
        let nowhere = Config {
            acknowledge_secret_file: Some("/s".into()),
            ..Config::default()
        };
        assert_eq!(nowhere.parse().unwrap_err().field, "pager.acknowledge_secret_file");
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
        for (kind, rest) in [
            ("webhook", r#""url": "http://x/", "secret_file": "/s""#),
            ("alertmanager", r#""url": "http://x/""#),
            ("pager_duty", r#""routing_key_file": "/k""#),
            ("slack", r#""url": "https://hooks.slack.com/services/T/B/x""#),
            (
                "email",
                r#""host": "relay", "from": "a@example.org", "to": ["b@example.org"]"#,
            ),
        ] {
            let json = format!(r#"{{"destinations": [{{"kind": "{kind}", "name": "a", {rest}}}]}}"#);
            let config: Config = serde_json::from_str(&json).unwrap();
            let written = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<Config>(&written).unwrap(), config);
            config.parse().unwrap();
            let wrong = json.replace("\"name\"", "\"colour\": 1, \"name\"");
            let error = serde_json::from_str::<Config>(&wrong).unwrap_err().to_string();
            assert!(error.contains("colour"), "{kind}: {error}");
        }
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
            flood: None,
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
}
