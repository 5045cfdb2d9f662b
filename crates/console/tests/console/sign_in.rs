//! Who gets in, by what cookie, and what a form of another site can't do.

use http::header::{LOCATION, ORIGIN, SET_COOKIE};
use http::{Method, StatusCode};
use tocsin_console::{Config, build};
use tonic::transport::server::TcpConnectInfo;

use super::fixture::{Fixture, Fleet};
use super::{clock, configured, console, get, header, request, send};

#[tokio::test]
async fn signing_in_sets_a_cookie_that_scripts_cannot_read_and_goes_back() {
    let console = console(Fleet::Small);
    let form = "name=olga&password=bell&next=%2Fincidents%2F41";
    let answer = send(&console, request(&Method::POST, "/login", None, form)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(header(&answer, LOCATION.as_str()), "/incidents/41");
    assert_eq!(
        header(&answer, SET_COOKIE.as_str()),
        "tocsin_session=session-olga; Path=/; HttpOnly; SameSite=Lax; Max-Age=28800"
    );
}

#[tokio::test]
async fn over_tls_the_cookie_is_secure_and_bound_to_the_host() {
    let config = Config {
        public_url: Some("https://console.test".to_owned()),
        ..Config::default()
    };
    let console = configured(Fleet::Small, &config);
    let mut sign_in = request(&Method::POST, "/login", None, "name=olga&password=bell&next=");
    sign_in
        .headers_mut()
        .insert(ORIGIN, "https://console.test".parse().expect("a value"));
    let answer = send(&console, sign_in).await;
    let cookie = header(&answer, SET_COOKIE.as_str());
    assert!(
        cookie.starts_with("__Host-tocsin_session=session-olga; Path=/; HttpOnly;"),
        "{cookie}"
    );
    assert!(cookie.ends_with("; Secure"), "{cookie}");
    assert!(header(&answer, "strict-transport-security").starts_with("max-age="));
    let plain = get(&console, "/", "olga").await;
    assert_eq!(
        plain.status,
        StatusCode::SEE_OTHER,
        "the cookie of the insecure name is none"
    );
}

#[tokio::test]
async fn a_wrong_password_and_an_outside_way_back_are_refused() {
    let console = console(Fleet::Small);
    let wrong = send(
        &console,
        request(&Method::POST, "/login", None, "name=%3Cb%3E&password=x&next=%2F"),
    )
    .await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text.contains("value=\"&lt;b&gt;\"") && !header(&wrong, "set-cookie").contains("session-"));
    let eager = send(
        &console,
        request(&Method::POST, "/login", None, "name=eager&password=x"),
    )
    .await;
    assert_eq!(eager.status, StatusCode::TOO_MANY_REQUESTS);
    let elsewhere = "name=olga&password=bell&next=%2F%2Fevil.example%2F";
    let answer = send(&console, request(&Method::POST, "/login", None, elsewhere)).await;
    assert_eq!(header(&answer, LOCATION.as_str()), "/");
}

#[tokio::test]
async fn a_session_the_services_no_longer_know_is_forgotten_and_leads_to_sign_in() {
    let console = console(Fleet::Small);
    let answer = get(&console, "/incidents/41?at=1&sensor=a", "nobody").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(
        header(&answer, LOCATION.as_str()),
        "/login?next=%2Fincidents%2F41%3Fat%3D1%26sensor%3Da&expired=1"
    );
    assert!(
        header(&answer, SET_COOKIE.as_str()).starts_with("tocsin_session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0")
    );
    let page = send(&console, request(&Method::GET, "/login?next=%2F&expired=1", None, "")).await;
    assert!(page.text.contains("Your session has ended"));
}

