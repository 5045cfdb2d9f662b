//! Every RPC and every route, walked from the descriptors without a credential.

use anyhow::Result;
use tocsin_contracts::{PUBLIC_METHODS, methods};
use tocsin_tests::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_but_the_public_ones_needs_a_credential() -> Result<()> {
    let stage = Stage::start().await?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().http2_prior_knowledge().build()?;
    let reflection = ["/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned()];
    let all: Vec<String> = methods().into_iter().chain(reflection).collect();
    assert!(all.len() > 40, "{}", all.len());
    for method in &all {
        if PUBLIC_METHODS.contains(&method.as_str()) {
            continue;
        }
        let answer = client
            .post(format!("http://{}{method}", stage.running.grpc_addr()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(vec![0, 0, 0, 0, 0])
            .send()
            .await?;
        let status = answer
            .headers()
            .get("grpc-status")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        assert_eq!(
            status.as_deref(),
            Some("16"),
            "{method} is open: {:?}",
            answer.headers()
        );
    }
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_but_the_public_ones_needs_a_credential() -> Result<()> {
    let stage = Stage::start().await?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let base = format!("http://{}", stage.running.grpc_addr());
    for (method, path) in [("POST", "/v1/readings"), ("GET", "/metrics"), ("GET", "/anything")] {
        let request = client.request(method.parse()?, format!("{base}{path}"));
        assert_eq!(request.send().await?.status(), 401, "{method} {path}");
    }
    assert_eq!(client.get(format!("{base}/healthz")).send().await?.status(), 200);

    let console = format!("http://{}", stage.running.console_addr().expect("a console"));
    for path in [
        "/",
        "/incidents",
        "/incidents/1",
        "/models",
        "/limits",
        "/sites/works/machines/m1",
    ] {
        let answer = client.get(format!("{console}{path}")).send().await?;
        let to_login = answer
            .headers()
            .get("location")
            .and_then(|to| to.to_str().ok())
            .unwrap_or_default();
        assert!(
            answer.status().is_redirection() && to_login.starts_with("/login"),
            "{path}: {}",
            answer.status()
        );
    }
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_may_publish_and_nothing_else() -> Result<()> {
    use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
    use tocsin_contracts::fleet::v1::{CreateSiteRequest, Site};
    use tocsin_contracts::scorer::v1::ScoreRequest;
    use tocsin_contracts::scorer::v1::scorer_service_client::ScorerServiceClient;
    let stage = Stage::start().await?;
    let channel = stage.running.channel(&stage.token().await?);
    let site = Site {
        name: "mine".to_owned(),
        title: "Mine".to_owned(),
        time_zone: "UTC".to_owned(),
        ..Site::default()
    };
    let refused = FleetServiceClient::new(channel.clone())
        .create_site(CreateSiteRequest { site: Some(site) })
        .await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::PermissionDenied);
    let refused = ScorerServiceClient::new(channel).score(ScoreRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::PermissionDenied);
    stage.stop().await
}
