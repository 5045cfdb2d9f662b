//! A class's models: what an engineer can ask for, and nobody else.

use http::header::{CONTENT_DISPOSITION, LOCATION};
use http::{Method, StatusCode};
use tocsin_console::{Config, build};

use super::fixture::{Fixture, Fleet};
use super::{clock, get, header, request, send};

#[tokio::test]
async fn an_engineer_changes_what_judges_and_asks_for_training_and_nobody_else_is_offered_it() {
    let fixture = Fixture::new(Fleet::Small, clock());
    let console = build(&Config::default(), fixture.services(), clock()).expect("the configuration is sound");
    let offered = get(&console, "/models/cnc-spindle", "erik").await.text;
    for order in ["promote", "challenger", "rollback", "retrain"] {
        assert!(
            offered.contains(&format!("action=\"/models/cnc-spindle/{order}\"")),
            "{order}"
        );
    }
    assert!(
        !offered.contains("<option value=\"13\""),
        "a rejected bundle is no choice"
    );
    let post = |order: &str, body: &str| {
        request(
            &Method::POST,
            &format!("/models/cnc-spindle/{order}"),
            Some("erik"),
            body,
        )
    };
    for (order, body) in [
        ("promote", "bundle=11&reason=fewer+alerts"),
        ("challenger", "bundle="),
        ("rollback", "reason=too+loud"),
        ("retrain", "reason=new+spindles"),
    ] {
        let answer = send(&console, post(order, body)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{order}: {}", answer.text);
        assert_eq!(header(&answer, LOCATION.as_str()), "/models/cnc-spindle");
    }
    let orders = fixture.orders.lock().expect("nobody panicked").clone();
    let expected = [
        "promote 11: fewer alerts",
        "challenger of cnc-spindle: \"\"",
        "roll cnc-spindle back: too loud",
        "retrain cnc-spindle: new spindles",
    ];
    assert_eq!(orders, expected);
    let refused = send(&console, post("promote", "bundle=13&reason=x")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text.contains("bundle #13: rejected"));
    for who in ["olga", "vera"] {
        let shown = get(&console, "/models/cnc-spindle", who).await.text;
        assert!(
            shown.contains("0.91") && !shown.contains("<form class=\"take\""),
            "{who}"
        );
    }
}

#[tokio::test]
async fn the_report_of_a_training_is_saved_and_never_shown_as_a_page_of_ours() {
    let fixture = Fixture::new(Fleet::Small, clock());
    let console = build(&Config::default(), fixture.services(), clock()).expect("the configuration is sound");
    let shown = get(&console, "/models/cnc-spindle", "erik").await.text;
    let href = "/models/cnc-spindle/bundles/12/report.html";
    assert!(shown.contains(&format!("href=\"{href}\"")), "{shown}");
    assert!(!shown.contains("bundles/11/report.html"), "{shown}");
    let answer = get(&console, href, "erik").await;
    assert_eq!(answer.text, "<!DOCTYPE html><title>The report of bundle 12</title>");
    assert_eq!(
        header(&answer, CONTENT_DISPOSITION.as_str()),
        "attachment; filename=\"model-12-report.html\""
    );
    let none = get(&console, "/models/cnc-spindle/bundles/11/report.html", "erik").await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
}
