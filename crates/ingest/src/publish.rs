//! One stream of batches: which are in flight, and the answer to each as soon as it is there.
//!
//! A machine has at most one batch at work, so its steps can't overtake each other; batches of different machines go
//! side by side up to a bound, and none waits for another's answer. As many again may wait for machines that are busy.
//! At either bound reading pauses, and the sender feels it through the stream's flow control: nothing piles up here.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tocsin_contracts::Malformed;
use tocsin_contracts::ingest::v1::publish_request::Message;
use tocsin_contracts::ingest::v1::publish_response;
use tocsin_contracts::ingest::v1::{Ack, Batch, PublishRequest, PublishResponse, Refusal, RefusalCode};
use tocsin_contracts::ingest::{SentReading, StreamProperties, v1};
use tocsin_domain::access::Gateway;
use tocsin_transport::auth::{Denied, Reverify};
use tocsin_transport::retry;
use tocsin_transport::server::Draining;
use tokio::sync::mpsc;
use tokio::task::{self, JoinError, JoinSet};
use tonic::{Status, Streaming};

use crate::admission::{NewestCaptures, Terms};
use crate::intake::{Answered, Arrived, Intake};
use crate::window::{Turn, Window};

/// A sender that is sent elsewhere comes back after this time.
const MOVED_ON: std::time::Duration = std::time::Duration::from_millis(250);

/// What drives a stream from its first message to its end.
pub(crate) struct Driver {
    intake: Arc<Intake>,
    terms: Terms,
    /// Batches in line for their machines, with the sender's number.
    window: Window<(u64, Arrived)>,
    /// Batches at work, each in a task of its own.
    at_work: JoinSet<Result<Answered, Refusal>>,
    /// Their numbers, and the machines that are theirs meanwhile.
    turns: HashMap<task::Id, (u64, Turn)>,
    /// Answers that are there and not yet sent.
    answered: VecDeque<PublishResponse>,
    answers: mpsc::Sender<Result<PublishResponse, Status>>,
    begun: bool,
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
            at_work: JoinSet::new(),
            turns: HashMap::new(),
            answered: VecDeque::new(),
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
        // What is at work goes on when the stream breaks: the sender learns of it when it sends again.
        self.at_work.detach_all();
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
            // While one waits another is at work.
            let in_flight = self.at_work.len() + self.answered.len();
            if in_flight == 0
                && let Some(end) = end
            {
                return end;
            }
            let room = in_flight.max(self.window.waiting()) < self.intake.in_flight_batches;
            tokio::select! {
                () = self.answers.closed() => return Ok(()),
                () = stopping(draining.as_ref()), if end.is_none() => {
                    let status = Status::unavailable("the server is stopping: send what is not acknowledged again");
                    end = Some(Err(retry::hint(status, MOVED_ON)));
                }
                Some(done) = self.at_work.join_next_with_id() => self.finish(done),
                () = send_next(&mut self.answered, &self.answers), if !self.answered.is_empty() => {}
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
                if let Some((turn, (batch_id, batch))) = self.window.join(batch.machines(), (batch_id, batch)) {
                    self.start(turn, batch_id, batch);
                }
            }
            Err(refusal) => self.answer(batch_id, Err(refusal)),
        }
    }

    /// Sets a batch to work whose turn it is.
    fn start(&mut self, turn: Turn, batch_id: u64, batch: Arrived) {
        let (intake, terms) = (Arc::clone(&self.intake), self.terms.clone());
        let task = self.at_work.spawn(async move { intake.process(&terms, batch).await });
        self.turns.insert(task.id(), (batch_id, turn));
    }

    /// Takes what became of a batch at work, and lets those go on that waited for its machines.
    fn finish(&mut self, done: Result<(task::Id, Result<Answered, Refusal>), JoinError>) {
        let (task, answer) = done.unwrap_or_else(|panicked| (panicked.id(), Err(broken())));
        let (batch_id, turn) = self.turns.remove(&task).expect("every task has its batch's turn");
        for (turn, (batch_id, batch)) in self.window.leave(turn) {
            self.start(turn, batch_id, batch);
        }
        self.answer(batch_id, answer.map(|answered| answered.ack));
    }

    fn answer(&mut self, batch_id: u64, answer: Result<Ack, Refusal>) {
        let result = match answer {
            Ok(ack) => publish_response::Result::Ack(ack),
            Err(refusal) => publish_response::Result::Refusal(refusal),
        };
        self.answered.push_back(PublishResponse {
            batch_id,
            result: Some(result),
        });
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

/// Sends the next answer. Dropped before, it loses nothing: the place in the channel is had first.
async fn send_next(answered: &mut VecDeque<PublishResponse>, answers: &mpsc::Sender<Result<PublishResponse, Status>>) {
    if let Ok(place) = answers.reserve().await
        && let Some(answer) = answered.pop_front()
    {
        place.send(Ok(answer));
    }
}

/// A batch whose task panicked. Whether it was stored is not known; sending it again settles that.
fn broken() -> Refusal {
    Refusal {
        code: RefusalCode::Unavailable.into(),
        reason: "the batch broke the server's work on it".to_owned(),
        retry_after_ms: MOVED_ON.as_millis() as u32,
    }
}
