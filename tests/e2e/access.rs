//! Every RPC and every route, walked from the descriptors and from the console's own table, as nobody and as a gateway.

use anyhow::{Context, Result};
use reqwest::{Client, Method, StatusCode};
use tocsin_console::{Door, ROUTES};
use tocsin_contracts::{PUBLIC_METHODS, methods};
use tocsin_tests::Stage;
use tocsin_transport::auth::Token;

const UNAUTHENTICATED: i32 = tonic::Code::Unauthenticated as i32;
const PERMISSION_DENIED: i32 = tonic::Code::PermissionDenied as i32;

/// What a gateway may do: publish, and ask who it is.
const OPEN_TO_GATEWAYS: [&str; 2] = [
    "/tocsin.ingest.v1.IngestService/Publish",
    "/tocsin.access.v1.AccessService/WhoAmI",
];

/// The methods that need a credential.
fn closed_methods() -> Vec<String> {
    let mut closed = methods();
    closed.retain(|method| !PUBLIC_METHODS.contains(&method.as_str()));
    assert!(closed.len() > 35, "{}", closed.len());
    closed
}

/// The status that an empty message is refused with; none where something else is answered.
async fn refusal(client: &Client, stage: &Stage, method: &str, token: Option<&Token>) -> Result<Option<i32>> {
    let mut request = client
        .post(format!("http://{}{method}", stage.running.grpc_addr()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(vec![0, 0, 0, 0, 0]);
    if let Some(token) = token {
        request = request.bearer_auth(token.expose());
    }
    let answer = request.send().await?;
    let status = answer.headers().get("grpc-status");
    Ok(status.and_then(|value| value.to_str().ok()?.parse().ok()))
}

pub(crate) fn grpc_client() -> Result<Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Client::builder().http2_prior_knowledge().build()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_but_the_public_ones_needs_a_credential() -> Result<()> {
    let stage = Stage::start().await?;
    let client = grpc_client()?;
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned();
    for method in closed_methods().into_iter().chain([reflection]) {
        let status = refusal(&client, &stage, &method, None).await?;
        assert_eq!(status, Some(UNAUTHENTICATED), "{method} is open");
    }
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_may_publish_and_nothing_else() -> Result<()> {
    let stage = Stage::start().await?;
    let client = grpc_client()?;
    let token = stage.token().await?;
    for method in closed_methods() {
        let status = refusal(&client, &stage, &method, Some(&token)).await?;
        let refused = status == Some(PERMISSION_DENIED);
        let open = OPEN_TO_GATEWAYS.contains(&method.as_str());
        assert_eq!(refused, !open, "{method}: {status:?}");
    }
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_the_services_but_health_needs_a_credential() -> Result<()> {
    let stage = Stage::start().await?;
    let client = browser()?;
    let base = format!("http://{}", stage.running.grpc_addr());
    for (method, path) in [("POST", "/v1/readings"), ("GET", "/metrics"), ("GET", "/anything")] {
        let request = client.request(method.parse()?, format!("{base}{path}"));
        assert_eq!(request.send().await?.status(), 401, "{method} {path}");
    }
    assert_eq!(client.get(format!("{base}/healthz")).send().await?.status(), 200);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_the_console_but_sign_in_and_assets_needs_a_session() -> Result<()> {
    let stage = Stage::start().await?;
    let client = browser()?;
    let console = format!("http://{}", stage.running.console_addr().context("a console")?);
    let mut open = Vec::new();
    for route in ROUTES {
        let path = filled_in(route.path);
        if route.door != Door::Session {
            open.push((&route.method, route.path));
            continue;
        }
        // As a form of ours, so that it isn't refused as another site's before the session is looked at.
        let request = client
            .request(route.method.clone(), format!("{console}{path}"))
            .header("origin", &console)
            .header("content-type", "application/x-www-form-urlencoded")
            .body("note=mine");
        let answer = request.send().await?;
        let to = answer.headers().get("location").and_then(|to| to.to_str().ok());
        assert!(
            answer.status() == StatusCode::SEE_OTHER && to.is_some_and(|to| to.starts_with("/login?")),
            "{} {path}: {} to {to:?}",
            route.method,
            answer.status()
        );
    }
    let expected = [
        (&Method::GET, "/login"),
        (&Method::POST, "/login"),
        (&Method::GET, "/login/oidc"),
        (&Method::GET, "/login/oidc/callback"),
        (&Method::GET, "/acknowledge/{token}"),
        (&Method::POST, "/acknowledge/{token}"),
        (&Method::GET, "/pictures/{token}"),
        (&Method::POST, "/hooks/pagerduty"),
        (&Method::POST, "/hooks/slack"),
        (&Method::POST, "/api/v1/{service}/{method}"),
        (&Method::GET, "/api/v1/openapi.json"),
        (&Method::GET, "/assets/{hash}/{name}"),
        (&Method::GET, "/favicon.ico"),
    ];
    assert_eq!(open, expected);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_the_json_api_but_the_public_ones_needs_a_credential() -> Result<()> {
    let stage = Stage::start().await?;
    let client = browser()?;
    let console = format!("http://{}", stage.running.console_addr().context("a console")?);
    for method in closed_methods() {
        let answer = client.post(format!("{console}/api/v1{method}")).send().await?;
        // Streams and what Tocsin's roles say among themselves are not there at all.
        let status = answer.status();
        assert!(matches!(status.as_u16(), 401 | 404), "{method}: {status}");
        let described: serde_json::Value = client
            .get(format!("{console}/api/v1/openapi.json"))
            .send()
            .await?
            .json()
            .await?;
        let there = described["paths"].get(format!("/api/v1{method}")).is_some();
        assert_eq!(there, status == StatusCode::UNAUTHORIZED, "{method}");
    }
    stage.stop().await
}

/// A client that goes where it is told to.
fn browser() -> Result<Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Client::builder().redirect(reqwest::redirect::Policy::none()).build()?)
}

/// A path with 1 wherever anything may stand.
fn filled_in(path: &str) -> String {
    let parts = path
        .split('/')
        .map(|part| if part.starts_with('{') { "1" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_what_was_done_is_whole_and_an_end_that_was_kept_proves_it_later() -> Result<()> {
    let stage = Stage::start().await?;
    stage.token().await?;
    let whole = stage.ask(&["audit", "verify"]).await?["audit"].clone();
    assert_eq!(
        (&whole["intact"], &whole["reason"]),
        (&true.into(), &serde_json::Value::Null),
        "{whole:#}"
    );
    let head = whole["head"].as_str().context("a head")?.to_owned();
    stage.token_with(|token| "another".clone_into(&mut token.name)).await?;
    let later = stage.ask(&["audit", "verify", "--known", &head]).await?["audit"].clone();
    assert!(later["entries"].as_u64() > whole["entries"].as_u64(), "{later:#}");

    let cut = "alter table audit disable trigger user; delete from audit where link >= 1";
    sqlx::raw_sql(cut).execute(stage.store.pool()).await?;
    let refused = stage.ask(&["audit", "verify", "--known", &head]).await.unwrap_err();
    let said = format!("{refused:#}");
    assert!(said.contains("does not hold at entry 1 of the chain"), "{said}");
    stage.stop().await
}