#[tokio::test]
async fn a_form_of_another_site_changes_nothing() {
    let fixture = Fixture::new(Fleet::Small, clock());
    let console = build(&Config::default(), fixture.services(), clock()).expect("a console");
    let acknowledge = || request(&Method::POST, "/incidents/41/acknowledge", Some("olga"), "note=mine");
    let cases: [(&str, Option<&str>); 4] = [
        ("origin", Some("https://evil.example")),
        ("origin", Some("null")),
        ("origin", None),
        ("sec-fetch-site", Some("cross-site")),
    ];
    for (name, value) in cases {
        let mut forged = acknowledge();
        forged.headers_mut().remove(name);
        if let Some(value) = value {
            forged.headers_mut().insert(name, value.parse().expect("a value"));
        }
        let answer = send(&console, forged).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value:?}");
        assert!(fixture.acknowledged.lock().expect("not poisoned").is_none());
    }
    for path in ["/login", "/logout"] {
        let mut forged = request(&Method::POST, path, Some("olga"), "name=olga&password=bell");
        forged.headers_mut().remove(ORIGIN);
        assert_eq!(send(&console, forged).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let mut ours = acknowledge();
    ours.headers_mut()
        .insert("sec-fetch-site", "same-origin".parse().expect("a value"));
    let answer = send(&console, ours).await;
    assert_eq!(
        (answer.status, header(&answer, LOCATION.as_str())),
        (StatusCode::SEE_OTHER, "/incidents/41")
    );
    let taken = fixture.acknowledged.lock().expect("not poisoned").clone();
    assert_eq!(taken, Some(("olga".to_owned(), "mine".to_owned())));
}

#[tokio::test]
async fn a_viewer_sees_no_acknowledge_button_and_cannot_go_around_it() {
    let console = console(Fleet::Small);
    let form = "action=\"/incidents/41/acknowledge\"";
    assert!(get(&console, "/incidents/41", "olga").await.text.contains(form));
    let seen = get(&console, "/incidents/41", "vera").await;
    assert!(!seen.text.contains(form) && seen.text.contains("can look but not acknowledge"));
    let forced = request(&Method::POST, "/incidents/41/acknowledge", Some("vera"), "note=");
    let answer = send(&console, forced).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.text.contains("vera may not acknowledge"));
}

#[tokio::test]
async fn beyond_loopback_the_console_does_not_start_without_tls() {
    let config = Config {
        listen: "0.0.0.0:0".parse().expect("an address"),
        ..Config::default()
    };
    let services = Fixture::new(Fleet::Empty, clock()).services();
    let refused = tocsin_console::bind(&config, services, clock()).await;
    let error = refused.expect_err("no start").to_string();
    assert!(error.contains("`tls` must be set"), "{error}");
}

#[tokio::test]
async fn signing_out_forgets_the_session() {
    let answer = send(
        &console(Fleet::Small),
        request(&Method::POST, "/logout", Some("olga"), ""),
    )
    .await;
    assert_eq!(header(&answer, LOCATION.as_str()), "/login");
    assert!(header(&answer, SET_COOKIE.as_str()).contains("Max-Age=0"));
}

#[tokio::test]
async fn the_services_hear_from_where_somebody_signs_in() {
    let behind_a_proxy = Config {
        public_url: Some(super::OURS.to_owned()),
        ..Config::default()
    };
    let cases = [
        (&Config::default(), "198.51.100.7", "", StatusCode::UNAUTHORIZED),
        (
            &Config::default(),
            "192.0.2.1",
            "198.51.100.7",
            StatusCode::TOO_MANY_REQUESTS,
        ),
        (
            &behind_a_proxy,
            "192.0.2.1",
            "203.0.113.9, 198.51.100.7",
            StatusCode::UNAUTHORIZED,
        ),
        (
            &behind_a_proxy,
            "192.0.2.1",
            "198.51.100.7, 203.0.113.9",
            StatusCode::TOO_MANY_REQUESTS,
        ),
    ];
    for (config, peer, forwarded, expected) in cases {
        let mut eager = request(&Method::POST, "/login", None, "name=eager&password=x");
        eager.extensions_mut().insert(TcpConnectInfo {
            local_addr: None,
            remote_addr: Some(format!("{peer}:4000").parse().expect("an address")),
        });
        if !forwarded.is_empty() {
            let value = forwarded.parse().expect("a value");
            eager.headers_mut().insert("x-forwarded-for", value);
        }
        let answer = send(&configured(Fleet::Small, config), eager).await;
        assert_eq!(answer.status, expected, "{peer} {forwarded}");
    }
}
