use std::time::Duration;

use tocsin_contracts::access::v1::{
    AuditHead, CreateAccountRequest, CreateTokenRequest, DisableAccountRequest, ListAccountsRequest, ListAuditRequest,
    ListTokensRequest, RevokeTokenRequest, SignInRequest, SignOutRequest, Token, VerifyAuditRequest, WhoAmIRequest,
};
use tocsin_contracts::time;
use tocsin_registry::Config;
use tocsin_transport::retry;
use tonic::{Code, Request};

use crate::stage::{PASSWORD, SERVICE, Stage, account};

fn token(site: &str, name: &str) -> CreateTokenRequest {
    CreateTokenRequest {
        token: Some(Token {
            site: site.into(),
            name: name.into(),
            ..Token::default()
        }),
    }
}

#[tokio::test]
async fn a_session_lasts_from_sign_in_to_sign_out() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    let session = stage.person("ana", "operator", &["lisbon"]).await;
    let mut ana = stage.access(&session);

    let who = ana.who_am_i(WhoAmIRequest {}).await.unwrap().into_inner();
    assert_eq!(
        (who.kind.as_str(), who.name.as_str(), who.role.as_str()),
        ("person", "ana", "operator")
    );
    assert_eq!((who.all_sites, who.sites), (false, vec!["lisbon".to_owned()]));

    ana.sign_out(SignOutRequest {}).await.unwrap();
    assert_eq!(
        ana.who_am_i(WhoAmIRequest {}).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    assert_eq!(
        stage
            .access(SERVICE)
            .sign_out(SignOutRequest {})
            .await
            .unwrap_err()
            .code(),
        Code::PermissionDenied
    );

    let actions: Vec<_> = stage
        .audit()
        .await
        .into_iter()
        .map(|(actor, action, _)| (actor, action))
        .collect();
    let expected = [
        ("service", "account.create"),
        ("ana", "session.begin"),
        ("ana", "session.end"),
    ];
    assert_eq!(
        actions,
        expected.map(|(actor, action)| (actor.to_owned(), action.to_owned()))
    );
    stage.finish().await;
}

#[tokio::test]
async fn a_session_ends_by_itself_after_twelve_hours() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    let session = stage.person("ana", "viewer", &[]).await;
    stage.clock.advance(Duration::from_secs(12 * 3600 - 1));
    let who = stage
        .access(&session)
        .who_am_i(WhoAmIRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(who.all_sites && who.sites.is_empty());
    stage.clock.advance(Duration::from_secs(1));
    let late = stage.access(&session).who_am_i(WhoAmIRequest {}).await.unwrap_err();
    assert_eq!(late.code(), Code::Unauthenticated);
    stage.finish().await;
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_are_answered_alike() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    stage.person("ana", "viewer", &[]).await;
    let wrong = stage.sign_in("ana", "wrong horse").await.unwrap_err();
    let unknown = stage.sign_in("nobody", PASSWORD).await.unwrap_err();
    assert_eq!(
        (wrong.code(), wrong.message()),
        (Code::Unauthenticated, unknown.message())
    );
    assert_eq!(unknown.code(), Code::Unauthenticated);
    stage.finish().await;
}

#[tokio::test]
async fn guessing_has_to_wait_and_even_the_right_password_with_it() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    stage.person("ana", "viewer", &[]).await;
    for _ in 0..5 {
        assert_eq!(
            stage.sign_in("ana", "wrong horse").await.unwrap_err().code(),
            Code::Unauthenticated
        );
    }
    let refused = stage.sign_in("ana", PASSWORD).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    stage
        .clock
        .advance(retry::after(&refused).expect("the refusal says when to come back"));
    stage.sign_in("ana", PASSWORD).await.unwrap();
    stage.finish().await;
}

#[tokio::test]
async fn a_stranger_who_guesses_elsewhere_keeps_nobody_out() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    stage.person("ana", "admin", &[]).await;
    let sign_in = async |from: &str, password: &str| {
        let mut request = Request::new(SignInRequest {
            name: "ana".into(),
            password: password.into(),
        });
        request.metadata_mut().insert("x-forwarded-for", from.parse().unwrap());
        stage.anyone().sign_in(request).await
    };
    for _ in 0..5 {
        let wrong = sign_in("203.0.113.9", "wrong horse").await.unwrap_err();
        assert_eq!(wrong.code(), Code::Unauthenticated);
    }
    let refused = sign_in("203.0.113.9", PASSWORD).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    sign_in("198.51.100.7", PASSWORD).await.unwrap();
    stage.finish().await;
}

