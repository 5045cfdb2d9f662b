use std::time::Duration;

use tocsin_domain::{
    IncidentState, ReadingKey, Scope, SensorAlarmChange, SensorAlarmKind, SensorAlarmSubject, SensorId, SensorSignal,
};
use tocsin_store::fleet::{MachineQuery, NewSensor};
use tocsin_store::outbox::canary::{WATCHDOG, canaries_insert};
use tocsin_store::outbox::{AfterAttempt, AttemptOutcome, FinishedAttempt};
use tocsin_store::sensor_alarm::SensorAlarmQuery;
use tocsin_store::signal::{signals_lock, signals_write};
use tocsin_store::{Error, Store};

use crate::stage::{at, fleet, slug, with_store};

fn signal(sensor: SensorId) -> SensorSignal {
    SensorSignal {
        sensor,
        gateway: None,
        received_at: at(20),
        captured_at: at(19),
        arrival_gaps_ms: vec![10_000, 9_999],
        capture_gaps_ms: vec![10_000],
        spectrum_hash: -7,
        same_since: at(9),
        same_count: 2,
        stopped: Some(false),
    }
}

async fn hear(store: &Store, signals: &[SensorSignal]) {
    let mut tx = store.begin().await.unwrap();
    signals_write(&mut tx, signals).await.unwrap();
    tx.commit().await.unwrap();
}

async fn round(store: &Store, second: u64, changes: &[SensorAlarmChange]) {
    let round = store.silence_round().await.unwrap().expect("nobody else watches");
    round.finish(changes, at(0), at(second)).await.unwrap();
}

#[tokio::test]
async fn what_was_heard_is_read_back_and_a_sensor_that_has_gone_is_left_out() {
    with_store("signals", async |store| {
        let fleet = fleet(&store).await;
        let first = signal(fleet.one.id);
        hear(&store, &[first.clone(), signal(SensorId(9_999))]).await;
        let later = SensorSignal {
            received_at: at(30),
            stopped: None,
            arrival_gaps_ms: Vec::new(),
            ..first
        };
        hear(&store, std::slice::from_ref(&later)).await;
        let mut tx = store.begin().await.unwrap();
        let known = signals_lock(&mut tx, &[fleet.one.id, fleet.two.id]).await.unwrap();
        assert_eq!(known.into_values().collect::<Vec<_>>(), [later]);
    })
    .await;
}

#[tokio::test]
async fn an_alarm_lives_from_raised_to_acknowledged_within_its_site_and_its_events_stay() {
    with_store("sensor_alarms", async |store| {
        let fleet = fleet(&store).await;
        hear(&store, &[signal(fleet.one.id)]).await;
        let subject = SensorAlarmSubject::Silent(fleet.one.id);
        round(&store, 100, &[SensorAlarmChange::Raise { subject, since: at(20) }]).await;
        let query = SensorAlarmQuery {
            open_only: true,
            limit: 10,
            ..SensorAlarmQuery::default()
        };
        let list = async |scope: &Scope| store.sensor_alarm_list(scope, &query).await.unwrap();
        assert!(list(&fleet.south_only()).await.is_empty());
        let alarm = list(&fleet.north_only()).await.remove(0);
        assert_eq!((alarm.kind, alarm.since), (SensorAlarmKind::SilentSensor, at(20)));
        assert_eq!(alarm.sensor, Some((slug("one"), slug("h"))));
        assert_eq!(alarm.state, IncidentState::ActiveUnacknowledged);

        let id = alarm.id;
        round(&store, 110, &[SensorAlarmChange::Return { id }]).await;
        round(&store, 200, &[SensorAlarmChange::RaiseAgain { id, since: at(115) }]).await;
        let take = async |scope: &Scope| {
            store
                .sensor_alarm_acknowledge(scope, id, ("ana", "cable"), at(210), tocsin_scratch::audit)
                .await
        };
        assert!(matches!(take(&fleet.south_only()).await, Err(Error::NotFound { .. })));
        let taken = take(&fleet.north_only()).await.unwrap();
        assert!(matches!(taken.state, IncidentState::ActiveAcknowledged { .. }));
        assert!(matches!(take(&fleet.north_only()).await, Err(Error::Conflict { .. })));
        round(&store, 220, &[SensorAlarmChange::Return { id }]).await;
        assert!(list(&Scope::All).await.is_empty());
        let events = store.sensor_alarm_events(&Scope::All, id).await.unwrap();
        let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["raised", "returned", "raised", "acknowledged", "returned"]);
        let changed = sqlx::query("delete from sensor_alarm_event")
            .execute(store.pool())
            .await;
        assert!(changed.unwrap_err().to_string().contains("append-only"));
    })
    .await;
}

