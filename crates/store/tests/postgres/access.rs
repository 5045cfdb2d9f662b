use std::time::Duration;

use tocsin_domain::access::AutoRegistration;
use tocsin_domain::{PersonRole, Principal, Scope};
use tocsin_store::Error;
use tocsin_store::access::{AuditReport, NewAccount, NewAuditEntry, NewSession, NewToken};

use crate::stage::{Fleet, at, fleet, with_store};

fn token(fleet: &Fleet, secret: u8) -> NewToken {
    NewToken {
        site: fleet.north.id,
        name: "gateway-1".to_owned(),
        secret_hash: [secret; 32],
        may_replay: true,
        may_send_historical: false,
        auto_registration: Some(AutoRegistration {
            class: fleet.one.class,
            spec: fleet.one.spec,
        }),
        created_by: "ana".to_owned(),
        expires_at: at(100),
    }
}

#[tokio::test]
async fn a_token_stands_for_its_gateway_until_it_expires_or_is_revoked() {
    with_store("tokens", async |store| {
        let fleet = fleet(&store).await;
        let new = token(&fleet, 1);
        let made = store
            .token_create(&fleet.north_only(), &new, at(0), tocsin_scratch::audit)
            .await
            .unwrap();
        let Some(Principal::Gateway(gateway)) = store.principal_by_secret_hash(&[1; 32], at(99)).await.unwrap() else {
            panic!("the token is not known");
        };
        assert_eq!(
            (gateway.site, gateway.token, gateway.may_replay),
            (fleet.north.id, made.id, true)
        );
        assert_eq!(gateway.auto_registration, new.auto_registration);
        assert_eq!(store.principal_by_secret_hash(&[1; 32], at(100)).await.unwrap(), None);
        assert_eq!(store.principal_by_secret_hash(&[2; 32], at(0)).await.unwrap(), None);

        let revoked = store
            .token_revoke(&fleet.north_only(), made.id, at(50), tocsin_scratch::audit)
            .await
            .unwrap();
        assert_eq!(revoked.revoked_at, Some(at(50)));
        assert_eq!(
            store
                .token_revoke(&Scope::All, made.id, at(60), tocsin_scratch::audit)
                .await
                .unwrap()
                .revoked_at,
            Some(at(50))
        );
        assert_eq!(store.principal_by_secret_hash(&[1; 32], at(51)).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn tokens_of_another_site_can_be_neither_made_nor_seen_nor_revoked() {
    with_store("token_scope", async |store| {
        let fleet = fleet(&store).await;
        let elsewhere = fleet.south_only();
        let refused = store
            .token_create(&elsewhere, &token(&fleet, 1), at(0), tocsin_scratch::audit)
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::NotFound { .. }), "{refused}");
        let made = store
            .token_create(&Scope::All, &token(&fleet, 1), at(0), tocsin_scratch::audit)
            .await
            .unwrap();
        assert!(matches!(
            store
                .token_revoke(&elsewhere, made.id, at(1), tocsin_scratch::audit)
                .await,
            Err(Error::NotFound { .. })
        ));
        assert!(store.principal_by_secret_hash(&[1; 32], at(2)).await.unwrap().is_some());
        assert!(store.token_list(&elsewhere, None).await.unwrap().is_empty());
        assert_eq!(
            store
                .token_list(&fleet.north_only(), Some(&fleet.north.name))
                .await
                .unwrap(),
            [made]
        );
    })
    .await;
}

#[tokio::test]
async fn a_session_ends_by_time_by_signing_out_and_with_its_account() {
    with_store("sessions", async |store| {
        let fleet = fleet(&store).await;
        let new = NewAccount {
            name: "ana".to_owned(),
            password_hash: "$argon2id$x".to_owned(),
            role: PersonRole::Engineer,
            scope: fleet.north_only(),
        };
        let account = store.account_create(&new, at(0), tocsin_scratch::audit).await.unwrap();
        assert!(matches!(
            store.account_create(&new, at(0), tocsin_scratch::audit).await,
            Err(Error::AlreadyExists { .. })
        ));
        let (found, password) = store.account_by_name("ana").await.unwrap().unwrap();
        assert_eq!((found, password.as_deref()), (account.clone(), Some("$argon2id$x")));
        for secret in [1, 2, 3] {
            let session = NewSession {
                secret_hash: [secret; 32],
                account: account.id,
                expires_at: at(100),
            };
            store
                .session_create(&session, at(0), tocsin_scratch::audit)
                .await
                .unwrap();
        }
        let Some(Principal::Person(person)) = store.principal_by_secret_hash(&[1; 32], at(99)).await.unwrap() else {
            panic!("the session is not known");
        };
        assert_eq!(
            (person.role, &person.scope),
            (PersonRole::Engineer, &fleet.north_only())
        );
        assert_eq!(store.principal_by_secret_hash(&[1; 32], at(100)).await.unwrap(), None);
        store
            .session_end(&[2; 32], at(10), tocsin_scratch::audit)
            .await
            .unwrap();
        assert_eq!(store.principal_by_secret_hash(&[2; 32], at(11)).await.unwrap(), None);
        let disabled = store
            .account_disable("ana", at(20), tocsin_scratch::audit)
            .await
            .unwrap();
        assert_eq!(disabled.disabled_at, Some(at(20)));
        assert_eq!(store.principal_by_secret_hash(&[3; 32], at(21)).await.unwrap(), None);
        assert!(matches!(
            store.account_disable("bo", at(20), tocsin_scratch::audit).await,
            Err(Error::NotFound { .. })
        ));
    })
    .await;
}

fn done(subject: &str) -> NewAuditEntry {
    NewAuditEntry {
        actor: "ana".to_owned(),
        action: "token.revoke".to_owned(),
        subject: subject.to_owned(),
        detail_json: r#"{"token": 1, "wörd": 0.5}"#.to_owned(),
    }
}

#[tokio::test]
async fn the_audit_is_a_chain_that_holds_whoever_writes_and_lets_nothing_be_changed() {
    with_store("audit_chain", async |store| {
        assert_eq!(store.audit_verify(None).await.unwrap(), AuditReport::default());
        let writers = (0..20).map(|nth| {
            let store = store.clone();
            tokio::spawn(async move { store.audit_append(&done(&format!("token {nth}")), at(nth)).await })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap().unwrap();
        }
        let report = store.audit_verify(None).await.unwrap();
        assert_eq!((report.entries, &report.broken), (20, &None));
        assert_eq!(report.head.as_ref().unwrap().link, 20);
        for change in ["update audit set actor = 'eve'", "delete from audit", "truncate audit"] {
            let refused = sqlx::query(change).execute(store.pool()).await.unwrap_err();
            assert!(refused.to_string().contains("append-only"), "{change}: {refused}");
        }
        store.audit_append(&done("one more"), at(30)).await.unwrap();
        let later = store.audit_verify(report.head.as_ref()).await.unwrap();
        assert_eq!((later.entries, later.broken), (21, None));
    })
    .await;
}

#[tokio::test]
async fn whoever_goes_around_the_database_s_guard_breaks_the_audit_at_that_place() {
    for (change, known_link, place, reason) in [
        (
            "update audit set actor = 'eve' where link = 3",
            None,
            3,
            "does not have the hash",
        ),
        (
            "update audit set at = at + interval '1 second' where link = 4",
            None,
            4,
            "does not have the hash",
        ),
        (
            "delete from audit where link = 2",
            None,
            2,
            "it is missing: the next entry is number 3",
        ),
        (
            "delete from audit where link > 3",
            Some(5),
            4,
            "it is missing: the record once went on to number 5",
        ),
        (
            "update audit set subject = 'x' where link = 5;
             update audit set hash = audit_hash((select hash from audit where link = 4), audit) where link = 5",
            Some(5),
            5,
            "its hash is another than the one that was kept",
        ),
    ] {
        with_store("audit_broken", async |store| {
            for nth in 0..5 {
                store.audit_append(&done("a token"), at(nth)).await.unwrap();
            }
            let whole = store.audit_verify(None).await.unwrap();
            let unguarded =
                format!("alter table audit disable trigger user; {change}; alter table audit enable trigger user");
            sqlx::raw_sql(sqlx::AssertSqlSafe(unguarded))
                .execute(store.pool())
                .await
                .unwrap();
            let known = whole.head.filter(|_| known_link.is_some());
            let broken = store.audit_verify(known.as_ref()).await.unwrap().broken.unwrap();
            assert_eq!(broken.link, place, "{change}");
            assert!(broken.reason.contains(reason), "{change}: {}", broken.reason);
        })
        .await;
    }
}

#[tokio::test]
async fn the_audit_keeps_what_was_done_newest_first() {
    with_store("audit", async |store| {
        for subject in ["one", "two"] {
            let entry = NewAuditEntry {
                actor: "ana".to_owned(),
                action: "token.revoke".to_owned(),
                subject: subject.to_owned(),
                detail_json: r#"{"token": 1}"#.to_owned(),
            };
            store
                .audit_append(&entry, at(0) + Duration::from_secs(1))
                .await
                .unwrap();
        }
        let entries = store.audit_list(None, 10).await.unwrap();
        assert_eq!(
            entries.iter().map(|entry| entry.subject.as_str()).collect::<Vec<_>>(),
            ["two", "one"]
        );
        assert_eq!(store.audit_list(Some(entries[0].id), 10).await.unwrap(), entries[1..]);
    })
    .await;
}
