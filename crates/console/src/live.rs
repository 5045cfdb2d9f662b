//! Live pages: server-sent events that say "something changed"; the page then fetches itself again.
//!
//! The numbers in the events are the services' change counters. An event stream ends when a service ends its own; the browser comes back
//! by itself.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, HeaderName};
use tocsin_contracts::incidents::v1::WatchIncidentsRequest;
use tocsin_contracts::review::v1::WatchReadingsRequest;
use tocsin_transport::server::Draining;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use crate::failure::{Failure, Part};
use crate::session::Session;

/// A comment this often keeps proxies from closing a quiet stream.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// A lost connection is tried again after this long, in the browser.
const RETRY: Duration = Duration::from_secs(3);

/// `GET /live`: events `incidents` and `readings`.
pub(crate) async fn stream(session: Session, draining: Option<Extension<Draining>>) -> Result<Response, Failure> {
    let (mut incidents, mut review) = (session.incidents(), session.review());
    let (incidents, readings) = tokio::try_join!(
        async {
            incidents
                .watch_incidents(WatchIncidentsRequest {})
                .await
                .map_err(Part::Incidents.failed())
        },
        async {
            review
                .watch_readings(WatchReadingsRequest {})
                .await
                .map_err(Part::Review.failed())
        },
    )?;
    let changes = ended_by_either(
        incidents
            .into_inner()
            .map(|answer| answer.map(|message| ("incidents", message.change))),
        readings
            .into_inner()
            .map(|answer| answer.map(|message| ("readings", message.change))),
    );
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(forward(changes, sender, draining.map(|Extension(draining)| draining)));
    Ok(events(receiver))
}

/// The answer that a browser goes on reading.
pub(crate) fn events(receiver: mpsc::Receiver<Event>) -> Response {
    let events = ReceiverStream::new(receiver).map(Ok::<_, Infallible>);
    let answer = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEPALIVE));
    let headers = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Proxies that gather answers would hold the events back.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    (headers, answer).into_response()
}

/// What every stream begins with.
pub(crate) fn hello() -> Event {
    Event::default().event("hello").retry(RETRY).data("connected")
}

type Change = Result<(&'static str, i64), Status>;

/// Both streams as one, with a `None` when either ends.
fn ended_by_either(
    first: impl Stream<Item = Change> + Send + Unpin + 'static,
    second: impl Stream<Item = Change> + Send + Unpin + 'static,
) -> impl Stream<Item = Option<Change>> + Send + Unpin {
    let with_end = |end| tokio_stream::once(end);
    let first = first.map(Some).chain(with_end(None));
    first.merge(second.map(Some).chain(with_end(None)))
}

/// Until a service ends its stream, the browser goes, or the server drains.
async fn forward(
    mut changes: impl Stream<Item = Option<Change>> + Unpin,
    sender: mpsc::Sender<Event>,
    draining: Option<Draining>,
) {
    if sender.send(hello()).await.is_err() {
        return;
    }
    let drain = async {
        match &draining {
            Some(draining) => draining.started().await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(drain);
    loop {
        let change = tokio::select! {
            () = &mut drain => return,
            // So that a service isn't watched for a browser that has gone.
            () = sender.closed() => return,
            change = changes.next() => change,
        };
        let Some(Some(Ok((name, number)))) = change else {
            return;
        };
        let event = Event::default().event(name).data(number.to_string());
        if sender.send(event).await.is_err() {
            return;
        }
    }
}
