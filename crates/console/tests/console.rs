//! The console over made-up services: what pages say, and that nothing slips through; who gets in is in
//! [`sign_in`], and what a page's own link does in [`acknowledge`].

#[path = "console/acknowledge.rs"]
mod acknowledge;
#[path = "console/filters.rs"]
mod filters;
#[path = "stage/fixture.rs"]
mod fixture;
#[path = "console/limits.rs"]
mod limits;
#[path = "console/models.rs"]
mod models;
#[path = "console/review.rs"]
mod review;
#[path = "console/sign_in.rs"]
mod sign_in;
#[path = "console/start.rs"]
mod start;
#[path = "console/system.rs"]
mod system;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use fixture::{Fixture, Fleet};
use http::header::{COOKIE, HOST, LOCATION, ORIGIN};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use tocsin_console::{Config, Services, build};
use tocsin_domain::{Clock, Timestamp};
use tocsin_transport::{Channel, channel};
use tower::ServiceExt;

const HOST_NAME: &str = "console.test";
const OURS: &str = "http://console.test";

fn clock() -> Clock {
    Clock::manual(Timestamp::parse("now", "2026-11-20T12:00:00Z").expect("a time"))
}

fn console(fleet: Fleet) -> Router {
    configured(fleet, &Config::default())
}

