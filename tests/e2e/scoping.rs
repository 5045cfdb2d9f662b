//! An operator of one site gets nothing of another: every RPC in the descriptors, every route in the console's table and every call
//! of the JSON API is tried, so that a new one can't be forgotten.
//!
//! The other site and all that is in it are called `xenon`. What is asked about it must be answered as what is asked about `yttri`,
//! which never was; and what is asked without naming a site must not contain it. As a check of the check the deployment itself asks the same,
//! and sees it.

mod calls;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use prost_reflect::DynamicMessage;
use reqwest::{Client, Method};
use tocsin_console::{Door, ROUTES};
use tocsin_contracts::PUBLIC_METHODS;
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{Account, CreateAccountRequest, SignInRequest};
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::fleet::v1::{CreateSensorRequest, CreateSiteRequest, Sensor, Site};
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::incidents::v1::{AddLabelRequest, SuppressMachineRequest, add_label_request};
use tocsin_contracts::ingest::StreamProperties;
use tocsin_tests::stage::{CLASS, SITE, SPEC, make_token};
use tocsin_tests::{Plant, Stage};
use tocsin_transport::Channel;
use tocsin_transport::auth::Token;

use self::calls::{Answer, Calls};

const UNAUTHENTICATED: i32 = tonic::Code::Unauthenticated as i32;

const OTHER: &str = "xenon";
const NOWHERE: &str = "yttri";
/// A number that nothing has.
const NO_NUMBER: &str = "987654321";

/// Calls whose answers must be seen to hold the other site, by those who may.
const TELLING: [&str; 13] = [
    "/tocsin.access.v1.AccessService/ListAccounts",
    "/tocsin.access.v1.AccessService/ListTokens",
    "/tocsin.fleet.v1.FleetService/ListMachines",
    "/tocsin.fleet.v1.FleetService/ListSensors",
    "/tocsin.fleet.v1.FleetService/ListSites",
    "/tocsin.incidents.v1.IncidentsService/GetIncident",
    "/tocsin.incidents.v1.IncidentsService/GetSuppression",
    "/tocsin.incidents.v1.IncidentsService/ListDeliveries",
    "/tocsin.incidents.v1.IncidentsService/ListIncidents",
    "/tocsin.incidents.v1.IncidentsService/ListLabels",
    "/tocsin.incidents.v1.IncidentsService/ListSuppressions",
    "/tocsin.review.v1.ReviewService/GetIncidentReview",
    "/tocsin.review.v1.ReviewService/GetMachineSeries",
];

/// Two sites: ours is quiet, and in the other a machine has failed.
async fn two_sites() -> Result<Stage> {
    let stage = Stage::judging().await?;
    let service: Channel = stage.running.service_channel();
    let site = Site {
        name: OTHER.to_owned(),
        title: OTHER.to_owned(),
        time_zone: "UTC".to_owned(),
        ..Site::default()
    };
    let mut fleet = FleetServiceClient::new(service.clone());
    fleet.create_site(CreateSiteRequest { site: Some(site) }).await?;
    let sensor = Sensor {
        site: OTHER.to_owned(),
        machine: OTHER.to_owned(),
        sensor: OTHER.to_owned(),
        class: CLASS.to_owned(),
        spec: SPEC.to_owned(),
        ..Sensor::default()
    };
    fleet
        .create_sensor(CreateSensorRequest { sensor: Some(sensor) })
        .await?;
    account(&stage, OTHER, "admin", Some(OTHER)).await?;

    let token = make_token(service.clone(), |token| {
        (token.site, token.name) = (OTHER.to_owned(), OTHER.to_owned());
    });
    let properties = StreamProperties {
        clock_is_capture: true,
        historical: false,
    };
    let mut publisher = tocsin::publish::Publisher::new(stage.running.channel(&token.await?), properties);
    let name = format!("{OTHER}/{OTHER}");
    for number in 0..45 {
        let bins = if number < 30 {
            Plant::healthy(number)
        } else {
            Plant::failing(number)
        };
        publisher.publish(vec![Plant::reading(&name, number, bins)]).await?;
    }
    stage.receiver.wait_until("the page", |pages| !pages.is_empty()).await?;

    let mut incidents = IncidentsServiceClient::new(service);
    let label = AddLabelRequest {
        subject: Some(add_label_request::Subject::IncidentId(1)),
        label: "true_failure".to_owned(),
        ..AddLabelRequest::default()
    };
    incidents.add_label(label).await.context("a label")?;
    let shelf = SuppressMachineRequest {
        site: OTHER.to_owned(),
        machine: OTHER.to_owned(),
        kind: "shelved".to_owned(),
        for_s: 3_600,
        reason: OTHER.to_owned(),
        ..SuppressMachineRequest::default()
    };
    incidents.suppress_machine(shelf).await.context("a shelf")?;
    Ok(stage)
}

