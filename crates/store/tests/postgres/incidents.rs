use std::collections::BTreeMap;
use std::time::Duration;

use tocsin_domain::{
    BundleId, Detector, IncidentId, IncidentState, Level, MachineId, PageAction, Scope, Severity, Slug, ThresholdSetId,
    Timestamp,
};
use tocsin_store::incident::{
    Incident, IncidentQuery, NewEvidence, NewIncident, evidence_insert, incident_insert, incident_lock,
    incident_update, incidents_open,
};
use tocsin_store::machine::{
    EventKind, MachineChange, MachineState, NewEvent, machines_lock, machines_to_fold, machines_try_lock,
    machines_update,
};
use tocsin_store::outbox::{
    AfterAttempt, AttemptOutcome, DeliveryState, FinishedAttempt, NewPage, deliveries_insert, page_insert,
};
use tocsin_store::reading::readings_insert;
use tocsin_store::{Error, Store, Transaction};

use crate::stage::{Fleet, at, fleet, reading, with_store};

fn new_incident(fleet: &Fleet) -> NewIncident {
    NewIncident {
        machine: fleet.one.machine,
        severity: Severity::Page,
        opened_at: at(10),
        paged_at: Some(at(10)),
        deciding_sensor: fleet.one.id,
        deciding_detector: Detector::Growth,
        level: Level(2.5),
        threshold_set: Some(ThresholdSetId(7)),
        bundle: Some(BundleId(3)),
        replay: true,
    }
}

async fn open(store: &Store, fleet: &Fleet) -> Incident {
    let mut transaction = store.begin().await.unwrap();
    machines_lock(&mut transaction, &[fleet.one.machine]).await.unwrap();
    let incident = incident_insert(&mut transaction, &new_incident(fleet)).await.unwrap();
    let opened = MachineChange {
        state: MachineState {
            open_incident: Some(incident.id),
            ..state(fleet.one.machine, 0)
        },
        events: Vec::new(),
    };
    machines_update(&mut transaction, &[opened]).await.unwrap();
    let page = NewPage {
        page_key: format!("tocsin-{}", incident.id),
        incident: incident.id,
        action: PageAction::Trigger,
        payload_json: r#"{"machine": "one"}"#.to_owned(),
    };
    assert!(page_insert(&mut transaction, &page, at(10)).await.unwrap());
    assert!(!page_insert(&mut transaction, &page, at(11)).await.unwrap());
    transaction.commit().await.unwrap();
    incident
}

/// Gives every destination everything it is owed since a second; answers how many deliveries are new.
async fn fan_out(store: &Store, destinations: &[String], since: u64) -> u64 {
    let pages = store.pages_owed(destinations, at(since), &[]).await.unwrap();
    let owed: Vec<_> = pages
        .iter()
        .flat_map(|owed| destinations.iter().map(|name| (owed.page.id, name.clone())))
        .collect();
    let mut conn = store.acquire().await.unwrap();
    deliveries_insert(&mut conn, &owed, &BTreeMap::new(), at(20))
        .await
        .unwrap()
}

fn state(machine: MachineId, last_seq: i64) -> MachineState {
    MachineState {
        machine,
        newest_step: Some(at(10)),
        last_seq,
        open_incident: None,
        hot_until: None,
        suppression: None,
    }
}

async fn append(conn: &mut Transaction, state: MachineState, events: &[NewEvent]) -> Result<(), Error> {
    let events = events.to_vec();
    machines_update(conn, &[MachineChange { state, events }]).await
}

#[tokio::test]
async fn a_hot_machine_is_folded_until_its_time() {
    with_store("hot", async |store| {
        let machine = fleet(&store).await.one.machine;
        let mut transaction = store.begin().await.unwrap();
        machines_lock(&mut transaction, &[machine]).await.unwrap();
        let hot = MachineState {
            hot_until: Some(at(30)),
            ..state(machine, 0)
        };
        append(&mut transaction, hot, &[]).await.unwrap();
        for (second, folded) in [(30, true), (31, false)] {
            let found = machines_to_fold(&mut transaction, &[(machine, at(second))])
                .await
                .unwrap();
            assert_eq!(!found.is_empty(), folded, "at {second} s");
        }
    })
    .await;
}

