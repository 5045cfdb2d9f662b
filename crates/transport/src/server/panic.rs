//! A panic in a handler, or in the stream it answered with, becomes an answer.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use tonic::Status;

use crate::refusal::Protocol;

pub(super) async fn catch(request: Request, next: Next) -> Response {
    let protocol = Protocol::of(request.headers());
    let path = request.uri().path().to_owned();
    let mut answer = pin!(next.run(request));
    // A handler that unwound is never polled again, so nobody sees what it left half done.
    let outcome = std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    });
    match outcome.await {
        Ok(response) if response.body().is_end_stream() => response,
        Ok(response) => response.map(|inner| {
            Body::new(Caught {
                inner: Some(inner),
                protocol,
                path,
            })
        }),
        Err(panic) => {
            report(&path, panic.as_ref());
            protocol.refuse(bug())
        }
    }
}

/// The message stays in the log: it is about our code, not about the caller's request.
fn bug() -> Status {
    Status::internal("the server met a bug in itself")
}

fn report(path: &str, panic: &(dyn Any + Send)) {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(path, panic = message.unwrap_or("not a text"), "a handler panicked");
}

/// A body whose panic ends it: with the trailers of an INTERNAL for gRPC, cut off for HTTP.
struct Caught {
    /// `None` once it panicked.
    inner: Option<Body>,
    protocol: Protocol,
    path: String,
}

impl HttpBody for Caught {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(cx))) {
            Ok(poll) => poll.map_err(Into::into),
            Err(panic) => {
                this.inner = None;
                report(&this.path, panic.as_ref());
                let trailers = bug().into_http::<()>().into_parts().0.headers;
                Poll::Ready(Some(match this.protocol {
                    Protocol::Grpc => Ok(Frame::trailers(trailers)),
                    Protocol::Http => Err(bug().into()),
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
