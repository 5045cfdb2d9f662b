//! What people label, and what that does to the readings that count as healthy.

use tocsin_domain::{Detector, Label, Scope, Severity, Timestamp, Verdict};
use tocsin_store::access::NewAuditEntry;
use tocsin_store::incident::{Incident, incident_update};
use tocsin_store::label::{LabelQuery, MachineLabel, NewLabel, Window};
use tocsin_store::{Error, Store};

use crate::baselines::{keep, lease, open, readings, small_fleet};
use crate::stage::{Fleet, at, noon, with_store};

async fn label(store: &Store, fleet: &Fleet, window: Window, label: Label) -> MachineLabel {
    let mode = if label.is_failure() { "outer_race" } else { "" };
    let new = NewLabel {
        machine: fleet.one.machine,
        window,
        label,
        mode: mode.to_owned(),
        note: "seen in the workshop".to_owned(),
        by: "ana".to_owned(),
    };
    store
        .label_append(&fleet.north_only(), &new, noon(), audit)
        .await
        .unwrap()
}

/// What the record says of a label.
pub(crate) fn audit(label: &MachineLabel) -> NewAuditEntry {
    NewAuditEntry {
        actor: label.by.clone(),
        action: "machine.label".to_owned(),
        subject: format!("label:{}", label.id),
        detail_json: "{}".to_owned(),
    }
}

async fn clear(store: &Store, mut incident: Incident, closed_at: Timestamp) {
    incident.state = incident.state.clear(closed_at).unwrap();
    let mut transaction = store.begin().await.unwrap();
    incident_update(&mut transaction, &incident).await.unwrap();
    transaction.commit().await.unwrap();
}

/// Machines of the class that limits may be learned from.
async fn healthy(store: &Store, fleet: &Fleet) -> usize {
    let period = (at(0), at(300));
    let machines = store
        .machines_healthy(&fleet.north_only(), fleet.class.id, period)
        .await;
    machines.unwrap().len()
}

#[tokio::test]
async fn a_later_label_of_the_same_window_stands_for_the_earlier_one_and_both_stay_on_record() {
    with_store("label_record", async |store| {
        let fleet = small_fleet(&store).await;
        let incident = open(&store, &fleet, Severity::Page, at(100)).await;
        let first = label(&store, &fleet, Window::Incident(incident.id), Label::FalseAlarm).await;
        assert_eq!((first.from, first.to, first.in_force), (at(100), None, true));
        let second = label(&store, &fleet, Window::Incident(incident.id), Label::TrueFailure).await;
        assert_eq!((second.mode.as_str(), second.by.as_str()), ("outer_race", "ana"));
        label(&store, &fleet, Window::Free(at(0), at(50)), Label::ProcessChange).await;
        clear(&store, incident.clone(), at(200)).await;
        let mut query = LabelQuery {
            machine: fleet.one.machine,
            incident: None,
        };
        let all = store.labels(&Scope::All, &query).await.unwrap();
        let told: Vec<_> = all.iter().map(|label| (label.label, label.in_force)).collect();
        assert_eq!(
            told,
            [
                (Label::ProcessChange, true),
                (Label::TrueFailure, true),
                (Label::FalseAlarm, false)
            ]
        );
        assert_eq!(all[1].to, Some(at(200)), "its window ends with the incident");
        query.incident = Some(incident.id);
        assert_eq!(store.labels(&Scope::All, &query).await.unwrap().len(), 2);
        assert_eq!(store.labels(&fleet.south_only(), &query).await.unwrap(), []);

        let between = async |scope, from, to| {
            let windows = store
                .labels_between(&scope, fleet.class.id, (at(from), at(to)))
                .await
                .unwrap();
            windows.into_iter().map(|one| (one.label, one.to)).collect::<Vec<_>>()
        };
        let (change, failure) = (
            (Label::ProcessChange, Some(at(50))),
            (Label::TrueFailure, Some(at(200))),
        );
        assert_eq!(
            between(Scope::All, 0, 300).await,
            [change, failure],
            "what stands, in order"
        );
        assert_eq!(
            between(fleet.north_only(), 50, 200).await,
            [failure],
            "the other ends before"
        );
        assert_eq!(between(fleet.north_only(), 200, 300).await, []);
        assert_eq!(between(fleet.south_only(), 0, 300).await, []);
        let open = open(&store, &fleet, Severity::Page, at(400)).await;
        label(&store, &fleet, Window::Incident(open.id), Label::FalseAlarm).await;
        let still_open = (Label::FalseAlarm, None);
        assert_eq!(between(fleet.north_only(), 450, 500).await, [still_open]);
    })
    .await;
}