fn event(incident: Option<IncidentId>, at: Timestamp, kind: EventKind) -> NewEvent {
    NewEvent {
        incident,
        at,
        kind,
        payload_json: r#"{"level": 2.5}"#.to_owned(),
    }
}

#[tokio::test]
async fn a_locked_machine_is_skipped_by_those_who_try_and_awaited_by_those_who_lock() {
    with_store("locks", async |store| {
        let Fleet { one, two, .. } = fleet(&store).await;
        let both = [two.machine, one.machine];
        let mut holder = store.begin().await.unwrap();
        assert_eq!(machines_lock(&mut holder, &[one.machine]).await.unwrap().len(), 1);

        let mut trying = store.begin().await.unwrap();
        let got: Vec<_> = machines_try_lock(&mut trying, &[two.machine]).await.unwrap();
        assert_eq!(got.iter().map(|state| state.machine).collect::<Vec<_>>(), [two.machine]);
        trying.rollback().await.unwrap();

        let step = event(None, at(1), EventKind::Step);
        append(&mut holder, state(one.machine, 0), &[step]).await.unwrap();
        let mut waiting = tokio::spawn({
            let store = store.clone();
            async move {
                let mut transaction = store.begin().await.unwrap();
                machines_lock(&mut transaction, &both).await.unwrap()
            }
        });
        let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
        assert!(early.is_err(), "the lock was given twice");
        holder.commit().await.unwrap();
        let states = waiting.await.unwrap();
        assert_eq!(
            states.iter().map(|state| state.machine).collect::<Vec<_>>(),
            [one.machine, two.machine]
        );
        assert_eq!(states[0].last_seq, 1, "what the holder committed is seen");

        let mut holder = store.begin().await.unwrap();
        machines_lock(&mut holder, &[one.machine]).await.unwrap();
        let mut trying = store.begin().await.unwrap();
        let got = machines_try_lock(&mut trying, &both).await.unwrap();
        assert_eq!(got.iter().map(|state| state.machine).collect::<Vec<_>>(), [two.machine]);
    })
    .await;
}

#[tokio::test]
async fn a_machine_has_one_open_incident_at_most() {
    with_store("one_open", async |store| {
        let fleet = fleet(&store).await;
        let incident = open(&store, &fleet).await;
        let mut transaction = store.begin().await.unwrap();
        let machines = [fleet.one.machine, fleet.two.machine];
        let folded = machines_to_fold(&mut transaction, &machines.map(|machine| (machine, at(20)))).await;
        assert_eq!(folded.unwrap(), [fleet.one.machine]);
        assert_eq!(
            incidents_open(&mut transaction, &machines).await.unwrap(),
            std::slice::from_ref(&incident)
        );
        let error = incident_insert(&mut transaction, &new_incident(&fleet))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
        transaction.rollback().await.unwrap();

        let mut transaction = store.begin().await.unwrap();
        let cleared = Incident {
            state: incident.state.clone().clear(at(50)).unwrap(),
            ..incident
        };
        incident_update(&mut transaction, &cleared).await.unwrap();
        let next = incident_insert(&mut transaction, &new_incident(&fleet)).await.unwrap();
        transaction.commit().await.unwrap();
        let query = IncidentQuery {
            open_only: true,
            limit: 9,
            ..IncidentQuery::default()
        };
        let open = store.incident_list(&Scope::All, &query).await.unwrap();
        assert_eq!(
            open.iter().map(|listing| &listing.incident).collect::<Vec<_>>(),
            [&next]
        );
        assert_eq!(
            store.incident_get(&Scope::All, cleared.id).await.unwrap().incident,
            cleared
        );
    })
    .await;
}

