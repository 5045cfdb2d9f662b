//! A fresh database per test with one machine in it, and pagers to run on it.

use std::future::Future;
use std::time::Duration;

use tocsin_domain::fleet::Sensor;
use tocsin_domain::{
    BundleDigest, BundleId, Clock, Detector, IncidentId, IncidentState, Level, PageAction, Scope, Severity,
    SpectrumSpec, ThresholdSetId, Timestamp,
};
use tocsin_judge::journal::Event;
use tocsin_judge::page::{dedup_key, page_key};
use tocsin_judge::{PagePayload, PageReason};
use tocsin_pager::destination::Webhook;
use tocsin_pager::{Config, Destination, Parts};
use tocsin_scratch::{pump, slug, with_store};
use tocsin_store::Store;
use tocsin_store::incident::{NewIncident, incident_insert, incident_lock, incident_update};
use tocsin_store::machine::{EventKind, MachineChange, MachineState, NewEvent, machines_lock, machines_update};
use tocsin_store::outbox::{NewPage, PageDelivery, page_insert};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct Stage {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) sensor: Sensor,
}

/// Runs `test` on a stage of its own.
pub(crate) async fn with_stage<F: Future<Output = ()>>(name: &str, clock: Clock, test: impl FnOnce(Stage) -> F) {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    with_store(name, async |store| {
        let sensor = pump(&store, &SpectrumSpec::corpus_default(64), clock.now()).await;
        test(Stage { store, clock, sensor }).await;
    })
    .await;
}

impl Stage {
    /// Opens an incident of the machine, with its journal and its page.
    pub(crate) async fn open(&self) -> IncidentId {
        self.open_on(&self.sensor, |_| ()).await
    }

    /// The same of another machine's sensor, whose page says something else.
    pub(crate) async fn open_on(&self, sensor: &Sensor, change: impl FnOnce(&mut PagePayload)) -> IncidentId {
        let now = self.clock.now();
        let mut tx = self.store.begin().await.unwrap();
        let machine = sensor.machine;
        let state = machines_lock(&mut tx, &[machine]).await.unwrap()[0];
        let new = NewIncident {
            machine,
            severity: Severity::Page,
            opened_at: now,
            paged_at: Some(now),
            deciding_sensor: sensor.id,
            deciding_detector: Detector::Residual,
            level: Level(2.5),
            threshold_set: Some(ThresholdSetId(1)),
            bundle: Some(BundleId(1)),
            replay: false,
        };
        let incident = incident_insert(&mut tx, &new).await.unwrap();
        let event = NewEvent {
            incident: Some(incident.id),
            at: now,
            kind: EventKind::Opened,
            payload_json: serde_json::to_string(&Event::Opened {
                severity: Severity::Page,
            })
            .unwrap(),
        };
        let state = MachineState {
            newest_step: Some(now),
            open_incident: Some(incident.id),
            ..state
        };
        let events = vec![event];
        machines_update(&mut tx, &[MachineChange { state, events }])
            .await
            .unwrap();
        let mut page = page(incident.id, PageReason::Opened, now);
        let mut payload: PagePayload = serde_json::from_str(&page.payload_json).unwrap();
        change(&mut payload);
        page.payload_json = serde_json::to_string(&payload).unwrap();
        page_insert(&mut tx, &page, now).await.unwrap();
        tx.commit().await.unwrap();
        incident.id
    }

