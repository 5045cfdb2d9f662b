//! The platform itself: its services, and pages that did not arrive.

use http::header::LOCATION;
use http::{Method, StatusCode};
use tocsin_console::{Config, build};
use tocsin_contracts::PUBLIC_METHODS;
use tocsin_transport::auth::{Auth, Denied, Verifier};
use tocsin_transport::{Channel, Server, server};

use super::fixture::{Fixture, Fleet};
use super::{clock, get, header, request, send};

#[tokio::test]
async fn services_say_how_they_are_and_what_was_given_up_is_sent_again() {
    let fixture = Fixture::new(Fleet::Small, clock());
    let console = build(&Config::default(), fixture.services(), clock()).expect("the configuration is sound");
    let shown = get(&console, "/system", "olga").await.text;
    assert_eq!(shown.matches(" serving").count(), 7, "{shown}");
    assert!(shown.contains("410 Gone: &lt;b&gt;no such service&lt;/b&gt;") && shown.contains("no answer in 10 s"));
    assert!(shown.contains("action=\"/system/deliveries/17/resend\"") && !shown.contains("deliveries/18/resend"));
    for said in [
        "120\u{202f}000",
        ">75.0<",
        ">256<",
        ">29.3 %<",
        ">256 to 512<",
        ">29.3 % to 14.6 %<",
    ] {
        assert!(shown.contains(said), "{said} in {shown}");
    }
    let viewer = get(&console, "/system", "vera").await.text;
    assert!(viewer.contains("pagerduty") && !viewer.contains("/resend"));
    let again = request(&Method::POST, "/system/deliveries/17/resend", Some("olga"), "");
    let answer = send(&console, again).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(header(&answer, LOCATION.as_str()), "/system#deliveries");
    assert_eq!(*fixture.orders.lock().expect("nobody panicked"), ["resend 17"]);
}

#[tokio::test]
async fn a_service_that_is_gone_is_named_and_the_page_stands() {
    let fixture = Fixture::new(Fleet::Empty, clock());
    let mut services = fixture.services();
    let nobody = Verifier::new(|_| async { Err::<(), _>(Denied::Unknown) });
    let auth = Auth::new(nobody).public(PUBLIC_METHODS.iter().copied());
    let empty = Server::new(server::Config::default(), auth).assemble();
    services.recalibrator = Channel::in_process(empty.expect("nothing is in the way"));
    let console = build(&Config::default(), services, clock()).expect("the configuration is sound");
    let shown = get(&console, "/system", "olga").await;
    assert_eq!(shown.status, StatusCode::OK);
    assert_eq!(shown.text.matches(" serving").count(), 5);
    assert!(shown.text.contains("no service of that name"), "{}", shown.text);
}