#[tokio::test]
async fn a_journal_is_dense_and_refuses_a_writer_who_is_behind() {
    with_store("journal", async |store| {
        let fleet = fleet(&store).await;
        let (machine, incident) = (fleet.one.machine, open(&store, &fleet).await.id);
        let mut transaction = store.begin().await.unwrap();
        let events = [
            event(None, at(1), EventKind::Step),
            event(Some(incident), at(2), EventKind::Opened),
        ];
        append(&mut transaction, state(machine, 0), &events).await.unwrap();
        append(&mut transaction, state(machine, 2), &events[1..]).await.unwrap();
        let behind = append(&mut transaction, state(machine, 2), &events).await.unwrap_err();
        assert!(matches!(behind, Error::Conflict { .. }), "{behind}");
        transaction.commit().await.unwrap();
        let seqs: Vec<i64> = sqlx::query_scalar("select seq from machine_event where machine_id = $1 order by seq")
            .bind(machine.0)
            .fetch_all(store.pool())
            .await
            .unwrap();
        assert_eq!(seqs, [1, 2, 3]);
        let about = store.journal_by_incident(&Scope::All, incident, 1).await.unwrap();
        let found: Vec<_> = about.events.iter().map(|event| (event.seq, event.kind)).collect();
        assert_eq!(found, [(2, EventKind::Opened), (3, EventKind::Opened)]);
        assert_eq!(about.events[0].payload_json, events[0].payload_json);
    })
    .await;
}

#[tokio::test]
async fn a_long_incident_keeps_all_that_happened_to_it_and_its_newest_steps() {
    with_store("long_journal", async |store| {
        let fleet = fleet(&store).await;
        let (machine, incident) = (fleet.one.machine, open(&store, &fleet).await.id);
        let steps = |from: u64, to: u64| (from..to).map(|second| event(Some(incident), at(second), EventKind::Step));
        let events: Vec<_> = steps(0, 3)
            .chain([event(Some(incident), at(3), EventKind::Opened)])
            .chain(steps(4, 700))
            .chain([event(Some(incident), at(700), EventKind::Acknowledged)])
            .chain(steps(701, 1_500))
            .chain([event(Some(incident), at(1_500), EventKind::Cleared)])
            .collect();
        let mut transaction = store.begin().await.unwrap();
        append(&mut transaction, state(machine, 0), &events).await.unwrap();
        transaction.commit().await.unwrap();
        let about = store.journal_by_incident(&Scope::All, incident, 1_000).await.unwrap();
        assert_eq!(about.events.len(), 1_003);
        assert!(about.events.is_sorted_by_key(|event| event.seq));
        let happened: Vec<_> = about
            .events
            .iter()
            .filter(|event| event.kind != EventKind::Step)
            .collect();
        assert_eq!(
            happened.iter().map(|event| event.kind).collect::<Vec<_>>(),
            [EventKind::Opened, EventKind::Acknowledged, EventKind::Cleared]
        );
        assert_eq!(about.events[0].kind, EventKind::Opened);
        assert_eq!((about.events[1].seq, about.earlier_steps), (500, 498));
    })
    .await;
}

#[tokio::test]
async fn an_acknowledged_incident_keeps_who_and_when_through_its_end() {
    with_store("acknowledge", async |store| {
        let fleet = fleet(&store).await;
        let opened = open(&store, &fleet).await;
        let mut transaction = store.begin().await.unwrap();
        let (machine, listing) = incident_lock(&mut transaction, &fleet.north_only(), opened.id)
            .await
            .unwrap();
        assert_eq!(machine.open_incident, Some(opened.id));
        let mut incident = listing.incident;
        incident.state = incident.state.acknowledge("ana".to_owned(), at(20)).unwrap();
        incident.acknowledged_at = Some(at(20));
        incident_update(&mut transaction, &incident).await.unwrap();
        incident.state = incident.state.clear(at(30)).unwrap();
        incident_update(&mut transaction, &incident).await.unwrap();
        transaction.commit().await.unwrap();
        let found = store.incident_get(&Scope::All, opened.id).await.unwrap();
        assert_eq!(found.incident, incident);
        assert_eq!(
            found.incident.state,
            IncidentState::Normal {
                at: at(30),
                by: "ana".to_owned()
            }
        );
        let names = [
            &found.site_name,
            &found.machine_name,
            &found.class_name,
            &found.deciding_sensor_name,
        ];
        assert_eq!(names.map(Slug::as_str), ["north", "one", "pump", "h"]);
    })
    .await;
}

