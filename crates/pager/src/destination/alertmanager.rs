//! Alertmanager: told of levels, for it forgets what it does not hear of. Open incidents are posted again and again, from
//! the database, until they are over.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::AUTHORIZATION;
use reqwest::{RequestBuilder, Url};
use serde::{Deserialize, Serialize};
use tocsin_domain::{Invalid, PageAction, Scope, Timestamp};
use tocsin_judge::page::NOTICE;
use tocsin_store::outbox::LeasedDelivery;

use super::{Address, Route};
use crate::attempt::{Attempt, Outcome};
use crate::message::Page;
use crate::target::Sender;
use crate::{Error, secret};

/// How many resend intervals an open alert's end lies ahead: two may be missed before Alertmanager takes it for over.
const INTERVALS_AHEAD: u32 = 3;

/// Settings of an Alertmanager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alertmanager {
    /// The name in delivery histories. Pages are owed to names: another name is another receiver.
    pub name: String,
    /// Base address, such as `http://127.0.0.1:9093`.
    pub url: Address,
    /// File with a bearer token, if a proxy in front wants one.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// How often open incidents are posted again, in milliseconds. Alertmanager takes an alert for resolved when it has
    /// not heard of it for three of these.
    #[serde(default = "default_resend_interval_ms")]
    pub resend_interval_ms: u64,
    /// Which pages it takes; with none, all of them.
    #[serde(default)]
    pub routes: Vec<Route>,
}

fn default_resend_interval_ms() -> u64 {
    30_000
}

impl Alertmanager {
    /// One that takes every page, without a token, posted to every 30 s.
    pub fn new(name: impl Into<String>, url: impl Into<Address>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            token_file: None,
            resend_interval_ms: default_resend_interval_ms(),
            routes: Vec::new(),
        }
    }

    pub(super) fn check(&self) -> Result<(), Invalid> {
        self.endpoint()?;
        if self.resend_interval_ms == 0 {
            return Err(Invalid::new("resend_interval_ms", "must be at least 1"));
        }
        Ok(())
    }

    pub(super) fn check_secrets(&self) -> Result<(), Invalid> {
        let path = self.token_file.as_deref();
        path.map(secret::authorization).transpose().map(drop)
    }

    fn endpoint(&self) -> Result<Url, Invalid> {
        let mut url = self.url.parse()?;
        let mut segments = url.path_segments_mut().expect("an http address has a path");
        segments.pop_if_empty().extend(["api", "v2", "alerts"]);
        drop(segments);
        Ok(url)
    }

    /// How often open incidents are posted again.
    pub(crate) fn resend_interval(&self) -> Duration {
        Duration::from_millis(self.resend_interval_ms)
    }

    /// How far an open alert's end lies in the future.
    fn ahead(&self) -> Duration {
        self.resend_interval() * INTERVALS_AHEAD
    }

    /// The post that tells of a page; none when there is nothing to tell.
    pub(crate) async fn request(
        &self,
        sender: &Sender,
        leased: &LeasedDelivery,
    ) -> Result<Option<RequestBuilder>, Error> {
        let page = Page::parse(&leased.page)?;
        let incident = leased.page.incident;
        let history = sender.store.pages_by_incident(&Scope::All, incident).await?;
        let own = |destination: &Option<String>| destination.as_ref() == Some(&self.name);
        let triggers = history
            .iter()
            .filter(|delivery| own(&delivery.destination))
            .map(|delivery| &delivery.page)
            .filter(|other| other.action == PageAction::Trigger && other.id <= leased.page.id)
            .map(|trigger| sender.page(trigger, &self.name))
            .collect::<Result<Vec<_>, _>>()?;
        let console_url = sender.console_url.as_deref();
        let alerts = alerts_of(&page, &triggers, console_url, sender.clock.now(), self.ahead());
        (!alerts.is_empty()).then(|| self.post(sender, &alerts)).transpose()
    }

    /// Posts every open incident that this destination was told of again; answers how many there are.
    pub(crate) async fn resend(&self, sender: &Sender) -> Result<(usize, Attempt), Error> {
        let open = sender.store.triggers_open(&self.name).await?;
        let now = sender.clock.now();
        let mut alerts: Vec<Alert> = Vec::with_capacity(open.len());
        for trigger in &open {
            match sender.page(trigger, &self.name) {
                Ok(page) => {
                    let console_url = sender.console_url.as_deref();
                    alerts.push(still_firing(&page, console_url, now, self.ahead()));
                }
                Err(error) => tracing::error!(%error, "an open incident's page can't be posted again"),
            }
        }
        if alerts.is_empty() {
            let nothing = Attempt {
                outcome: Outcome::Delivered,
                answer: String::new(),
            };
            return Ok((0, nothing));
        }
        let result = self.post(sender, &alerts)?.send().await;
        Ok((alerts.len(), Attempt::of(result, now).await))
    }

    /// Posts the alert that always fires, which ends by itself when it is not posted again; the error says why it was not
    /// taken. `period` is how often it comes.
    pub(crate) async fn watchdog(&self, sender: &Sender, period: Duration, now: Timestamp) -> Result<(), String> {
        let request = self.post(sender, &[watchdog(period, now)]);
        let result = request.map_err(|error| error.to_string())?.send().await;
        let Attempt { outcome, answer } = Attempt::of(result, now).await;
        if outcome == Outcome::Delivered {
            Ok(())
        } else {
            Err(answer)
        }
    }

    fn post(&self, sender: &Sender, alerts: &[Alert]) -> Result<RequestBuilder, Error> {
        let request = sender
            .client
            .post(self.endpoint().map_err(Error::Setting)?)
            .json(alerts);
        Ok(match &self.token_file {
            Some(path) => request.header(AUTHORIZATION, secret::authorization(path).map_err(Error::Setting)?),
            None => request,
        })
    }
}

