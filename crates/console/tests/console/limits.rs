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
    let rejected = get(&console, "/limits/2", "erik").await.text;
    assert!(rejected.contains("could not be tested") && !rejected.contains("action=\"/limits/2/"));
    let approved = get(&console, "/limits/7", "erik").await.text;
    assert!(approved.contains("&lt;b&gt;fewer&lt;/b&gt; pages"));
    assert!(
        approved.contains("rest on 2 of its own")
            && approved.contains("(fan 4, mill 1), and stand at least 1.5 times as high"),
        "{approved}"
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
    assert_eq!(nothing.status, StatusCode::OK);
    assert!(
        nothing.text.contains("that bundle scored no reading of that period") && nothing.text.contains("What if?"),
        "the reason stands beside the form"
    );
    let of_march = get(&console, "/limits/5?days=7&from=2026-03-01&to=2026-03-02", "erik").await;
    assert!(of_march.text.contains("value=\"2026-03-02\"") && of_march.text.contains("672 machine hours"));
    let anew = get(&console, "/limits/5?days=7&scores=anew&baselines=active", "erik")
        .await
        .text;
    assert!(
        anew.contains("<strong>907200 of 1814400 readings (50.0 %)"),
        "coverage comes first"
    );
    assert!(anew.contains("value=\"anew\" selected") && anew.contains("value=\"active\" selected"));
    assert!(
        !get(&console, "/limits/5?days=7", "erik")
            .await
            .text
            .contains("could be scored as asked")
    );
    for (path, status) in [
        ("/limits/99", StatusCode::NOT_FOUND),
        ("/limits/5?days=7&baselines=newest", StatusCode::BAD_REQUEST),
        ("/limits/5?days=0", StatusCode::UNPROCESSABLE_ENTITY),
        ("/limits/5?days=7&persons=", StatusCode::OK),
        ("/limits/5?days=7&persons=none", StatusCode::UNPROCESSABLE_ENTITY),
        ("/limits/5?days=7&from=2026-03-01", StatusCode::UNPROCESSABLE_ENTITY),
        (
            "/limits/5?days=7&from=2026-03-02&to=2026-03-01",
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        ("/limits/five", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(get(&console, path, "erik").await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_set_that_waits_for_a_second_person_says_for_whom_and_only_they_are_asked() {
    let fixture = Fixture::new(Fleet::Small, clock());
    let console = build(&Config::default(), fixture.services(), clock()).expect("the configuration is sound");
    let waits = "Waits for a second person: an engineer or admin of porto, other than erik.";
    let form = "action=\"/limits/8/approve\"";
    for (name, approves) in [("erik", false), ("ines", true), ("ada", true), ("olga", false)] {
        let shown = get(&console, "/limits/8", name).await.text;
        assert!(
            shown.contains(waits) && shown.contains("Asked for by <strong>erik</strong>"),
            "{shown}"
        );
        assert_eq!(shown.contains(form), approves, "{name}");
        assert!(!shown.contains("action=\"/limits/8/activate\""), "{name}");
    }
    let approved = get(&console, "/limits/7", "erik").await.text;
    assert!(approved.contains("Approved by <strong>ines</strong>") && approved.contains("&lt;b&gt;seen&lt;/b&gt;"));
    assert!(!approved.contains("Waits for a second person"));
}

#[tokio::test]
async fn administrators_say_which_sites_ask_for_a_second_person_and_others_see_it() {
    let fixture = Fixture::new(Fleet::Small, clock());
    let console = build(&Config::default(), fixture.services(), clock()).expect("the configuration is sound");
    let (ada, erik) = (
        get(&console, "/limits", "ada").await.text,
        get(&console, "/limits", "erik").await.text,
    );
    for site in ["porto", "lyon"] {
        let form = format!("action=\"/sites/{site}/second-approval\"");
        assert!(ada.contains(&form) && !erik.contains(&form), "{site}");
    }
    assert!(erik.contains("asked for") && erik.contains("Changing this needs the role admin; yours is engineer"));
    let post = |body: &str| request(&Method::POST, "/sites/porto/second-approval", Some("ada"), body);
    let done = send(&console, post("asks=no&reason=one+engineer+left")).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    assert_eq!(header(&done, LOCATION.as_str()), "/limits#second-approval");
    let unclear = send(&console, post("asks=perhaps&reason=x")).await;
    assert_eq!(unclear.status, StatusCode::UNPROCESSABLE_ENTITY);
    let orders = fixture.orders.lock().expect("nobody panicked").clone();
    assert_eq!(orders, ["porto does not ask for a second person: one engineer left"]);
}