#[tokio::test]
async fn one_watches_at_a_time_and_a_sensor_never_heard_waits() {
    with_store("silence_round", async |store| {
        let fleet = fleet(&store).await;
        hear(&store, &[signal(fleet.one.id)]).await;
        let first = store.silence_round().await.unwrap().expect("nobody else watches");
        assert_eq!((first.watched_at, first.sensors.len()), (None, 1));
        assert!(store.silence_round().await.unwrap().is_none());
        first.finish(&[], at(5), at(30)).await.unwrap();
        let next = store.silence_round().await.unwrap().expect("the first is done");
        assert_eq!((next.watched_at, next.listening_since), (Some(at(30)), Some(at(5))));
        let waiting = store.sensors_waiting(&fleet.north_only(), None, 10).await.unwrap();
        let names: Vec<String> = waiting.iter().map(|w| w.machine.to_string()).collect();
        assert_eq!(names, ["two"]);
    })
    .await;
}

#[tokio::test]
async fn a_canary_is_in_no_list_and_its_mark_goes_the_way_of_a_page_to_nobody_else() {
    with_store("canary", async |store| {
        let fleet = fleet(&store).await;
        let new = NewSensor {
            site: slug("north"),
            machine: slug("canary"),
            device: None,
            name: slug("heartbeat"),
            class: slug("tocsin-canary"),
            spec: slug("tocsin-canary"),
        };
        let canary = store
            .sensor_create(&Scope::All, &new, at(0), tocsin_scratch::audit)
            .await
            .unwrap()
            .sensor;
        hear(&store, &[signal(canary.id)]).await;
        let machines = store
            .machine_overviews(&Scope::All, &MachineQuery::default())
            .await
            .unwrap();
        let sensors = store.sensor_list(&Scope::All, None, None).await.unwrap();
        let (classes, specs) = (store.class_list().await.unwrap(), store.spec_list().await.unwrap());
        assert_eq!(
            (machines.len(), sensors.len(), classes.len(), specs.len()),
            (3, 3, 1, 1)
        );
        assert!(
            store
                .silence_round()
                .await
                .unwrap()
                .expect("a round")
                .sensors
                .is_empty()
        );
        let zones = store.severity_classes(Some(canary.class)).await.unwrap();
        assert_eq!(zones[0].version, 1, "it is judged");
        let lease = Duration::from_secs(30);
        let ready = store.commissioning_lease(&fleet.north_only(), at(0), lease, 10).await;
        assert!(ready.unwrap().is_empty());

        let key = ReadingKey {
            sensor: canary.id,
            captured_at: at(1),
        };
        for _ in 0..2 {
            let mut tx = store.begin().await.unwrap();
            canaries_insert(&mut tx, &[(key, at(2))]).await.unwrap();
            tx.commit().await.unwrap();
        }
        let duty = "duty".to_owned();
        assert!(
            store
                .pages_owed(std::slice::from_ref(&duty), at(0), &[])
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(store.canaries_fan_out(at(3), at(3)).await.unwrap(), 0, "too old");
        assert_eq!(store.canaries_fan_out(at(0), at(3)).await.unwrap(), 1);
        assert_eq!(store.canaries_fan_out(at(0), at(3)).await.unwrap(), 0, "once");
        assert!(
            store
                .deliveries_lease(WATCHDOG, at(3), lease, 10)
                .await
                .unwrap()
                .is_empty()
        );
        let leased = store.canaries_lease(at(3), lease).await.unwrap().remove(0);
        assert_eq!(
            (&leased.site, leased.received_at, leased.attempt),
            (&slug("north"), at(2), 1)
        );
        assert!(store.canaries_lease(at(4), lease).await.unwrap().is_empty());
        let finished = FinishedAttempt {
            remaining: Vec::new(),
            delivery: leased.id,
            attempt: leased.attempt,
            at: at(4),
            outcome: AttemptOutcome::Delivered,
            answer: "a heartbeat went out".to_owned(),
            after: AfterAttempt::Done,
        };
        store.delivery_record(&finished).await.unwrap();
        store.canaries_forget(at(2)).await.unwrap();
        let marks = async || {
            let marks: i64 = sqlx::query_scalar("select count(*) from outbox")
                .fetch_one(store.pool())
                .await
                .unwrap();
            marks
        };
        assert_eq!(marks().await, 1);
        store.canaries_forget(at(3)).await.unwrap();
        assert_eq!(marks().await, 0);
    })
    .await;
}
