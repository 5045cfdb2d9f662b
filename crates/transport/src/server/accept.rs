//! From the port to the stack: connections, their handshakes, and how they end.

use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::TcpConnectInfo;
use tower::Service;

use super::{Config, Health, Stack};
use crate::auth::ClientCertificate;

/// A TLS handshake takes no longer, or the connection is closed.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A connection makes its first request by then, or is closed: so that one which says nothing, or garbage byte by byte, keeps no place.
const FIRST_REQUEST: Duration = Duration::from_secs(20);
/// A silent HTTP/2 peer is asked this often whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// A server that has its port.
pub struct Bound {
    pub(super) local_addr: SocketAddr,
    pub(super) listener: TcpListener,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) config: Config,
    pub(super) health: Health,
    pub(super) stack: Stack,
}

impl Bound {
    /// The address, with the port the system chose if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The whole stack, for [`Channel::in_process`](crate::Channel::in_process).
    pub fn stack(&self) -> Stack {
        self.stack.clone()
    }

    /// Serves until `shutdown` is cancelled; then drains, and after [`Config::drain_ms`] cuts what is left.
    pub async fn run(self, shutdown: CancellationToken) {
        let door = Door {
            tls: self.tls.map(TlsAcceptor::from),
            stack: self.stack,
            places: Arc::new(Semaphore::new(
                self.config.max_connections.get().min(Semaphore::MAX_PERMITS),
            )),
            connections: TaskTracker::new(),
            hard: CancellationToken::new(),
        };
        // Whoever drops this future cuts the connections as well.
        let hard = door.hard.clone().drop_guard();
        tracing::info!(address = %self.local_addr, tls = door.tls.is_some(), "listening");
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = door.accept(&self.listener) => {}
        }

        self.health.drain();
        // Closed before draining: a newcomer is refused at once and goes elsewhere, rather than wait in the backlog.
        drop(self.listener);
        door.stack.draining.cancel();
        door.connections.close();
        tracing::info!(
            connections = door.connections.len(),
            drain_ms = self.config.drain_ms,
            "draining"
        );
        let drained = tokio::time::timeout(Duration::from_millis(self.config.drain_ms), door.connections.wait()).await;
        if drained.is_err() {
            tracing::warn!(
                connections = door.connections.len(),
                "still open after the drain, cutting them"
            );
        }
        drop(hard);
        door.connections.wait().await;
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

/// What the connections share.
#[derive(Clone)]
struct Door {
    tls: Option<TlsAcceptor>,
    stack: Stack,
    places: Arc<Semaphore>,
    connections: TaskTracker,
    hard: CancellationToken,
}

impl Door {
    /// Accepts for ever.
    async fn accept(&self, listener: &TcpListener) {
        loop {
            let (socket, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Of one connection (it went away again), or of the process (no file descriptors): the latter needs a breath.
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                tracing::warn!(%peer, "too many connections, closing one");
                continue;
            };
            let door = self.clone();
            self.connections.spawn(async move {
                tokio::select! {
                    () = door.hard.cancelled() => {}
                    () = door.greet(socket, peer) => {}
                }
                drop(place);
            });
        }
    }

    async fn greet(&self, socket: TcpStream, peer: SocketAddr) {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%peer, %error, "can't set nodelay");
        }
        let info = TcpConnectInfo {
            local_addr: socket.local_addr().ok(),
            remote_addr: Some(peer),
        };
        let Some(tls) = &self.tls else {
            return self.converse(socket, info, None).await;
        };
        let handshake = tokio::select! {
            // A handshake has asked for nothing yet, so a drain doesn't wait for it.
            () = self.stack.draining.cancelled() => return,
            handshake = tokio::time::timeout(HANDSHAKE, tls.accept(socket)) => handshake,
        };
        match handshake {
            Ok(Ok(stream)) => {
                let certificates = stream.get_ref().1.peer_certificates();
                let certificate = certificates
                    .and_then(<[_]>::first)
                    .map(|leaf| ClientCertificate(leaf.as_ref().into()));
                self.converse(stream, info, certificate).await;
            }
            Ok(Err(error)) => tracing::debug!(%peer, %error, "tls handshake failed"),
            Err(_) => tracing::debug!(%peer, "tls handshake took too long"),
        }
    }

    /// Speaks HTTP/1.1 or HTTP/2, whichever the peer begins with.
    async fn converse<IO>(&self, io: IO, info: TcpConnectInfo, certificate: Option<ClientCertificate>)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let asked = CancellationToken::new();
        let service = Connection {
            stack: self.stack.clone(),
            info,
            certificate,
            asked: asked.clone(),
        };
        let mut http = auto::Builder::new(TokioExecutor::new());
        // Without a timer hyper knows no timeouts: neither for headers that trickle in, nor for peers that are gone.
        http.http1().timer(TokioTimer::new());
        http.http2().timer(TokioTimer::new()).keep_alive_interval(KEEPALIVE);
        let mut connection = pin!(http.serve_connection(TokioIo::new(io), TowerToHyperService::new(service)));
        let mut silence = pin!(tokio::time::sleep(FIRST_REQUEST));
        let mut draining = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection failed");
                    }
                    return;
                }
                () = self.stack.draining.cancelled(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = silence.as_mut(), if !asked.is_cancelled() => {
                    tracing::debug!("no request in time, closing the connection");
                    return;
                }
                () = asked.cancelled(), if !asked.is_cancelled() => {}
            }
        }
    }
}

/// The stack, as one connection sees it: with what is known of the peer.
#[derive(Clone)]
struct Connection {
    stack: Stack,
    info: TcpConnectInfo,
    certificate: Option<ClientCertificate>,
    /// Cancelled by the first request.
    asked: CancellationToken,
}

impl<B> Service<Request<B>> for Connection
where
    Stack: Service<Request<B>>,
{
    type Response = <Stack as Service<Request<B>>>::Response;
    type Error = <Stack as Service<Request<B>>>::Error;
    type Future = <Stack as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.stack.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        self.asked.cancel();
        request.extensions_mut().insert(self.info.clone());
        if let Some(certificate) = &self.certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        self.stack.call(request)
    }
}