/// An account, signed in; without a site it sees them all.
async fn account(stage: &Stage, name: &str, role: &str, site: Option<&str>) -> Result<Token> {
    let password = "correct horse".to_owned();
    let account = Account {
        name: name.to_owned(),
        role: role.to_owned(),
        all_sites: site.is_none(),
        sites: site.map(str::to_owned).into_iter().collect(),
        ..Account::default()
    };
    let mut access = AccessServiceClient::new(stage.running.service_channel());
    let create = CreateAccountRequest {
        account: Some(account),
        password: password.clone(),
    };
    access.create_account(create).await?;
    let sign_in = SignInRequest {
        name: name.to_owned(),
        password,
    };
    let session = access.sign_in(sign_in).await?.into_inner().session;
    Token::parse(&session).context("the session")
}

/// An answer about the other site, as it would have to be about the one that never was.
fn renamed(text: &str) -> String {
    text.replace(OTHER, NOWHERE)
}

/// The same without numbers: what was asked about has one.
fn unnumbered(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if out.ends_with('#') => (),
            '0'..='9' => out.push('#'),
            c => out.push(c),
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_of_a_site_gets_nothing_of_another_by_any_rpc() -> Result<()> {
    let stage = two_sites().await?;
    let operator = account(&stage, "olaf", "operator", Some(SITE)).await?;
    let admin = account(&stage, "ada", "admin", Some(SITE)).await?;
    let calls = Calls::of(format!("http://{}", stage.running.grpc_addr()))?;
    let mut told = BTreeSet::new();
    for method in calls.methods() {
        let path = calls::path(&method);
        let plain = calls.ask(&method, &operator, calls::empty(&method)).await?;
        assert!(!plain.holds(OTHER), "{path}: {plain:?}");
        assert!(
            plain.status != UNAUTHENTICATED || PUBLIC_METHODS.contains(&path.as_str()),
            "{path}: the session has ended"
        );
        let about = calls.ask(&method, &operator, calls::about(&method, OTHER, "1")).await?;
        let nowhere = calls
            .ask(&method, &operator, calls::about(&method, NOWHERE, NO_NUMBER))
            .await?;
        assert_eq!(alike(&about), alike(&nowhere), "{path}");

        // An administrator of the site may call more; who sees all is told of it.
        if calls::only_reads(&method) {
            let plain = calls.ask(&method, &admin, calls::empty(&method)).await?;
            assert!(!plain.holds(OTHER), "{path} as admin: {plain:?}");
            let about = calls.ask(&method, &admin, calls::about(&method, OTHER, "1")).await?;
            let nowhere = calls
                .ask(&method, &admin, calls::about(&method, NOWHERE, NO_NUMBER))
                .await?;
            assert_eq!(alike(&about), alike(&nowhere), "{path} as admin");
            let service = stage.service_token();
            for message in [calls::empty(&method), calls::about(&method, OTHER, "1")] {
                if calls.ask(&method, service, message).await?.tells(OTHER) {
                    told.insert(path.clone());
                }
            }
        }
    }
    for path in TELLING {
        assert!(
            told.contains(path),
            "{path} told nobody of the other site; of it told {told:#?}"
        );
    }
    let done: Vec<String> = sqlx::query_scalar("select action from audit where actor = 'olaf'")
        .fetch_all(stage.store.pool())
        .await?;
    assert!(done.iter().all(|action| action.starts_with("session.")), "{done:?}");
    stage.stop().await
}

fn alike(answer: &Answer) -> (i32, String, String) {
    (
        answer.status,
        unnumbered(&renamed(&answer.message)),
        renamed(&answer.payload),
    )
}

/// An answer; of a stream that two services feed, which of them is first does not matter.
fn in_order(body: &str) -> String {
    if !body.starts_with("event: ") {
        return body.to_owned();
    }
    let mut events: Vec<&str> = body.split("\n\n").collect();
    events.sort_unstable();
    events.join("\n\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_of_a_site_gets_nothing_of_another_by_any_route() -> Result<()> {
    let stage = two_sites().await?;
    let operator = account(&stage, "olaf", "operator", Some(SITE)).await?;
    let console = format!("http://{}", stage.running.console_addr().context("a console")?);
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let ask = async |method: &Method, path: &str, token: &Token| -> Result<(u16, String)> {
        let request = client
            .request(method.clone(), format!("{console}{path}"))
            .header("origin", &console)
            .header("cookie", format!("tocsin_session={}", token.expose()))
            .header("content-type", "application/x-www-form-urlencoded")
            .body("note=mine&kind=shelved&for=3600&reason=mine&text=mine&to=olaf");
        let mut answer = request.send().await?;
        let status = answer.status().as_u16();
        let mut body = answer
            .headers()
            .get("location")
            .map(|to| to.to_str().map(str::to_owned))
            .transpose()?
            .unwrap_or_default()
            .into_bytes();
        // A stream is read for a moment.
        while let Ok(Some(chunk)) = tokio::time::timeout(Duration::from_secs(1), answer.chunk())
            .await
            .unwrap_or(Ok(None))
        {
            body.extend_from_slice(&chunk);
        }
        Ok((status, in_order(&String::from_utf8_lossy(&body))))
    };
    let mut seen_by_all = 0;
    let everyone = account(&stage, "una", "admin", None).await?;
    let mut routes: Vec<_> = ROUTES
        .iter()
        .filter(|route| matches!(route.door, Door::Session | Door::Api))
        .collect();
    // It ends the session.
    routes.sort_by_key(|route| route.path == "/logout");
    for route in routes {
        let what = format!("{} {}", route.method, route.path);
        for query in ["", "?site=xenon&machine=xenon&sensor=xenon&q=xenon"] {
            let about = format!("{}{query}", filled(route.path, OTHER, "1"));
            let nowhere = format!("{}{}", filled(route.path, NOWHERE, NO_NUMBER), renamed(query));
            let (status, body) = ask(&route.method, &about, &operator).await?;
            assert!(
                !body.starts_with("/login?") || route.path == "/logout",
                "{what}{query}: the session has ended"
            );
            let as_nowhere = ask(&route.method, &nowhere, &operator).await?;
            assert_eq!(
                (status, unnumbered(&renamed(&body))),
                (as_nowhere.0, unnumbered(&as_nowhere.1)),
                "{what}{query}"
            );
            if !about.contains(OTHER) {
                assert!(!body.contains(OTHER), "{what}: {body}");
            }
            if route.method == Method::GET && ask(&route.method, &about, &everyone).await?.1.contains(OTHER) {
                seen_by_all += 1;
            }
        }
    }
    assert!(
        seen_by_all > 12,
        "only {seen_by_all} pages show the other site to who may see it"
    );

    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_of_a_site_gets_nothing_of_another_by_the_json_api() -> Result<()> {
    let stage = two_sites().await?;
    let operator = account(&stage, "olaf", "operator", Some(SITE)).await?;
    let console = format!("http://{}", stage.running.console_addr().context("a console")?);
    let client = Client::new();
    let ask = async |path: &str, token: &Token, message: DynamicMessage| -> Result<(u16, String)> {
        let request = client
            .post(format!("{console}/api/v1{path}"))
            .bearer_auth(token.expose())
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&message)?);
        let answer = request.send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    };
    let mut told = BTreeSet::new();
    for method in Calls::of(console.clone())?.methods() {
        let path = calls::path(&method);
        let plain = ask(&path, &operator, calls::empty(&method)).await?;
        assert!(!plain.1.contains(OTHER), "{path}: {plain:?}");
        assert!(
            plain.0 != 401 || PUBLIC_METHODS.contains(&path.as_str()),
            "{path}: the session has ended"
        );
        let about = ask(&path, &operator, calls::about(&method, OTHER, "1")).await?;
        let nowhere = ask(&path, &operator, calls::about(&method, NOWHERE, NO_NUMBER)).await?;
        assert_eq!(
            (about.0, unnumbered(&renamed(&about.1))),
            (nowhere.0, unnumbered(&nowhere.1)),
            "{path}"
        );
        if !calls::only_reads(&method) {
            continue;
        }
        let all = ask(&path, stage.service_token(), calls::about(&method, OTHER, "1")).await?;
        if all.0 == 200 && all.1.contains(OTHER) {
            told.insert(path);
        }
    }
    for path in TELLING {
        assert!(
            told.contains(path),
            "{path} told nobody of the other site; of it told {told:#?}"
        );
    }
    stage.stop().await
}

/// A path with its parts filled in; the limits of a class are every site's, and are asked about as they are.
fn filled(path: &str, name: &str, number: &str) -> String {
    let number = if path.starts_with("/limits/") { "1" } else { number };
    let parts = path.split('/').map(|part| match part {
        "{id}" => number,
        part if part.starts_with('{') => name,
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}
