//! The first run: who is led there, what is ticked, and where gateways are told to send.

use http::StatusCode;
use http::header::LOCATION;
use tocsin_console::Config;

use super::fixture::Fleet;
use super::{configured, console, get, header, main_of};

#[tokio::test]
async fn an_administrator_is_led_from_an_empty_platform_to_the_first_run_and_others_find_it() {
    let empty = console(Fleet::Empty);
    let led = get(&empty, "/", "ada").await;
    assert_eq!(led.status, StatusCode::SEE_OTHER);
    assert_eq!(header(&led, LOCATION.as_str()), "/start");
    let found = get(&empty, "/", "olga").await;
    assert_eq!(found.status, StatusCode::OK);
    assert!(found.text.contains("No machine is known yet") && found.text.contains("href=\"/start\""));
    assert_eq!(get(&console(Fleet::Small), "/", "ada").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_guidance_of_an_empty_platform_reads_as_it_did() {
    insta::assert_snapshot!(
        "start",
        main_of(&get(&console(Fleet::Empty), "/start", "ada").await.text)
    );
}

#[tokio::test]
async fn what_is_there_is_ticked_and_the_commands_use_its_names() {
    let page = get(&console(Fleet::Small), "/start", "ada").await.text;
    assert!(page.contains("7 of 7 steps done: everything is in place."), "{page}");
    assert!(page.contains("<li id=\"step-reading\" data-done=\"true\">"));
    assert!(page.contains("--site lyon") && page.contains("--auto-register-spec spindle-128"));
    assert!(page.contains("$(seq 128 |") && page.contains("<strong>on-call</strong> (pager duty)"));
    let empty = get(&console(Fleet::Empty), "/start", "vera").await.text;
    assert!(empty.contains("0 of 7 steps done"), "{empty}");
    assert!(empty.contains("administrators alone are told"));
}

#[tokio::test]
async fn gateways_are_told_the_address_as_whoever_asks_would_reach_it() {
    let told = async |ingest_url: Option<&str>| {
        let config = Config {
            ingest_url: ingest_url.map(str::to_owned),
            ..Config::default()
        };
        let page = get(&configured(Fleet::Empty, &config), "/start", "ada").await.text;
        let sends = page.split("curl -sS ").nth(1).expect("a command").to_owned();
        sends.split(' ').next().expect("an address").to_owned()
    };
    for (configured, expected) in [
        (None, "http://127.0.0.1:7700/v1/readings"),
        (Some("http://0.0.0.0:7701"), "http://console.test:7701/v1/readings"),
        (Some("https://[::]:7702"), "https://console.test:7702/v1/readings"),
        (
            Some("https://ingest.example.org"),
            "https://ingest.example.org/v1/readings",
        ),
    ] {
        assert_eq!(told(configured).await, expected);
    }
}