#[tokio::test]
async fn an_incident_of_another_site_is_hidden_from_every_call() {
    with_store("incident_scope", async |store| {
        let fleet = fleet(&store).await;
        let incident = open(&store, &fleet).await.id;
        let mut transaction = store.begin().await.unwrap();
        readings_insert(&mut transaction, &[reading(fleet.one.id, at(11), 1)])
            .await
            .unwrap();
        let evidence = NewEvidence {
            key: reading(fleet.one.id, at(11), 1).key,
            machine: fleet.one.machine,
            incident: Some(incident),
            bin_error: Some(vec![1; 128]),
        };
        assert_eq!(
            evidence_insert(&mut transaction, std::slice::from_ref(&evidence))
                .await
                .unwrap(),
            1
        );
        assert_eq!(evidence_insert(&mut transaction, &[evidence]).await.unwrap(), 0);
        let step = event(Some(incident), at(11), EventKind::Step);
        append(&mut transaction, state(fleet.one.machine, 0), &[step])
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        let all = IncidentQuery {
            limit: 9,
            ..IncidentQuery::default()
        };
        for (scope, seen) in [(fleet.north_only(), 1), (fleet.south_only(), 0)] {
            assert_eq!(store.incident_list(&scope, &all).await.unwrap().len(), seen);
            assert_eq!(usize::from(store.incident_get(&scope, incident).await.is_ok()), seen);
            assert_eq!(store.evidence_list(&scope, incident, 9).await.unwrap().len(), seen);
            let kept = store.evidence_bin_error(&scope, fleet.one.id, at(11)).await.unwrap();
            assert_eq!(usize::from(kept.is_some()), seen);
            assert_eq!(store.pages_by_incident(&scope, incident).await.unwrap().len(), seen);
            let about = store.journal_by_incident(&scope, incident, 9).await.unwrap();
            assert_eq!(about.events.len(), seen);
            let mut transaction = store.begin().await.unwrap();
            let locked = incident_lock(&mut transaction, &scope, incident).await;
            assert_eq!(usize::from(locked.is_ok()), seen);
        }
        let period = (at(0), at(100));
        let healthy = store
            .machines_healthy(&Scope::All, fleet.class.id, period)
            .await
            .unwrap();
        assert!(
            !healthy.contains(&fleet.one.machine),
            "a machine with an incident teaches no limits"
        );
    })
    .await;
}

#[tokio::test]
async fn a_page_is_owed_until_it_is_delivered_and_every_attempt_is_on_record() {
    with_store("delivery", async |store| {
        let fleet = fleet(&store).await;
        let incident = open(&store, &fleet).await.id;
        let resolve = NewPage {
            page_key: format!("tocsin-{incident}"),
            incident,
            action: PageAction::Resolve,
            payload_json: "{}".to_owned(),
        };
        let mut transaction = store.begin().await.unwrap();
        page_insert(&mut transaction, &resolve, at(20)).await.unwrap();
        transaction.commit().await.unwrap();
        let destinations = ["hook".to_owned(), "ops".to_owned()];
        assert_eq!(
            fan_out(&store, &destinations, 21).await,
            2,
            "to each what opened an open incident, however long ago, and nothing else of it"
        );
        assert_eq!(fan_out(&store, &destinations[..1], 0).await, 1, "the resolve");
        assert_eq!(fan_out(&store, &destinations[..1], 0).await, 0);

        let lease = Duration::from_secs(30);
        let first = store.deliveries_lease("hook", at(21), lease, 9).await.unwrap();
        assert_eq!(first.len(), 1, "the resolve waits for its trigger");
        assert_eq!((first[0].page.action, first[0].attempt), (PageAction::Trigger, 1));
        assert!(first[0].must_arrive);
        assert!(
            store
                .deliveries_lease("hook", at(22), lease, 9)
                .await
                .unwrap()
                .is_empty()
        );

        // Nobody says how the first attempt ended; the second is refused, the third delivered.
        let second = store.deliveries_lease("hook", at(51), lease, 9).await.unwrap();
        assert_eq!((second[0].id, second[0].attempt), (first[0].id, 2));
        let mut attempt = FinishedAttempt {
            remaining: Vec::new(),
            delivery: second[0].id,
            attempt: 2,
            at: at(52),
            outcome: AttemptOutcome::Refused,
            answer: "503".to_owned(),
            after: AfterAttempt::RetryAt(at(60)),
        };
        store.delivery_record(&attempt).await.unwrap();
        assert!(
            store
                .deliveries_lease("hook", at(59), lease, 9)
                .await
                .unwrap()
                .is_empty()
        );
        attempt.attempt = store.deliveries_lease("hook", at(60), lease, 9).await.unwrap()[0].attempt;
        (attempt.at, attempt.outcome) = (at(61), AttemptOutcome::Delivered);
        (attempt.answer, attempt.after) = ("200".to_owned(), AfterAttempt::Done);
        store.delivery_record(&attempt).await.unwrap();
        let resolve = store.deliveries_lease("hook", at(62), lease, 9).await.unwrap();
        assert_eq!(resolve[0].page.action, PageAction::Resolve);
        assert!(!resolve[0].must_arrive);

        let pages = store.pages_by_incident(&Scope::All, incident).await.unwrap();
        assert_eq!(
            (pages.len(), pages[0].state, pages[1].state),
            (3, DeliveryState::Delivered, DeliveryState::Waiting)
        );
        let outcomes: Vec<_> = pages[0].attempts.iter().map(|attempt| attempt.outcome).collect();
        let [unknown, refused] = [AttemptOutcome::Unknown, AttemptOutcome::Refused];
        assert_eq!(outcomes, [unknown, refused, AttemptOutcome::Delivered]);
    })
    .await;
}

