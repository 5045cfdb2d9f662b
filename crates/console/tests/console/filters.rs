//! The incidents' filter, and the ones that a person saved.

use http::header::LOCATION;
use http::{Method, StatusCode};
use tocsin_console::{Config, build};

use super::fixture::{Fixture, Fleet};
use super::{clock, console, get, header, request, send};

#[tokio::test]
async fn a_filter_is_part_of_the_address_and_every_link_keeps_it() {
    let console = console(Fleet::Small);
    let shown = get(&console, "/incidents?show=all&site=porto&severity=page", "vera")
        .await
        .text;
    assert!(shown.contains("#41") && !shown.contains("turbine-2"), "{shown}");
    assert!(shown.contains("href=\"/incidents?show=open&amp;site=porto&amp;severity=page\""));
    assert!(shown.contains("Filter: all pages of porto"), "{shown}");
    assert!(shown.contains("<option value=\"porto\" selected>porto</option>"));
    let none = get(&console, "/incidents?site=nowhere", "vera").await.text;
    assert!(none.contains("No incident fits the filter."));
    assert!(
        none.contains("<option value=\"nowhere\" selected>"),
        "it stays to be seen"
    );
    let wrong = get(&console, "/incidents?before=soon", "vera").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn saved_filters_are_links_of_their_person_with_a_form_to_delete_each() {
    let console = console(Fleet::Small);
    let (olga, vera) = (
        get(&console, "/incidents?site=porto&severity=page", "olga").await.text,
        get(&console, "/incidents", "vera").await.text,
    );
    let link = "href=\"/incidents?show=open&amp;site=porto&amp;severity=page\" aria-current=\"true\"";
    assert!(olga.contains(link) && olga.contains(">night shift</a>"), "{olga}");
    assert!(olga.contains("action=\"/incidents/filters/delete\"") && olga.contains("Delete the filter night shift"));
    assert!(!vera.contains("night shift") && vera.contains("action=\"/incidents/filters\""));
    let hostile = get(&super::console(Fleet::Hostile), "/incidents", "olga").await.text;
    assert!(!hostile.contains("<img src=x"), "a name is text");
}

#[tokio::test]
async fn what_is_shown_is_saved_under_a_name_and_deleted_by_it() {
    let fixture = Fixture::new(Fleet::Small, clock());
    let console = build(&Config::default(), fixture.services(), clock()).expect("the configuration is sound");
    let post = |path: &str, body: &str| request(&Method::POST, path, Some("olga"), body);
    let body = "name=all+of+mill&show=all&site=porto&machine=mill-07&taken=nobody";
    let saved = send(&console, post("/incidents/filters", body)).await;
    assert_eq!(saved.status, StatusCode::SEE_OTHER, "{}", saved.text);
    assert_eq!(
        header(&saved, LOCATION.as_str()),
        "/incidents?show=all&site=porto&machine=mill-07&taken=nobody"
    );
    let deleted = send(&console, post("/incidents/filters/delete", "name=night+shift")).await;
    assert_eq!(header(&deleted, LOCATION.as_str()), "/incidents");
    let orders = fixture.orders.lock().expect("nobody panicked").clone();
    assert_eq!(
        orders,
        [
            "olga saves all of mill: open only false, porto mill-07 , unacknowledged only true",
            "olga deletes night shift"
        ]
    );
    for (path, body, status) in [
        ("/incidents/filters", "show=all", StatusCode::UNPROCESSABLE_ENTITY),
        ("/incidents/filters/delete", "name=another", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(send(&console, post(path, body)).await.status, status, "{path}");
    }
    let mut elsewhere = post("/incidents/filters", body);
    elsewhere
        .headers_mut()
        .insert("origin", "https://elsewhere.test".parse().expect("a header"));
    assert_eq!(send(&console, elsewhere).await.status, StatusCode::FORBIDDEN);
}
