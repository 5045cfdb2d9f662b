//! The roles put together: the whole on a private Postgres, and one by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use tocsin::cluster::Cluster;
use tocsin::credential::ServiceCredential;
use tocsin::data_dir::DataDir;
use tocsin::local::{ADMIN, Local, Options};
use tocsin::{Config, Platform, Role};
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{ListAccountsRequest, SignInRequest, WhoAmIRequest};
use tocsin_models::BundleStore;
use tocsin_transport::auth::Token;
use tocsin_transport::{Channel, channel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// A folder that the private Postgres gets through.
fn folder() -> TempDir {
    let passable = fs::Permissions::from_mode(0o711);
    tempfile::Builder::new()
        .permissions(passable)
        .tempdir()
        .expect("a temp folder")
}

/// Ports that the system chooses.
fn config() -> Config {
    let mut config = Config::default();
    config.server.listen.set_port(0);
    config.console.listen.set_port(0);
    config.telemetry.metrics_listen = Some(([127, 0, 0, 1], 0).into());
    config
}

async fn up(folder: &Path) -> Local {
    let data_dir = DataDir::find(Some(&folder.join("data"))).expect("absolute");
    let options = Options {
        data_dir,
        config: config(),
        metrics: prometheus::Registry::new(),
    };
    Local::start(options).await.expect("it starts")
}

fn remote(address: std::net::SocketAddr) -> Channel {
    let config = channel::Config {
        urls: vec![format!("http://{address}")],
        ..channel::Config::default()
    };
    Channel::remote(&config).expect("a loopback url")
}

async fn serves(channel: &Channel, service: &str) -> bool {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel.clone()).check(request).await;
    answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving)
}

/// The status line's code.
async fn get(address: std::net::SocketAddr, path: &str, token: Option<&Token>) -> u16 {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    let authorization = token.map_or_else(String::new, |token| {
        format!("authorization: Bearer {}\r\n", token.expose())
    });
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{authorization}\r\n");
    socket.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("it answers");
    answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("a status line")
}

async fn sign_in(channel: &Channel, password: &str) -> Result<String, Code> {
    let request = SignInRequest {
        name: ADMIN.to_owned(),
        password: password.to_owned(),
    };
    let answer = AccessServiceClient::new(channel.clone()).sign_in(request).await;
    answer
        .map(|answer| answer.into_inner().session)
        .map_err(|status| status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_gets_every_role_and_an_account_and_a_second_start_finds_it_all() {
    if !Cluster::is_possible() {
        eprintln!("skipped: postgres isn't installed");
        return;
    }
    let folder = folder();
    let local = up(folder.path()).await;
    let address = local.running.grpc_addr();
    let anyone = remote(address);
    let services: std::collections::BTreeSet<String> = tocsin_contracts::methods()
        .iter()
        .filter_map(|method| method.trim_start_matches('/').split('/').next().map(str::to_owned))
        .collect();
    for service in &services {
        assert!(serves(&anyone, service).await, "{service}");
    }

    // Without a credential: sign-in, health and liveness, and nothing else.
    let refused = AccessServiceClient::new(anyone.clone())
        .list_accounts(ListAccountsRequest {})
        .await;
    assert_eq!(refused.expect_err("no credential").code(), Code::Unauthenticated);
    assert_eq!(get(address, "/healthz", None).await, 200);
    assert_eq!(get(address, "/metrics", None).await, 401);
    assert_eq!(get(address, "/metrics", Some(local.token())).await, 200);
    let scrape = local.running.metrics_addr().expect("on loopback by default");
    assert_eq!(get(scrape, "/metrics", None).await, 200);
    assert!(local.console().is_some());

    let password = local.new_admin_password.clone().expect("made at the first start");
    let session = sign_in(&anyone, &password).await.expect("the printed password");
    let session = anyone.clone().with_token(&Token::parse(&session).expect("a token"));
    let who = AccessServiceClient::new(session)
        .who_am_i(WhoAmIRequest {})
        .await
        .expect("signed in")
        .into_inner();
    assert_eq!(
        (who.name.as_str(), who.role.as_str(), who.all_sites),
        (ADMIN, "admin", true)
    );
    local.stop().await;

    let again = up(folder.path()).await;
    assert_eq!(again.new_admin_password, None);
    let anyone = remote(again.running.grpc_addr());
    assert!(sign_in(&anyone, &password).await.is_ok());
    assert_eq!(sign_in(&anyone, "guess").await, Err(Code::Unauthenticated));
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scorer_by_itself_needs_no_database_and_takes_the_service_credential_alone() {
    let credential = ServiceCredential::generate().expect("random bits");
    let mut config = config();
    config.peers.registry = vec!["http://127.0.0.1:9".to_owned()];
    let bundles = BundleStore::open("memory://").expect("memory");
    let platform = Platform::builder(config)
        .role(Role::Scorer)
        .credential(credential.clone())
        .bundles(bundles);
    let running = platform.start().await.expect("it starts");
    let address = running.grpc_addr();
    assert!(serves(&remote(address), "tocsin.scorer.v1.ScorerService").await);
    assert!(!serves(&remote(address), "tocsin.registry.v1.RegistryService").await);
    assert_eq!(get(address, "/metrics", Some(credential.token())).await, 200);
    let other = ServiceCredential::generate().expect("random bits");
    assert_eq!(get(address, "/metrics", Some(other.token())).await, 401);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_platform_from_starting_is_named_by_its_setting() {
    let credential = ServiceCredential::generate().expect("random bits");
    let refusal = async |config: Config, role: Role| {
        let bundles = BundleStore::open("memory://").expect("memory");
        let platform = Platform::builder(config)
            .role(role)
            .credential(credential.clone())
            .bundles(bundles);
        let error = platform.start().await.expect_err("it doesn't start");
        format!("{error:#}")
    };
    let error = refusal(config(), Role::Ingest).await;
    assert!(error.contains("database.url"), "{error}");
    let error = refusal(config(), Role::Scorer).await;
    assert!(error.contains("peers.registry"), "{error}");

    let mut open = config();
    open.peers.registry = vec!["http://127.0.0.1:9".to_owned()];
    open.server.listen = ([0, 0, 0, 0], 0).into();
    let error = refusal(open.clone(), Role::Scorer).await;
    assert!(error.contains("tls"), "{error}");

    open.server.listen = ([127, 0, 0, 1], 0).into();
    open.peers.registry = vec!["http://registry.example.org:7700".to_owned()];
    let error = refusal(open, Role::Scorer).await;
    assert!(error.contains("peers.registry") && error.contains("https"), "{error}");
}
