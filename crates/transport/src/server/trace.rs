//! A debug span per request: method, path, peer, status and time. The query and the headers stay out of it: they may hold secrets.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, header};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tonic::Status;
use tonic::transport::server::TcpConnectInfo;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::OnRequest;

pub(super) async fn request(State(hook): State<OnRequest>, request: Request, next: Next) -> Response {
    let span = tracing::debug_span!(
        "request",
        method = %request.method(),
        path = request.uri().path(),
        peer = Empty,
        status = Empty,
        elapsed_ms = Empty,
    );
    if span.is_disabled() {
        return next.run(request).await;
    }
    if let Some(peer) = request
        .extensions()
        .get::<TcpConnectInfo>()
        .and_then(|info| info.remote_addr)
    {
        span.record("peer", tracing::field::display(peer));
    }
    hook(request.headers(), &span);
    let mut end = End {
        span: span.clone(),
        started: Instant::now(),
        status: None,
    };
    let response = next.run(request).instrument(span).await;
    end.status = status(response.headers()).or_else(|| {
        // A gRPC answer that goes on has its status in the trailers.
        let grpc = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        (!grpc).then(|| response.status().as_u16().to_string())
    });
    if response.body().is_end_stream() {
        return response;
    }
    response.map(|inner| Body::new(Traced { inner, end }))
}

fn status(headers: &HeaderMap) -> Option<String> {
    Status::from_header_map(headers).map(|status| format!("{:?}", status.code()))
}

/// Writes the end of a request into its span when dropped: so a caller that went away before the end is seen as well.
struct End {
    span: Span,
    started: Instant,
    status: Option<String>,
}

impl Drop for End {
    fn drop(&mut self) {
        let status = self.status.as_deref().unwrap_or("abandoned");
        self.span.record("status", status);
        self.span
            .record("elapsed_ms", self.started.elapsed().as_secs_f64() * 1e3);
        self.span.in_scope(|| tracing::debug!("answered"));
    }
}

/// A body polled within its request's span.
struct Traced {
    inner: Body,
    end: End,
}

impl HttpBody for Traced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let _in_span = this.end.span.enter();
        let poll = Pin::new(&mut this.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &poll
            && let Some(trailers) = frame.trailers_ref()
        {
            this.end.status = status(trailers);
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
