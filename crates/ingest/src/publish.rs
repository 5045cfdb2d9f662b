//! One stream of batches: which are in flight, and the answers in the order sent.
//!
//! A machine has at most one batch in flight, so its steps can't overtake each other; batches of different machines go
//! side by side up to a bound. Reading pauses while a batch waits for its machines or the bound is reached, and the
//! sender feels it through the stream's flow control: nothing piles up here.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tocsin_contracts::Malformed;
use tocsin_contracts::ingest::v1::publish_request::Message;
use tocsin_contracts::ingest::v1::publish_response;
use tocsin_contracts::ingest::v1::{Batch, PublishRequest, PublishResponse, Refusal, RefusalCode};
use tocsin_contracts::ingest::{SentReading, StreamProperties, v1};
use tocsin_domain::Slug;
use tocsin_domain::access::Gateway;
use tocsin_transport::auth::{Denied, Reverify};
use tocsin_transport::retry;
use tocsin_transport::server::Draining;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::{Status, Streaming};

use crate::admission::{NewestCaptures, Terms};
use crate::intake::{Answered, Arrived, Intake};
use crate::window::{Claim, Window};

/// A sender that is sent elsewhere comes back after this time.
const MOVED_ON: std::time::Duration = std::time::Duration::from_millis(250);

/// What drives a stream from its first message to its end.
pub(crate) struct Driver {
    intake: Arc<Intake>,
    terms: Terms,
    window: Window,
    /// Batches read, in order, until their answers are sent.
    in_flight: VecDeque<InFlight>,
    /// The newest batch, while its machines are busy.
    waiting: Option<Waiting>,
    answers: mpsc::Sender<Result<PublishResponse, Status>>,
    begun: bool,
}

struct InFlight {
    batch_id: u64,
    state: State,
}

enum State {
    /// At work in a task of its own.
    Working(JoinHandle<Result<Answered, Refusal>>),
    /// Refused before any work.
    Refused(Refusal),
}

struct Waiting {
    batch_id: u64,
    machines: HashSet<Slug>,
    batch: Arrived,
}

impl Driver {
    pub(crate) fn new(
        intake: Arc<Intake>,
        gateway: Arc<Gateway>,
        answers: mpsc::Sender<Result<PublishResponse, Status>>,
    ) -> Self {
        let terms = Terms {
            gateway,
            stream: StreamProperties::default(),
            newest: NewestCaptures::default(),
        };
        Self {
            intake,
            terms,
            window: Window::default(),
            in_flight: VecDeque::new(),
            waiting: None,
            answers,
            begun: false,
        }
    }

    /// Until the sender, the server or the credential ends it.
    pub(crate) async fn run(
        mut self,
        mut inbound: Streaming<PublishRequest>,
        reverify: Option<Reverify>,
        draining: Option<Draining>,
    ) {
        let ended = tokio::select! {
            end = self.drive(&mut inbound, draining) => end,
            denied = revoked(reverify) => Err(denied.into()),
        };
        if let Err(status) = ended {
            tracing::debug!(code = ?status.code(), message = status.message(), "stream ends");
            // The sender may be gone already.
            let _ = self.answers.send(Err(status)).await;
        }
    }

    async fn drive(
        &mut self,
        inbound: &mut Streaming<PublishRequest>,
        draining: Option<Draining>,
    ) -> Result<(), Status> {
        // Set once nothing more is read; what is in flight is still answered.
        let mut end: Option<Result<(), Status>> = None;
        loop {
            if self.waiting.is_none()
                && self.in_flight.is_empty()
                && let Some(end) = end
            {
                return end;
            }
            let room = self.waiting.is_none() && self.in_flight.len() < self.intake.in_flight_batches;
            tokio::select! {
                () = self.answers.closed() => return Ok(()),
                () = stopping(draining.as_ref()), if end.is_none() => {
                    let status = Status::unavailable("the server is stopping: send what is not acknowledged again");
                    end = Some(Err(retry::hint(status, MOVED_ON)));
                }
                () = answer_next(&mut self.in_flight, &self.answers), if !self.in_flight.is_empty() => {
                    self.in_flight.pop_front();
                }
                claim = claim(&self.window, self.waiting.as_ref()), if self.waiting.is_some() => self.start(claim),
                message = inbound.message(), if room && end.is_none() => {
                    end = match message {
                        Ok(Some(request)) => self.take(request).err().map(Err),
                        Ok(None) => Some(Ok(())),
                        Err(status) => Some(Err(status)),
                    };
                }
            }
        }
    }

