//! Alarm limits: each set beside the one in force, tried, agreed to and put in force by those who may.

use http::header::LOCATION;
use http::{Method, StatusCode};
use tocsin_console::{Config, build};

use super::fixture::{Fixture, Fleet};
use super::{clock, get, header, main_of, request, send};

#[tokio::test]
async fn a_set_stands_beside_the_one_in_force_with_its_next_step() {
    let fixture = Fixture::new(Fleet::Small, clock());
    let console = build(&Config::default(), fixture.services(), clock()).expect("the configuration is sound");
    insta::assert_snapshot!(
        "limits_set",
        main_of(&get(&console, "/limits/5?days=30&persons=4", "erik").await.text)
    );
    for (set, order) in [(6, "test"), (5, "approve"), (7, "activate"), (4, "rollback")] {
        let shown = get(&console, &format!("/limits/{set}"), "erik").await.text;
        for one in ["test", "approve", "activate", "rollback"] {
            let offered = shown.contains(&format!("action=\"/limits/{set}/{one}\""));
            assert_eq!(offered, one == order, "{set} {one}");
        }
    }
    let olga = get(&console, "/limits/5?days=7", "olga").await;
    assert!(!olga.text.contains("method=\"post\" action=\"/limits"));
    let retired = get(&console, "/limits/3", "erik").await.text;
    assert!(retired.contains("judges nothing any more"));
    assert!(
        get(&console, "/limits/7", "erik")
            .await
            .text
            .contains("&lt;b&gt;fewer&lt;/b&gt; pages")
    );
}

#[tokio::test]
async fn orders_reach_the_recalibrator_and_refusals_the_person() {
    let fixture = Fixture::new(Fleet::Small, clock());
    let console = build(&Config::default(), fixture.services(), clock()).expect("the configuration is sound");
    let post = |path: &str, body: &str| request(&Method::POST, path, Some("erik"), body);
    for (path, body) in [
        ("/limits/6/test", ""),
        ("/limits/5/approve", "reason=replayed"),
        ("/limits/7/activate", "reason=agreed"),
        ("/limits/4/rollback", "reason=too+loud"),
    ] {
        let answer = send(&console, post(path, body)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}: {}", answer.text);
        assert_eq!(
            Some(header(&answer, LOCATION.as_str())),
            path.rsplit_once('/').map(|(set, _)| set)
        );
    }
    let orders = fixture.orders.lock().expect("nobody panicked").clone();
    let expected = [
        "test 6",
        "approve 5: replayed",
        "activate 7: agreed",
        "limits of cnc-spindle back: too loud",
    ];
    assert_eq!(orders, expected);
    let early = send(&console, post("/limits/6/approve", "reason=x")).await;
    assert_eq!(early.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(early.text.contains("threshold set 6 is proposed, not tested"));
    let stale = send(&console, post("/limits/3/rollback", "reason=x")).await;
    assert_eq!(stale.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(stale.text.contains("nothing was rolled back"));
    assert_eq!(fixture.orders.lock().expect("nobody panicked").len(), 4);
    let nothing = get(&console, "/limits/3?days=7", "erik").await;
    assert_eq!(nothing.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(nothing.text.contains("none were logged in that period"));
    for (path, status) in [
        ("/limits/99", StatusCode::NOT_FOUND),
        ("/limits/5?days=0", StatusCode::UNPROCESSABLE_ENTITY),
        ("/limits/five", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(get(&console, path, "erik").await.status, status, "{path}");
    }
}