    /// The level of an incident rises.
    pub(crate) async fn worsen(&self, incident: IncidentId, level: f32) {
        let mut tx = self.store.begin().await.unwrap();
        let (_, mut listing) = incident_lock(&mut tx, &Scope::All, incident).await.unwrap();
        listing.incident.peak_level = Level(level);
        incident_update(&mut tx, &listing.incident).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Something new is to be said of an incident: nobody has taken that.
    pub(crate) async fn untake(&self, incident: IncidentId) {
        let mut tx = self.store.begin().await.unwrap();
        let (_, mut listing) = incident_lock(&mut tx, &Scope::All, incident).await.unwrap();
        listing.incident.state = IncidentState::re_alarm(listing.incident.state).unwrap();
        listing.incident.acknowledged_at = None;
        incident_update(&mut tx, &listing.incident).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Clears an incident, with its page.
    pub(crate) async fn clear(&self, incident: IncidentId) {
        let now = self.clock.now();
        let mut tx = self.store.begin().await.unwrap();
        let (state, mut listing) = incident_lock(&mut tx, &Scope::All, incident).await.unwrap();
        listing.incident.state = IncidentState::clear(listing.incident.state, now).unwrap();
        incident_update(&mut tx, &listing.incident).await.unwrap();
        let state = MachineState {
            open_incident: None,
            ..state
        };
        let events = Vec::new();
        machines_update(&mut tx, &[MachineChange { state, events }])
            .await
            .unwrap();
        page_insert(&mut tx, &page(incident, PageReason::Cleared, now), now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// Puts a page that says something of an incident, and nothing else, into the outbox.
    pub(crate) async fn say(&self, incident: IncidentId, action: PageAction) {
        let reason = match action {
            PageAction::Trigger => PageReason::Escalated,
            PageAction::Acknowledge => PageReason::Acknowledged,
            PageAction::Resolve => PageReason::Cleared,
        };
        self.say_for(incident, reason).await;
    }

    /// The same for a reason.
    pub(crate) async fn say_for(&self, incident: IncidentId, reason: PageReason) {
        let now = self.clock.now();
        let mut tx = self.store.begin().await.unwrap();
        page_insert(&mut tx, &page(incident, reason, now), now).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Starts a pager.
    pub(crate) fn pager(&self, config: Config) -> Running {
        let parts = Parts {
            store: self.store.clone(),
            clock: self.clock.clone(),
            seed: 7,
        };
        let (_, pager) = tocsin_pager::build(config, parts).unwrap();
        let stop = CancellationToken::new();
        Running {
            task: tokio::spawn(pager.run(stop.clone())),
            stop,
        }
    }

    /// The pages of an incident, once `done` says so of them.
    pub(crate) async fn pages_when(
        &self,
        incident: IncidentId,
        done: impl Fn(&[PageDelivery]) -> bool,
    ) -> Vec<PageDelivery> {
        eventually(|| async {
            let pages = self.store.pages_by_incident(&Scope::All, incident).await.unwrap();
            done(&pages).then_some(pages)
        })
        .await
    }
}

/// A pager at work.
pub(crate) struct Running {
    pub(crate) task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Running {
    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Ends it as a crash does: in the middle of whatever it was doing.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// Asks until there is an answer; gives up, loudly, after a minute.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), asking)
        .await
        .expect("it never happened")
}

pub(crate) fn page(incident: IncidentId, reason: PageReason, now: Timestamp) -> NewPage {
    let payload = PagePayload {
        incident_id: incident,
        site: slug("north"),
        machine: slug("p-1"),
        class: slug("pump"),
        severity: Severity::Page,
        opened_at: now,
        reason,
        step: now,
        deciding_sensor: slug("drive-end"),
        deciding_detector: Detector::Residual,
        level: 2.5,
        top_bins: Vec::new(),
        top_bins_decide: false,
        detectors: Vec::new(),
        threshold_set_id: Some(ThresholdSetId(1)),
        bundle_digest: Some(BundleDigest([1; 32])),
        baseline_id: None,
        replay: false,
        delayed_by_ms: None,
        growth_per_day: None,
        above_alert_since: None,
        shown: None,
        line_hint: None,
        kept_by: None,
        flood: None,
        dedup_key: dedup_key(incident),
    };
    NewPage {
        page_key: page_key(incident, reason, now),
        incident,
        action: reason.action(),
        payload_json: serde_json::to_string(&payload).unwrap(),
    }
}

/// Impatient settings for one webhook.
pub(crate) fn webhook(url: &str) -> Config {
    let destination = Destination::Webhook(Webhook::new("hook", url));
    Config {
        destinations: vec![destination],
        ..impatient()
    }
}

pub(crate) fn impatient() -> Config {
    Config {
        poll_ms: 20,
        flood_wait_ms: 0,
        request_timeout_ms: 500,
        lease_ms: 5_000,
        backoff_first_ms: 10,
        backoff_limit_ms: 300_000,
        ..Config::default()
    }
}