    /// Takes one message; the error ends the stream.
    fn take(&mut self, request: PublishRequest) -> Result<(), Status> {
        let first = !std::mem::replace(&mut self.begun, true);
        match request.message {
            Some(Message::Batch(batch)) => {
                self.take_batch(batch);
                Ok(())
            }
            Some(Message::Header(header)) if first => {
                self.terms.stream = declared(header, &self.terms.gateway)?;
                Ok(())
            }
            Some(Message::Header(_)) => Err(Malformed::new("header", "only the first message may be one").into()),
            None => Err(Malformed::new("message", "is neither header nor batch").into()),
        }
    }

    fn take_batch(&mut self, Batch { batch_id, readings }: Batch) {
        match self
            .intake
            .arrive(&self.terms.gateway, batch_id, readings, SentReading::try_from)
        {
            Ok(batch) => {
                let machines = batch.machines();
                self.waiting = Some(Waiting {
                    batch_id,
                    machines,
                    batch,
                });
            }
            Err(refusal) => {
                let state = State::Refused(refusal);
                self.in_flight.push_back(InFlight { batch_id, state });
            }
        }
    }

    /// Sets the waiting batch to work. Its machines are free again when it is done, before its answer is sent.
    fn start(&mut self, claim: Claim) {
        let Some(Waiting { batch_id, batch, .. }) = self.waiting.take() else {
            return;
        };
        let (intake, terms) = (Arc::clone(&self.intake), self.terms.clone());
        let work = tokio::spawn(async move {
            let answer = intake.process(&terms, batch).await;
            drop(claim);
            answer
        });
        let state = State::Working(work);
        self.in_flight.push_back(InFlight { batch_id, state });
    }
}

/// What a header declares, if the token grants it.
fn declared(header: v1::StreamHeader, gateway: &Gateway) -> Result<StreamProperties, Status> {
    let stream = StreamProperties::try_from(header)?;
    let denied = |what: &str, grant: &str| {
        let name = &gateway.name;
        Err(Status::permission_denied(format!(
            "gateway:{name} may not declare {what}: its token lacks {grant}"
        )))
    };
    if stream.clock_is_capture && !gateway.may_replay {
        return denied("clock=capture", "may_replay");
    }
    if stream.historical && !gateway.may_send_historical {
        return denied("historical", "may_send_historical");
    }
    Ok(stream)
}

async fn revoked(reverify: Option<Reverify>) -> Denied {
    match reverify {
        Some(reverify) => reverify.revoked().await,
        None => std::future::pending().await,
    }
}

async fn stopping(draining: Option<&Draining>) {
    match draining {
        Some(draining) => draining.started().await,
        None => std::future::pending().await,
    }
}

async fn claim(window: &Window, waiting: Option<&Waiting>) -> Claim {
    match waiting {
        Some(waiting) => window.claim(&waiting.machines).await,
        None => std::future::pending().await,
    }
}

/// Sends the answer of the oldest batch when it is there. Dropped before, it loses nothing: the place in the channel is
/// had first, and then the answer is taken and sent in one go.
async fn answer_next(in_flight: &mut VecDeque<InFlight>, answers: &mpsc::Sender<Result<PublishResponse, Status>>) {
    let (Some(oldest), Ok(place)) = (in_flight.front_mut(), answers.reserve().await) else {
        return std::future::pending().await;
    };
    let answered = match &mut oldest.state {
        State::Refused(refusal) => Err(refusal.clone()),
        State::Working(work) => work
            .await
            .unwrap_or_else(|_| Err(broken()))
            .map(|answered| answered.ack),
    };
    place.send(Ok(PublishResponse {
        batch_id: oldest.batch_id,
        result: Some(match answered {
            Ok(ack) => publish_response::Result::Ack(ack),
            Err(refusal) => publish_response::Result::Refusal(refusal),
        }),
    }));
}

/// A batch whose task panicked. Whether it was stored is not known; sending it again settles that.
fn broken() -> Refusal {
    Refusal {
        code: RefusalCode::Unavailable.into(),
        reason: "the batch broke the server's work on it".to_owned(),
        retry_after_ms: MOVED_ON.as_millis() as u32,
    }
}