fn configured(fleet: Fleet, config: &Config) -> Router {
    build(config, Fixture::new(fleet, clock()).services(), clock()).expect("the configuration is sound")
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

async fn send(console: &Router, request: Request<Body>) -> Answer {
    let response: Response = console
        .clone()
        .oneshot(request)
        .await
        .expect("the router is infallible");
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("a whole body").to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

fn request(method: &Method, path: &str, session: Option<&str>, body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header(HOST, HOST_NAME);
    if let Some(session) = session {
        request = request.header(COOKIE, format!("theme=x; tocsin_session=session-{session}"));
    }
    if *method == Method::POST {
        request = request
            .header(ORIGIN, OURS)
            .header("content-type", "application/x-www-form-urlencoded");
    }
    request.body(Body::from(body.to_owned())).expect("a request")
}

async fn get(console: &Router, path: &str, session: &str) -> Answer {
    send(console, request(&Method::GET, path, Some(session), "")).await
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer
        .headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// What lies between `main`'s tags.
fn main_of(page: &str) -> String {
    let start = page.find("<main").expect("a main part");
    let end = page.rfind("</main>").expect("its end");
    page[start..end].replace("><", ">\n<")
}

const PAGES: [&str; 20] = [
    "/audit?verify=yes",
    "/",
    "/start",
    "/incidents",
    "/incidents?show=all&site=porto&severity=page&taken=nobody",
    "/incidents?show=all",
    "/incidents/41",
    "/incidents/41/review",
    "/suppressions",
    "/floods",
    "/incidents/performance",
    "/sensors",
    "/models",
    "/models/cnc-spindle",
    "/limits",
    "/limits/5?days=7&scores=anew&baselines=active",
    "/account",
    "/system",
    "/sites/porto/machines/mill-07",
    "/sites/porto/machines/mill-07/verdict?sensor=horizontal",
];

#[tokio::test]
async fn a_machine_and_an_incident_know_the_clock_of_their_site() {
    let console = console(Fleet::Small);
    for path in ["/sites/porto/machines/mill-07", "/incidents/41"] {
        let page = get(&console, path, "olga").await.text;
        assert!(page.contains("data-zone=\"Europe/Lisbon\""), "{path}");
    }
}

#[tokio::test]
async fn the_record_is_read_page_by_page_and_its_chain_is_verified_when_asked() {
    let console = console(Fleet::Small);
    let newest = get(&console, "/audit", "erik").await.text;
    assert!(newest.contains("id=\"entry-250\"") && !newest.contains("The chain holds"));
    assert!(
        newest.contains("&lt;b&gt;looked&lt;/b&gt; at it"),
        "what people wrote is text"
    );
    assert!(newest.contains("href=\"/audit?before=151\""));
    let oldest = get(&console, "/audit?before=51", "erik").await.text;
    assert!(oldest.contains("id=\"entry-1\"") && !oldest.contains("Older"));
    let verified = get(&console, "/audit?verify=yes", "erik").await.text;
    assert!(verified.contains("The chain holds: 250 entries") && verified.contains("250:abababab"));
    let broken = configured(Fleet::Hostile, &Config::default());
    let broken = get(&broken, "/audit?verify=yes", "erik").await.text;
    assert!(broken.contains("does not hold at entry 17"));
    assert!(
        !get(&console, "/", "olga").await.text.contains("href=\"/audit\""),
        "who sees some sites alone is not sent there"
    );
}

#[tokio::test]
async fn every_page_and_number_needs_a_session_and_leads_back_after_signing_in() {
    let console = console(Fleet::Small);
    let numbers = [
        "/sites/porto/machines/mill-07/series?range=1h",
        "/sites/porto/machines/mill-07/spectrogram?sensor=horizontal&from=0&to=1",
        "/sites/porto/machines/mill-07/spectrum?sensor=horizontal",
        "/live",
        "/no/such/page",
    ];
    for path in PAGES.into_iter().chain(numbers) {
        let answer = send(&console, request(&Method::GET, path, None, "")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("next", path)
            .finish();
        assert_eq!(header(&answer, LOCATION.as_str()), format!("/login?{query}"));
        assert!(answer.text.is_empty(), "{path} says something to a stranger");
    }
}

#[tokio::test]
async fn every_page_renders_for_who_is_signed_in() {
    for fleet in [Fleet::Small, Fleet::Empty] {
        let console = console(fleet);
        for path in PAGES {
            let answer = get(&console, path, "vera").await;
            let missing = fleet == Fleet::Empty && (path.starts_with("/sites") || path.starts_with("/models/"));
            let expected = if missing { StatusCode::NOT_FOUND } else { StatusCode::OK };
            assert_eq!(answer.status, expected, "{fleet:?} {path}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn an_acknowledgement_shows_in_the_timeline_with_its_note() {
    let console = console(Fleet::Small);
    let post = request(
        &Method::POST,
        "/incidents/41/acknowledge",
        Some("olga"),
        "note=bearing+%3Cb%3Enoisy%3C%2Fb%3E",
    );
    assert_eq!(send(&console, post).await.status, StatusCode::SEE_OTHER);
    let page = get(&console, "/incidents/41", "olga").await.text;
    assert!(
        page.contains("Acknowledged by olga") && page.contains("bearing &lt;b&gt;noisy&lt;/b&gt;"),
        "{page}"
    );
    assert!(!page.contains("action=\"/incidents/41/acknowledge\""));
    let refused = request(&Method::POST, "/incidents/29/acknowledge", Some("olga"), "");
    assert_eq!(send(&console, refused).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_machine_whose_pages_are_kept_says_so_with_the_way_back_for_those_who_may() {
    let console = console(Fleet::Small);
    let list = get(&console, "/suppressions", "vera").await.text;
    assert!(
        list.contains("out of service") && list.contains("spindle motor is being changed"),
        "{list}"
    );
    let machine = list
        .split("/sites/")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a machine");
    let machine = format!("/sites/{machine}");
    let (viewed, operated) = (
        get(&console, &machine, "vera").await,
        get(&console, &machine, "olga").await,
    );
    let back = format!("action=\"{machine}/restore\"");
    assert!(!viewed.text.contains(&back) && operated.text.contains(&back));
    let other = get(&console, "/sites/porto/machines/mill-07", "olga").await.text;
    assert!(other.contains("/suppress\""), "in service, it can be shelved");
    let kept = get(&console, "/suppressions/2", "vera").await.text;
    assert!(kept.contains("tocsin-incident-39-opened-1000"), "{kept}");
}

#[tokio::test]
async fn a_flood_can_be_taken_as_one_by_those_who_may() {
    let console = console(Fleet::Small);
    let list = get(&console, "/floods", "vera").await.text;
    assert!(
        list.contains("href=\"/floods/5\"") && list.contains("on-call"),
        "{list}"
    );
    let take = "action=\"/floods/5/acknowledge\"";
    let (viewed, operated) = (
        get(&console, "/floods/5", "vera").await,
        get(&console, "/floods/5", "olga").await,
    );
    assert!(!viewed.text.contains(take) && operated.text.contains(take));
    assert!(operated.text.contains("Acknowledge all 11") && operated.text.contains("href=\"/incidents/41\""));
    assert_eq!(get(&console, "/floods/6", "olga").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_long_incident_still_shows_how_it_opened() {
    let page = get(&console(Fleet::Small), "/incidents/40", "olga").await.text;
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is on the page"));
    let opened = place("Opened at alert level");
    let earlier = place("1\u{202f}500 steps before this one are not listed");
    assert!(opened < earlier && earlier < place("1000 steps judged"));
}

#[tokio::test]
async fn no_name_title_or_note_becomes_html() {
    let console = console(Fleet::Hostile);
    let hostile_machine = "/sites/lyon/machines/%3Cscript%3Ealert(1)%3C%2Fscript%3E%22'&";
    for path in [
        "/",
        "/incidents",
        "/incidents/41",
        "/sensors",
        "/suppressions?show=all",
        "/suppressions/3",
        hostile_machine,
    ] {
        let answer = get(&console, path, "olga").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        for forbidden in ["<script>alert", "<img src=x", "</blockquote><img"] {
            assert!(!answer.text.contains(forbidden), "{path}: {forbidden}");
        }
    }
    assert!(get(&console, "/", "olga").await.text.contains("&lt;script&gt;alert(1)"));
}

#[tokio::test]
async fn every_answer_has_its_security_headers_and_no_page_needs_inline_code() {
    let console = console(Fleet::Small);
    let stranger = send(&console, request(&Method::GET, "/login", None, "")).await;
    let answers = [
        get(&console, "/", "olga").await,
        get(&console, "/incidents/41", "olga").await,
        stranger,
    ];
    for answer in &answers {
        let policy = header(answer, "content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("script-src 'self'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"));
        assert_eq!(header(answer, "x-content-type-options"), "nosniff");
        assert_eq!(header(answer, "cache-control"), "no-store");
        for inline in [" style=", " onclick=", " onload=", "<style", "javascript:"] {
            assert!(!answer.text.contains(inline), "{inline}");
        }
        assert!(
            answer
                .text
                .split("<script")
                .skip(1)
                .all(|script| script.starts_with(" src=\"/assets/"))
        );
    }
}

#[tokio::test]
async fn assets_are_kept_for_ever_under_their_hash_and_come_compressed() {
    let console = console(Fleet::Small);
    let page = get(&console, "/sites/porto/machines/mill-07", "olga").await.text;
    let assets: Vec<&str> = page
        .split(['"', '\''])
        .filter(|text| text.starts_with("/assets/"))
        .collect();
    assert!(assets.len() >= 7, "{assets:?}");
    for asset in assets {
        let plain = send(&console, request(&Method::GET, asset, None, "")).await;
        assert_eq!(plain.status, StatusCode::OK, "{asset}");
        assert_eq!(header(&plain, "cache-control"), "public, max-age=31536000, immutable");
        let mut squeezed = request(&Method::GET, asset, None, "");
        squeezed
            .headers_mut()
            .insert("accept-encoding", "br, gzip".parse().expect("a value"));
        assert_eq!(header(&send(&console, squeezed).await, "content-encoding"), "gzip");
    }
    let stale = send(&console, request(&Method::GET, "/assets/0/console.css", None, "")).await;
    assert_eq!(header(&stale, "cache-control"), "no-cache");
    let none = send(&console, request(&Method::GET, "/assets/0/secrets.txt", None, "")).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn machines_that_are_silent_or_were_never_heard_are_not_healthy() {
    let page = get(&console(Fleet::Small), "/", "olga").await.text;
    let row = |name: &str| {
        let start = page
            .find(&format!("data-key=\"porto/{name}\""))
            .expect("the machine's row");
        let row = &page[start..];
        row[..row.find("</tr>").expect("its end")].to_owned()
    };
    assert!(row("mill-02").contains("data-kind=\"nodata\"") && row("mill-02").contains("silent; was normal"));
    assert!(row("mill-11").contains("no reading yet"));
    assert!(row("pump-01").contains("data-kind=\"normal\""));
    let first = page.find("<tbody").expect("rows");
    assert!(
        page[first..].find("mill-07") < page[first..].find("turbine-2"),
        "unacknowledged pages come first"
    );
}

#[tokio::test]
async fn sensors_that_are_silent_or_stuck_are_a_list_of_their_own_that_operators_acknowledge() {
    let console = console(Fleet::Small);
    let page = get(&console, "/sensors", "olga").await.text;
    for said in [
        "Gateway silent",
        "12 sensors",
        "Stuck",
        "mill-07/vertical",
        "returned, unacknowledged",
        "mill-11/vertical",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert!(page.contains("/sensors/alarms/3/acknowledge") && !page.contains("/sensors/alarms/2/acknowledge"));
    let looks = get(&console, "/sensors", "vera").await.text;
    assert!(!looks.contains("acknowledge\""), "a viewer takes nothing");
    let post = |id: u32| {
        request(
            &Method::POST,
            &format!("/sensors/alarms/{id}/acknowledge"),
            Some("olga"),
            "note=cable",
        )
    };
    let taken = send(&console, post(3)).await;
    assert_eq!(
        (taken.status, header(&taken, LOCATION.as_str())),
        (StatusCode::SEE_OTHER, "/sensors")
    );
    assert_eq!(send(&console, post(2)).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn another_sites_machine_looks_like_none() {
    let console = console(Fleet::Small);
    for path in [
        "/sites/porto/machines/secret",
        "/sites/oslo/machines/mill-07",
        "/incidents/999",
        "/incidents/abc",
        "/nowhere",
    ] {
        let answer = get(&console, path, "olga").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.text.contains("Not found"));
    }
    let numbers = get(&console, "/sites/oslo/machines/mill-07/series?range=1h", "olga").await;
    assert_eq!(numbers.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_service_that_is_down_is_named_and_the_rest_goes_on() {
    let good = Fixture::new(Fleet::Small, clock()).channel();
    let nowhere = channel::Config {
        // A port nothing listens on.
        urls: vec!["http://127.0.0.1:9".to_owned()],
        ..channel::Config::default()
    };
    let services = Services {
        registry: Channel::remote(&nowhere).expect("a channel"),
        review: Channel::remote(&nowhere).expect("a channel"),
        ..Services::all(&good)
    };
    let console = build(&Config::default(), services, clock()).expect("a console");
    let answer = get(&console, "/models", "olga").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer.text.contains("registry (models)") && answer.text.contains("readings that were acknowledged are stored")
    );
    for path in ["/", "/incidents/41", "/sites/porto/machines/mill-07"] {
        assert_eq!(
            get(&console, path, "olga").await.status,
            StatusCode::OK,
            "{path} needs no registry and no review"
        );
    }
}

#[tokio::test]
async fn numbers_for_the_charts_come_by_period() {
    let console = console(Fleet::Small);
    let base = "/sites/porto/machines/mill-07";
    let hour = get(&console, &format!("{base}/series?range=1h"), "olga").await;
    let series: serde_json::Value = serde_json::from_str(&hour.text).expect("JSON");
    assert_eq!(series["sensors"][0]["sensor"], "horizontal");
    assert_eq!(series["sensors"][0]["at"].as_array().map(Vec::len), Some(12));
    let detectors = series["sensors"][0]["detectors"].as_array().expect("detectors");
    assert_eq!(detectors.len(), 4);
    let all = get(&console, &format!("{base}/series?range=all"), "olga").await;
    let series: serde_json::Value = serde_json::from_str(&all.text).expect("JSON");
    let unjudged = &series["sensors"][0]["level"][0];
    assert!(unjudged.is_null(), "{unjudged}");
    assert!(
        get(&console, &format!("{base}/series?range=forever"), "olga")
            .await
            .status
            .is_client_error()
    );
    let overall = &series["sensors"][0]["overall"];
    assert_eq!(
        (&overall[0]["label"], &overall[0]["unit"]),
        (&"velocity_rms (10 to 1000 Hz)".into(), &"mm/s".into())
    );
    assert_eq!((&overall[0]["zone"], &overall[1]["zone"]), (&"B".into(), &"".into()));
    let lengths = [0, 1].map(|place| overall[place]["value"].as_array().map(Vec::len));
    assert!(lengths[0] > lengths[1] && lengths[1] > Some(0), "{lengths:?}");
    assert_eq!(series["sensors"][1]["overall"], serde_json::json!([]));
    let reading = get(&console, &format!("{base}/spectrum?sensor=vertical"), "olga").await;
    let reading: serde_json::Value = serde_json::from_str(&reading.text).expect("JSON");
    assert_eq!(reading["axis_unit"], "Hz");
    assert_eq!(reading["overall"][1]["unit"], "°C");
    assert_eq!(reading["overall"][0]["zone"], "B");
    assert_eq!(reading["observed"].as_array().map(Vec::len), Some(128));
}

#[tokio::test]
async fn the_live_stream_says_what_changed() {
    let console = console(Fleet::Small);
    let response = console
        .oneshot(request(&Method::GET, "/live", Some("olga"), ""))
        .await
        .expect("the router is infallible");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut text = String::new();
    while !(text.contains("event: incidents\ndata: 7") && text.contains("event: readings\ndata: 101")) {
        let frame = tokio::time::timeout(Duration::from_secs(20), body.frame())
            .await
            .expect("events arrive");
        let data = frame
            .expect("the stream goes on")
            .expect("a frame")
            .into_data()
            .expect("data");
        text.push_str(&String::from_utf8_lossy(&data));
    }
    assert!(text.starts_with("event: hello"), "{text}");
}

#[tokio::test]
async fn a_large_fleet_is_one_compressed_page_with_every_machine() {
    let console = console(Fleet::Large);
    let mut asked = request(&Method::GET, "/", Some("olga"), "");
    asked
        .headers_mut()
        .insert("accept-encoding", "gzip".parse().expect("a value"));
    let squeezed = send(&console, asked).await;
    assert_eq!(header(&squeezed, "content-encoding"), "gzip");
    let plain = get(&console, "/", "olga").await;
    assert_eq!(plain.text.matches("data-key=").count(), 1200);
    assert!(
        plain
            .text
            .contains("1\u{202f}200 machines with 2\u{202f}400 sensors on 6 sites")
    );
}

#[tokio::test]
async fn the_fleet_and_the_alarm_limits_read_as_they_did() {
    let console = console(Fleet::Small);
    insta::assert_snapshot!("fleet", main_of(&get(&console, "/", "olga").await.text));
    insta::assert_snapshot!("limits", main_of(&get(&console, "/limits", "olga").await.text));
    let verdict = "/sites/porto/machines/mill-07/verdict?sensor=horizontal&at=1795176000000000";
    insta::assert_snapshot!("verdict", main_of(&get(&console, verdict, "olga").await.text));
    insta::assert_snapshot!("models", main_of(&get(&console, "/models", "olga").await.text));
    let class = get(&console, "/models/cnc-spindle", "olga").await.text;
    insta::assert_snapshot!("class", main_of(&class));
}

#[tokio::test]
async fn every_figure_of_alarm_performance_has_its_target_and_a_plain_word() {
    let page = get(&console(Fleet::Small), "/incidents/performance?days=7", "vera")
        .await
        .text;
    let told = [
        "Most alarms in any 10 minutes",
        "fewer than 5",
        "within",
        "above",
        "not judged",
        "0.05 %",
        "13 min",
        "At most 2".to_lowercase().as_str(),
        "2 pages while shelved or out of service",
        "Alarms on each of 7 days",
    ]
    .map(str::to_owned);
    for words in told {
        assert!(page.contains(&words), "{words} is missing in {}", main_of(&page));
    }
    assert!(!page.contains("style="));
    let empty = get(&console(Fleet::Empty), "/incidents/performance", "vera").await.text;
    assert!(empty.contains("No incident opened.") && empty.contains("Nobody was told anything."));
    let hostile = get(&console(Fleet::Hostile), "/incidents/performance", "vera")
        .await
        .text;
    assert!(!hostile.contains("<script>alert(1)"));
    let list = get(&console(Fleet::Small), "/incidents", "vera").await.text;
    assert!(list.contains("href=\"/incidents/performance\""));
}