/// One alert of Alertmanager's v2 API. Its labels are its identity there: they stay the same from firing to resolved.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    labels: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<String>,
}

impl Alert {
    /// The alert of a trigger: firing while `ends_at` lies ahead, resolved when it does not.
    fn of(trigger: &Page, console_url: Option<&str>, ends_at: Timestamp) -> Self {
        let payload = &trigger.payload;
        let labels = BTreeMap::from([
            ("alertname", "TocsinIncident".to_owned()),
            ("site", payload.site.to_string()),
            ("machine", payload.machine.to_string()),
            ("class", payload.class.to_string()),
            ("severity", payload.severity.to_string()),
            ("incident", payload.dedup_key.clone()),
            ("page", trigger.key.clone()),
            ("replay", payload.replay.to_string()),
        ]);
        let annotations = BTreeMap::from([
            ("summary", trigger.summary()),
            ("sensor", payload.deciding_sensor.to_string()),
            ("detector", payload.deciding_detector.to_string()),
            ("level", format!("{:.2}", payload.level)),
            ("opened_at", payload.opened_at.to_string()),
            ("notice", NOTICE.to_owned()),
        ]);
        let link = trigger.acknowledge_url.clone().map(|url| ("acknowledge_url", url));
        Self {
            labels,
            annotations: annotations.into_iter().chain(link).collect(),
            // Not `opened_at`: that is capture time, which a gateway's clock or a replay can put anywhere. Alertmanager
            // refuses an alert that ends before it starts.
            starts_at: trigger.created_at.min(ends_at - Duration::from_millis(1)),
            ends_at,
            generator_url: trigger.incident_url(console_url),
        }
    }
}

/// The alert that always fires while rounds of canaries are complete. It ends three periods ahead: what waits for it to
/// end is told within that.
fn watchdog(period: Duration, now: Timestamp) -> Alert {
    let summary = "always firing: readings are taken, judged and stored, and pages go out; alarm when this ends";
    Alert {
        labels: BTreeMap::from([
            ("alertname", "TocsinWatchdog".to_owned()),
            ("severity", "none".to_owned()),
        ]),
        annotations: BTreeMap::from([("summary", summary.to_owned())]),
        starts_at: now,
        ends_at: now + period * INTERVALS_AHEAD,
        generator_url: None,
    }
}

/// The alerts that tell Alertmanager of `page`, given the triggers of its incident up to it, oldest first. `ahead` is
/// how far an open alert's end lies in the future. An acknowledgement changes nothing there.
fn alerts_of(page: &Page, triggers: &[Page], console_url: Option<&str>, now: Timestamp, ahead: Duration) -> Vec<Alert> {
    let newest = match page.action {
        PageAction::Trigger => return raised(triggers, console_url, now, ahead),
        PageAction::Acknowledge => None,
        PageAction::Resolve => triggers.last(),
    };
    newest
        .map(|trigger| Alert::of(trigger, console_url, now))
        .into_iter()
        .collect()
}