#[tokio::test]
async fn a_disabled_account_is_out_at_once_and_stays_out() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    let admin = stage.person("root", "admin", &[]).await;
    let session = stage.person("ana", "viewer", &[]).await;
    let disabled = stage
        .access(&admin)
        .disable_account(DisableAccountRequest { name: "ana".into() })
        .await
        .unwrap();
    assert!(disabled.into_inner().account.unwrap().disabled);

    let who = stage.access(&session).who_am_i(WhoAmIRequest {}).await.unwrap_err();
    assert_eq!(who.code(), Code::Unauthenticated);
    assert_eq!(
        stage.sign_in("ana", PASSWORD).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let itself = stage
        .access(&admin)
        .disable_account(DisableAccountRequest { name: "root".into() })
        .await;
    assert_eq!(itself.unwrap_err().code(), Code::FailedPrecondition);
    stage.finish().await;
}

#[tokio::test]
async fn an_administrator_of_one_site_gives_away_nothing_beyond_it() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    stage.person("root", "admin", &[]).await;
    let local = stage.person("local", "admin", &["lisbon"]).await;
    let mut local = stage.access(&local);
    let mut make = async |name: &str, sites: &[&str]| {
        let account = Some(account(name, "admin", sites));
        local
            .create_account(CreateAccountRequest {
                account,
                password: PASSWORD.into(),
            })
            .await
    };
    assert_eq!(make("spy", &[]).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(
        make("spy", &["lisbon", "porto"]).await.unwrap_err().code(),
        Code::NotFound
    );
    make("helper", &["lisbon"]).await.unwrap();
    assert_eq!(
        make("helper", &["lisbon"]).await.unwrap_err().code(),
        Code::AlreadyExists
    );
    assert_eq!(
        make("service", &["lisbon"]).await.unwrap_err().code(),
        Code::InvalidArgument
    );

    let seen = local
        .list_accounts(ListAccountsRequest {})
        .await
        .unwrap()
        .into_inner()
        .accounts;
    assert_eq!(
        seen.iter().map(|account| account.name.as_str()).collect::<Vec<_>>(),
        ["helper", "local"]
    );
    let root = local
        .disable_account(DisableAccountRequest { name: "root".into() })
        .await;
    assert_eq!(root.unwrap_err().code(), Code::NotFound);

    let foreign = stage
        .access(SERVICE)
        .create_token(token("porto", "edge"))
        .await
        .unwrap()
        .into_inner();
    let token_id = foreign.token.unwrap().token_id;
    assert_eq!(
        local.create_token(token("porto", "spy")).await.unwrap_err().code(),
        Code::NotFound
    );
    let revoked = local.revoke_token(RevokeTokenRequest { token_id }).await;
    assert_eq!(revoked.unwrap_err().code(), Code::NotFound);
    let tokens = local
        .list_tokens(ListTokensRequest::default())
        .await
        .unwrap()
        .into_inner()
        .tokens;
    assert!(tokens.is_empty(), "{tokens:?}");
    stage.finish().await;
}

#[tokio::test]
async fn several_tokens_of_a_site_live_and_end_each_by_itself() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    let mut service = stage.access(SERVICE);
    let first = service
        .create_token(token("lisbon", "first"))
        .await
        .unwrap()
        .into_inner();
    let mut expiring = token("lisbon", "second");
    let in_an_hour = stage.clock.now() + Duration::from_hours(1);
    expiring.token.as_mut().unwrap().expires_at = Some(time::to_wire(in_an_hour));
    let second = service.create_token(expiring).await.unwrap().into_inner();
    let mut other_token = token("lisbon", "third");
    other_token.token.as_mut().unwrap().auto_register_class = "cnc".into();
    let half = service.create_token(other_token.clone()).await.unwrap_err();
    assert!(half.message().starts_with("token.auto_register_spec"), "{half}");
    other_token.token.as_mut().unwrap().auto_register_spec = "spindle".into();
    service.create_token(other_token).await.unwrap();

    let who = stage
        .access(&first.secret)
        .who_am_i(WhoAmIRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (who.kind.as_str(), who.name.as_str(), who.sites),
        ("gateway", "first", vec!["lisbon".to_owned()])
    );
    let gateway = stage
        .access(&first.secret)
        .list_tokens(ListTokensRequest::default())
        .await;
    assert_eq!(gateway.unwrap_err().code(), Code::PermissionDenied);

    let token_id = first.token.unwrap().token_id;
    service.revoke_token(RevokeTokenRequest { token_id }).await.unwrap();
    let code = async |secret: &str| {
        stage
            .access(secret)
            .who_am_i(WhoAmIRequest {})
            .await
            .map_err(|status| status.code())
    };
    assert_eq!(code(&first.secret).await.unwrap_err(), Code::Unauthenticated);
    assert!(code(&second.secret).await.is_ok());
    stage.clock.advance(Duration::from_hours(1));
    assert_eq!(code(&second.secret).await.unwrap_err(), Code::Unauthenticated);

    let listed = service
        .list_tokens(ListTokensRequest { site: "lisbon".into() })
        .await
        .unwrap()
        .into_inner()
        .tokens;
    assert_eq!(
        listed.iter().map(|token| token.name.as_str()).collect::<Vec<_>>(),
        ["third", "second", "first"]
    );
    assert!(listed[2].revoked_at.is_some());
    stage.finish().await;
}