#[tokio::test]
async fn what_opened_an_incident_is_owed_and_must_arrive_only_while_it_is_open() {
    with_store("owed", async |store| {
        let fleet = fleet(&store).await;
        let incident = open(&store, &fleet).await.id;
        let hook = ["hook".to_owned()];
        assert_eq!(fan_out(&store, &hook, 21).await, 1);
        let mut transaction = store.begin().await.unwrap();
        let (_, mut listing) = incident_lock(&mut transaction, &Scope::All, incident).await.unwrap();
        listing.incident.state = listing.incident.state.clear(at(22)).unwrap();
        incident_update(&mut transaction, &listing.incident).await.unwrap();
        transaction.commit().await.unwrap();
        let leased = store
            .deliveries_lease("hook", at(23), Duration::from_secs(9), 9)
            .await
            .unwrap();
        assert!(!leased[0].must_arrive);
        let ops = ["ops".to_owned()];
        assert_eq!(fan_out(&store, &ops, 21).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_page_is_owed_until_everybody_has_it_or_it_is_settled_and_knows_who_was_told() {
    with_store("told", async |store| {
        let fleet = fleet(&store).await;
        let incident = open(&store, &fleet).await.id;
        let both = ["hook".to_owned(), "ops".to_owned()];
        let owed = store.pages_owed(&both, at(0), &[]).await.unwrap();
        assert_eq!(
            (owed.len(), owed[0].page.incident, owed[0].told.len()),
            (1, incident, 0)
        );
        let id = owed[0].page.id;
        assert_eq!(store.pages_owed(&both, at(0), &[id]).await.unwrap(), []);
        let twice = [(id, "hook".to_owned()), (id, "hook".to_owned())];
        let mut conn = store.acquire().await.unwrap();
        assert_eq!(
            deliveries_insert(&mut conn, &twice, &BTreeMap::new(), at(20))
                .await
                .unwrap(),
            1
        );
        assert_eq!(store.pages_owed(&both[..1], at(0), &[]).await.unwrap(), []);
        let owed = store.pages_owed(&both, at(0), &[]).await.unwrap();
        assert_eq!(owed[0].settled, ["hook"]);
        assert_eq!(owed[0].told, [""; 0], "by this page, and by none before it");
    })
    .await;
}

#[tokio::test]
async fn two_pagers_never_lease_the_same_delivery() {
    with_store("lease_race", async |store| {
        let fleet = fleet(&store).await;
        open(&store, &fleet).await;
        let destinations: Vec<String> = (0..20).map(|number| format!("hook-{number}")).collect();
        fan_out(&store, &destinations, 0).await;
        let racing: Vec<_> = (0..4)
            .map(|_| {
                let store = store.clone();
                let destinations = destinations.clone();
                tokio::spawn(async move {
                    let mut leased = Vec::new();
                    for destination in &destinations {
                        let lease = store.deliveries_lease(destination, at(20), Duration::from_secs(9), 7);
                        leased.extend(lease.await.unwrap());
                    }
                    leased
                })
            })
            .collect();
        let mut leased = Vec::new();
        for pager in racing {
            leased.extend(pager.await.unwrap().into_iter().map(|delivery| delivery.id));
        }
        let count = leased.len();
        leased.sort();
        leased.dedup();
        assert_eq!((leased.len(), count), (destinations.len(), destinations.len()));
    })
    .await;
}