/// The newest trigger fires; those before it are over. Each is an alert of its own, or Alertmanager would notify nobody of
/// what it takes for a repeat.
fn raised(triggers: &[Page], console_url: Option<&str>, now: Timestamp, ahead: Duration) -> Vec<Alert> {
    let Some((newest, earlier)) = triggers.split_last() else {
        return Vec::new();
    };
    let over = earlier
        .iter()
        .filter(|trigger| trigger.key != newest.key)
        .map(|trigger| Alert::of(trigger, console_url, now));
    over.chain([Alert::of(newest, console_url, now + ahead)]).collect()
}

/// An open incident's alert, to be posted again.
fn still_firing(newest: &Page, console_url: Option<&str>, now: Timestamp, ahead: Duration) -> Alert {
    Alert::of(newest, console_url, now + ahead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::page;
    use tocsin_domain::Severity;
    use tocsin_judge::PageReason;

    #[test]
    fn an_alert_keeps_its_labels_from_firing_to_resolved() {
        let now = Timestamp::from_micros(100_000_000);
        let ahead = Duration::from_secs(90);
        let trigger = page(PageReason::Opened, Severity::Page);
        let fired = alerts_of(&trigger, std::slice::from_ref(&trigger), None, now, ahead);
        let mut over = page(PageReason::Cleared, Severity::Page);
        over.payload.level = 0.1;
        let resolved = alerts_of(&over, std::slice::from_ref(&trigger), None, now + ahead, ahead);
        assert_eq!((fired.len(), resolved.len()), (1, 1));
        assert_eq!(fired[0].labels, resolved[0].labels);
        assert_eq!(fired[0].starts_at, resolved[0].starts_at);
        assert_eq!((fired[0].ends_at, resolved[0].ends_at), (now + ahead, now + ahead));
        assert_eq!(still_firing(&trigger, None, now, ahead), fired[0]);
    }

    #[test]
    fn an_escalation_ends_the_alert_it_rose_from() {
        let now = Timestamp::from_micros(100_000_000);
        let triggers = [
            page(PageReason::Opened, Severity::Alert),
            page(PageReason::Escalated, Severity::Page),
        ];
        let alerts = alerts_of(&triggers[1], &triggers, None, now, Duration::from_secs(90));
        let said: Vec<_> = alerts
            .iter()
            .map(|a| (a.labels["severity"].as_str(), a.ends_at > now))
            .collect();
        assert_eq!(said, [("alert", false), ("page", true)]);
        let acknowledged = page(PageReason::Acknowledged, Severity::Page);
        assert_eq!(alerts_of(&acknowledged, &triggers, None, now, Duration::ZERO), []);
    }

    #[test]
    fn what_is_paged_again_is_an_alert_of_its_own() {
        let now = Timestamp::from_micros(100_000_000);
        let triggers = [
            page(PageReason::Opened, Severity::Page),
            page(PageReason::AnotherSensor, Severity::Page),
        ];
        let alerts = alerts_of(&triggers[1], &triggers, None, now, Duration::from_secs(90));
        assert_ne!(alerts[0].labels, alerts[1].labels);
        assert!(alerts[0].ends_at == now && alerts[1].ends_at > now);
        let over = page(PageReason::Cleared, Severity::Page);
        let resolved = alerts_of(&over, &triggers, None, now, Duration::from_secs(90));
        assert_eq!(resolved[0].labels, alerts[1].labels);
    }

    #[test]
    fn the_watchdog_is_one_alert_that_ends_after_three_periods() {
        let (now, minute) = (Timestamp::from_micros(100_000_000), Duration::from_mins(1));
        let (first, next) = (watchdog(minute, now), watchdog(minute, now + minute));
        assert_eq!(first.labels, next.labels);
        assert_eq!(first.labels["alertname"], "TocsinWatchdog");
        assert_eq!(first.ends_at, now + 3 * minute);
        assert!(next.starts_at < first.ends_at, "it never ends in between");
    }

    #[test]
    fn alerts_are_posted_below_the_base_address() {
        let endpoint = |url| Alertmanager::new("am", url).endpoint().unwrap().to_string();
        assert_eq!(
            endpoint("http://127.0.0.1:9093/x/"),
            "http://127.0.0.1:9093/x/api/v2/alerts"
        );
        assert_eq!(endpoint("http://127.0.0.1:9093"), "http://127.0.0.1:9093/api/v2/alerts");
    }

    #[test]
    fn an_alert_never_ends_before_it_starts() {
        let trigger = page(PageReason::Opened, Severity::Page);
        let before = Timestamp::from_micros(0);
        let over = page(PageReason::Cleared, Severity::Page);
        let alerts = alerts_of(&over, &[trigger], None, before, Duration::ZERO);
        assert!(alerts[0].starts_at < alerts[0].ends_at);
    }
}