#[tokio::test]
async fn an_engineer_who_sees_every_site_reads_what_was_done_page_after_page() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    let chief = stage.person("chief", "engineer", &[]).await;
    let refused = [
        stage.person("olga", "operator", &[]).await,
        stage.person("local", "engineer", &["lisbon"]).await,
    ];
    let mut chief = stage.access(&chief);
    let asked = |before_audit_id, limit| ListAuditRequest { before_audit_id, limit };
    let all = chief.list_audit(asked(0, 0)).await.unwrap().into_inner().entries;
    let made = all.iter().find(|entry| entry.action == "account.create").unwrap();
    assert_eq!((made.subject.as_str(), made.actor.as_str()), ("local", "service"));
    assert!(made.detail_json.contains("lisbon") && made.at.is_some(), "{made:?}");
    let newest = chief.list_audit(asked(0, 1)).await.unwrap().into_inner().entries;
    assert_eq!(newest, all[..1]);
    let older = chief.list_audit(asked(newest[0].audit_id, 0)).await.unwrap();
    assert_eq!(older.into_inner().entries, all[1..]);
    let many = chief.list_audit(asked(0, 1_001)).await.unwrap_err();
    assert_eq!(many.code(), Code::InvalidArgument);
    let whole = chief
        .verify_audit(VerifyAuditRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((whole.entries, &whole.broken), (all.len() as u64, &None));
    let forged = AuditHead {
        hash: vec![7; 32],
        ..whole.head.clone().unwrap()
    };
    let verify = |known| VerifyAuditRequest { known: Some(known) };
    let again = chief
        .verify_audit(verify(whole.head.unwrap()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again.broken, None);
    let broken = chief
        .verify_audit(verify(forged.clone()))
        .await
        .unwrap()
        .into_inner()
        .broken
        .unwrap();
    assert_eq!(broken.link, forged.link);
    let short = AuditHead {
        hash: vec![7; 31],
        ..forged
    };
    let malformed = chief.verify_audit(verify(short)).await.unwrap_err();
    assert!(malformed.message().starts_with("known.hash"), "{malformed}");
    for session in refused {
        let mut refused = stage.access(&session);
        let denied = refused.list_audit(asked(0, 0)).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);
        let denied = refused.verify_audit(VerifyAuditRequest::default()).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);
    }
    stage.finish().await;
}

#[tokio::test]
async fn below_administrator_nobody_handles_accounts_or_tokens() {
    let Some(stage) = Stage::start(Config::default()).await else {
        return;
    };
    let engineer = stage.person("eng", "engineer", &[]).await;
    let mut engineer = stage.access(&engineer);
    let account = Some(account("spy", "viewer", &[]));
    let made = engineer
        .create_account(CreateAccountRequest {
            account,
            password: PASSWORD.into(),
        })
        .await;
    assert_eq!(made.unwrap_err().code(), Code::PermissionDenied);
    let made = engineer.create_token(token("lisbon", "spy")).await;
    assert_eq!(made.unwrap_err().code(), Code::PermissionDenied);
    let listed = engineer.list_accounts(ListAccountsRequest {}).await;
    assert_eq!(listed.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(
        stage.anyone().who_am_i(WhoAmIRequest {}).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    stage.finish().await;
}