#[tokio::test]
async fn a_machine_of_another_site_and_an_incident_of_another_machine_are_not_labelled() {
    with_store("label_scope", async |store| {
        let fleet = small_fleet(&store).await;
        let incident = open(&store, &fleet, Severity::Page, at(100)).await;
        let new = |machine, window| NewLabel {
            machine,
            window,
            label: Label::FalseAlarm,
            mode: String::new(),
            note: String::new(),
            by: "ana".to_owned(),
        };
        let elsewhere = new(fleet.one.machine, Window::Free(at(0), at(50)));
        let refused = store.label_append(&fleet.south_only(), &elsewhere, noon(), audit).await;
        assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
        let others = new(fleet.two.machine, Window::Incident(incident.id));
        let refused = store.label_append(&Scope::All, &others, noon(), audit).await;
        assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn a_false_alarm_is_healthy_data_again_for_commissioning_and_limits_even_where_it_was_judged_page() {
    with_store("label_false_alarm", async |store| {
        let fleet = small_fleet(&store).await;
        let mut some = readings(fleet.one.id, 0..30);
        for reading in some.iter_mut().skip(10).take(6) {
            reading.verdict = Verdict::Page { by: Detector::Growth };
        }
        keep(&store, &some).await;
        let incident = open(&store, &fleet, Severity::Page, at(100)).await;
        assert_eq!(lease(&store, noon()).await, []);
        assert_eq!(healthy(&store, &fleet).await, 1);
        label(&store, &fleet, Window::Incident(incident.id), Label::FalseAlarm).await;
        assert_eq!(healthy(&store, &fleet).await, 2, "while it is open");
        clear(&store, incident.clone(), at(200)).await;
        assert_eq!(healthy(&store, &fleet).await, 2, "and once it has cleared");
        assert_eq!(lease(&store, noon()).await.len(), 1);
        label(&store, &fleet, Window::Incident(incident.id), Label::Withdrawn).await;
        assert_eq!(
            healthy(&store, &fleet).await,
            1,
            "taken back, it is an incident as any other"
        );
    })
    .await;
}

#[tokio::test]
async fn what_was_labelled_a_failure_is_never_healthy_data_though_nothing_was_open_and_though_a_false_alarm_overlaps() {
    with_store("label_failure", async |store| {
        let fleet = small_fleet(&store).await;
        keep(&store, &readings(fleet.one.id, 0..30)).await;
        assert_eq!(healthy(&store, &fleet).await, 2);
        for failure in [Label::MissedFailure, Label::TrueFailure, Label::SensorFault] {
            label(&store, &fleet, Window::Free(at(200), at(260)), failure).await;
            assert_eq!(healthy(&store, &fleet).await, 1, "{failure}");
            assert_eq!(lease(&store, noon()).await, [], "{failure}: six readings short");
        }
        label(&store, &fleet, Window::Free(at(0), at(300)), Label::FalseAlarm).await;
        assert_eq!(healthy(&store, &fleet).await, 1);
        label(&store, &fleet, Window::Free(at(200), at(260)), Label::ProcessChange).await;
        assert_eq!(healthy(&store, &fleet).await, 2, "the machine was well after all");
        assert_eq!(lease(&store, noon()).await.len(), 1);
    })
    .await;
}
