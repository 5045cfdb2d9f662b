//! What a report on alarms and pages is made from.

use tocsin_domain::{IncidentId, Label, Scope, Severity, Timestamp};
use tocsin_store::Store;
use tocsin_store::label::{NewLabel, Window};
use tocsin_store::performance::UntoldPages;

use crate::baselines::{open, small_fleet};
use crate::stage::{Fleet, at, noon, with_store};

/// A page of an incident at a destination, with the outcomes of its attempts, ten seconds apart from its creation.
async fn page(store: &Store, incident: IncidentId, key: &str, created: Timestamp, outcomes: &[&str]) {
    let outbox: i64 = sqlx::query_scalar(
        "insert into outbox (page_key, incident_id, action, payload, created_at)
         values ($1, $2, 'trigger', '{}', $3::timestamptz) returning outbox_id",
    )
    .bind(key)
    .bind(incident.0)
    .bind(created.to_string())
    .fetch_one(store.pool())
    .await
    .unwrap();
    let delivery: i64 = sqlx::query_scalar(
        "insert into delivery (outbox_id, destination, state, next_at) values ($1, 'on-call', 'waiting', now()) returning delivery_id",
    )
    .bind(outbox)
    .fetch_one(store.pool())
    .await
    .unwrap();
    for (attempt, outcome) in (1_i32..).zip(outcomes) {
        sqlx::query(
            "insert into delivery_attempt (delivery_id, attempt, at, outcome, answer)
             values ($1, $2, $3::timestamptz + $2 * interval '10 s', $4, '')",
        )
        .bind(delivery)
        .bind(attempt)
        .bind(created.to_string())
        .bind(outcome)
        .execute(store.pool())
        .await
        .unwrap();
    }
}

async fn keep_one(store: &Store, fleet: &Fleet, incident: IncidentId) {
    let kept = "with s as (insert into suppression (machine_id, kind, from_at, until, one_shot, by, reason)
                           values ($1, 'shelved', $3::timestamptz, $3::timestamptz + interval '1 h', false, 'ana', 'noise')
                           returning suppression_id)
                insert into suppressed_page (suppression_id, incident_id, page_key, action, payload, decided_at)
                select suppression_id, $2, 'kept', 'trigger', '{}', $3::timestamptz from s";
    sqlx::query(kept)
        .bind(fleet.one.machine.0)
        .bind(incident.0)
        .bind(at(150).to_string())
        .execute(store.pool())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_page_is_told_when_it_was_first_not_refused_and_what_was_kept_is_counted_apart() {
    with_store("performance", async |store| {
        let fleet = small_fleet(&store).await;
        let incident = open(&store, &fleet, Severity::Page, at(100)).await;
        page(
            &store,
            incident.id,
            "one",
            at(100),
            &["refused", "unknown", "delivered"],
        )
        .await;
        page(&store, incident.id, "two", at(140), &["refused"]).await;
        keep_one(&store, &fleet, incident.id).await;
        let label = NewLabel {
            machine: fleet.one.machine,
            window: Window::Free(at(0), at(200)),
            label: Label::FalseAlarm,
            mode: String::new(),
            note: String::new(),
            by: "ana".to_owned(),
        };
        store
            .label_append(&Scope::All, &label, noon(), crate::labels::audit)
            .await
            .unwrap();

        let told = store.performance_told(&Scope::All, at(0), at(200)).await.unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].at, told[0].destination.as_str()), (at(120), "on-call"));
        assert_eq!(told[0].label, None, "an incident that is open goes on after the window");
        assert_eq!(store.performance_told(&Scope::All, at(121), at(200)).await.unwrap(), []);
        let own = NewLabel {
            window: Window::Incident(incident.id),
            ..label
        };
        store
            .label_append(&Scope::All, &own, noon(), crate::labels::audit)
            .await
            .unwrap();
        let told = store.performance_told(&Scope::All, at(0), at(200)).await.unwrap();
        assert_eq!(told[0].label, Some(Label::FalseAlarm));

        let untold = store.performance_untold(&Scope::All, at(0), at(200)).await.unwrap();
        let counted = UntoldPages {
            suppressed: 1,
            released: 0,
            untold: 1,
        };
        assert_eq!(untold, counted);
        let elsewhere = fleet.south_only();
        assert_eq!(store.performance_told(&elsewhere, at(0), at(200)).await.unwrap(), []);
        let nothing = store.performance_untold(&elsewhere, at(0), at(200)).await.unwrap();
        assert_eq!(nothing, UntoldPages::default());
    })
    .await;
}

#[tokio::test]
async fn alarms_of_a_period_are_those_that_were_active_in_it() {
    with_store("performance_alarms", async |store| {
        let fleet = small_fleet(&store).await;
        open(&store, &fleet, Severity::Alert, at(100)).await;
        let found = async |scope: &Scope, from, to| store.performance_alarms(scope, at(from), at(to)).await.unwrap();
        assert_eq!(found(&Scope::All, 0, 100).await, []);
        let active = found(&fleet.north_only(), 500, 600).await;
        assert_eq!(active.len(), 1, "it is still open");
        assert_eq!((active[0].opened_at, active[0].severity), (at(100), Severity::Alert));
        assert_eq!((active[0].step, active[0].acknowledged_at), (fleet.class.step, None));
        assert_eq!(found(&fleet.south_only(), 0, 600).await, []);
        let machines = store.performance_machines(&fleet.north_only()).await.unwrap();
        assert_eq!(
            machines.iter().filter(|one| one.machine == fleet.one.machine).count(),
            1
        );
    })
    .await;
}
