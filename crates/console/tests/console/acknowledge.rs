//! A page's own link, and what receivers post back: for those without a session.

use http::{Method, Request, StatusCode};

use super::fixture::Fleet;
use super::{Body, HOST, HOST_NAME, console, request, send};

const LINK: &str = "/acknowledge/41.7.good";

#[tokio::test]
async fn a_link_shows_its_incident_to_whoever_has_it_and_takes_it_once_when_asked_to() {
    let console = console(Fleet::Small);
    for _ in 0..3 {
        let seen = send(&console, request(&Method::GET, LINK, None, "")).await;
        assert_eq!(seen.status, StatusCode::OK);
        assert!(seen.text.contains("mill-07") && seen.text.contains("residual of horizontal at level 3.8"));
        assert!(seen.text.contains(&format!("action=\"{LINK}\"")), "{}", seen.text);
    }
    let taken = send(&console, request(&Method::POST, LINK, None, "")).await;
    assert_eq!(taken.status, StatusCode::OK);
    assert!(taken.text.contains("Acknowledged"));
    let again = send(&console, request(&Method::POST, LINK, None, "")).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    let seen = send(&console, request(&Method::GET, LINK, None, "")).await;
    assert!(
        seen.text.contains("Already taken: acknowledge link sent to duty"),
        "{}",
        seen.text
    );
    assert!(!seen.text.contains("<form"));
}

#[tokio::test]
async fn a_page_s_picture_is_for_whoever_has_its_link_on_any_page_and_for_nobody_else() {
    let console = console(Fleet::Small);
    let seen = send(&console, request(&Method::GET, "/pictures/41.7.good", None, "")).await;
    assert_eq!(seen.status, StatusCode::OK);
    assert_eq!(seen.headers["content-type"], "image/png");
    assert_eq!(seen.headers["cross-origin-resource-policy"], "cross-origin");
    let refused = send(&console, request(&Method::GET, "/pictures/41.7.bad", None, "")).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers["cross-origin-resource-policy"], "same-origin");
}

#[tokio::test]
async fn a_link_of_nobody_s_and_a_form_of_another_site_change_nothing() {
    let console = console(Fleet::Small);
    for method in [Method::GET, Method::POST] {
        let refused = send(&console, request(&method, "/acknowledge/41.7.bad", None, "")).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert!(refused.text.contains("not one of ours"));
    }
    let foreign = Request::post(LINK)
        .header(HOST, HOST_NAME)
        .header("origin", "http://evil.test");
    let refused = send(&console, foreign.body(Body::empty()).expect("a request")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let seen = send(&console, request(&Method::GET, LINK, None, "")).await;
    assert!(seen.text.contains("<form"), "nobody took it");
}
