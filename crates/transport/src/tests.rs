//! Stories over loopback, told with the health and reflection services and a few plain routes.

mod access;
mod limits;
mod network;
mod shutdown;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tower::ServiceExt;

use crate::auth::{self, Auth, Credential, Denied, Token, Verifier};
use crate::channel::{self, Channel};
use crate::server::{self, Server};

/// The principal of these stories: the token's text.
#[derive(Debug, Clone, PartialEq)]
struct Caller(String);

/// Stands for the database of tokens.
#[derive(Debug, Default)]
struct Tokens {
    known: Mutex<HashSet<String>>,
    down: AtomicBool,
    asked: AtomicUsize,
}

impl Tokens {
    fn with(token: &str) -> Arc<Self> {
        let tokens = Self::default();
        tokens.known.lock().expect("not poisoned").insert(token.to_owned());
        Arc::new(tokens)
    }

    fn revoke_all(&self) {
        self.known.lock().expect("not poisoned").clear();
    }

    fn look_up(&self, credential: &Credential) -> Result<Caller, Denied> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(Denied::Unavailable {
                reason: "the database is down".to_owned(),
            });
        }
        let token = credential.token.expose();
        let known = self.known.lock().expect("not poisoned").contains(token);
        if known {
            Ok(Caller(token.to_owned()))
        } else {
            Err(Denied::Unknown)
        }
    }

    fn auth(self: &Arc<Self>) -> Auth<Caller> {
        let tokens = Arc::clone(self);
        Auth::new(Verifier::new(move |credential| {
            std::future::ready(tokens.look_up(&credential))
        }))
        .public([
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Watch",
            "/healthz",
            "/open/*",
        ])
    }
}

/// Any port, every credential asked about each time, streams ten times in a blink.
fn config() -> server::Config {
    server::Config {
        listen: "127.0.0.1:0".parse().expect("an address"),
        auth: auth::Config {
            cache_ttl_ms: 0,
            reverify_ms: 5,
            ..auth::Config::default()
        },
        ..server::Config::default()
    }
}

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(server: Server) -> Self {
        let bound = server.bind().await.expect("a free port");
        let (address, shutdown) = (bound.local_addr(), CancellationToken::new());
        let task = tokio::spawn(bound.run(shutdown.clone()));
        Self {
            address,
            shutdown,
            task,
        }
    }

    /// Without a credential.
    fn channel(&self) -> Channel {
        let config = channel::Config {
            urls: vec![format!("http://{}", self.address)],
            ..channel::Config::default()
        };
        Channel::remote(&config).expect("a loopback url")
    }

    /// One HTTP/1.1 request, its whole answer as text.
    async fn http(&self, method: &str, path: &str, headers: &str) -> String {
        let mut socket = TcpStream::connect(self.address).await.expect("the server listens");
        let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.expect("the server reads");
        let mut answer = String::new();
        // A body cut off by the server ends the read with an error; what came before it counts.
        let _ = socket.read_to_string(&mut answer).await;
        answer
    }
}

fn token(text: &str) -> Token {
    Token::parse(text).expect("a token")
}

async fn check(channel: Channel, service: &str) -> Result<ServingStatus, Status> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    HealthClient::new(channel)
        .check(request)
        .await
        .map(|answer| answer.into_inner().status())
}

/// The reflection service's list of services.
async fn list(channel: Channel) -> Result<Vec<String>, Status> {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request,
    };
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::once(question))
        .await?
        .into_inner();
    match answers
        .message()
        .await?
        .expect("one answer per question")
        .message_response
    {
        Some(MessageResponse::ListServicesResponse(list)) => Ok(list.service.into_iter().map(|s| s.name).collect()),
        other => panic!("not a list of services: {other:?}"),
    }
}

/// A gRPC call without a body, and the status it is answered with.
async fn call(channel: Channel, path: &str) -> Result<(), Status> {
    let request = Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let request = request.body(Body::empty()).expect("a request");
    let response = channel.oneshot(request).await.map_err(Status::from_error)?;
    let status = if let Some(status) = Status::from_header_map(response.headers()) {
        status
    } else {
        let body = http_body_util::BodyExt::collect(response.into_body()).await?;
        body.trailers()
            .and_then(Status::from_header_map)
            .expect("a status in the trailers")
    };
    if status.code() == Code::Ok { Ok(()) } else { Err(status) }
}

/// Handlers that wait at it until the test opens it.
#[derive(Debug, Clone, Default)]
struct Barrier {
    reached: Arc<Notify>,
    open: Arc<Notify>,
}

impl Barrier {
    async fn wait(&self) {
        self.reached.notify_one();
        self.open.notified().await;
    }
}
