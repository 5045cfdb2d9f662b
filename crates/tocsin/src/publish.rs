//! Sending readings, and sending them again until each is answered.
//!
//! One batch is in flight at a time, so a machine's readings arrive in the order given. A stream that breaks is opened
//! anew and its unanswered batch sent again: sending twice changes nothing.

use std::time::Duration;

use tocsin_contracts::ingest::StreamProperties;
use tocsin_contracts::ingest::v1::ingest_service_client::IngestServiceClient;
use tocsin_contracts::ingest::v1::publish_request::Message;
use tocsin_contracts::ingest::v1::publish_response;
use tocsin_contracts::ingest::v1::{Ack, Batch, PublishRequest, PublishResponse, Reading};
use tocsin_transport::{Channel, retry};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Times a batch is sent before the sender gives up.
const ATTEMPTS: u32 = 10;
/// The longest pause between two of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A batch that isn't answered within this time is sent again.
const ANSWER: Duration = Duration::from_mins(1);

/// A sender of batches.
#[derive(Debug)]
pub struct Publisher {
    channel: Channel,
    properties: StreamProperties,
    stream: Option<Stream>,
    batch_id: u64,
}

#[derive(Debug)]
struct Stream {
    requests: mpsc::Sender<PublishRequest>,
    answers: Streaming<PublishResponse>,
}

/// Why a batch was not answered with an ack.
#[derive(Debug)]
enum Failure {
    /// Sending it again may help, not before so long.
    Again(Status, Duration),
    /// It won't.
    Final(Status),
}

impl Publisher {
    /// A sender over `channel`, which carries a gateway's token. Connects with the first batch.
    pub fn new(channel: Channel, properties: StreamProperties) -> Self {
        Self {
            channel,
            properties,
            stream: None,
            batch_id: 0,
        }
    }

    /// The publisher itself, with its open stream, leaving a fresh one behind: to lend it to a task.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let fresh = Self::new(self.channel.clone(), self.properties);
        std::mem::replace(self, fresh)
    }

    /// Sends a batch and waits for its ack, which may name readings that were rejected.
    ///
    /// # Errors
    /// The last status, when the batch was refused for good or ten times.
    pub async fn publish(&mut self, readings: Vec<Reading>) -> Result<Ack, Status> {
        self.batch_id += 1;
        let batch = Batch {
            batch_id: self.batch_id,
            readings,
        };
        for attempt in 1.. {
            let failure = match self.attempt(batch.clone()).await {
                Ok(ack) => return Ok(ack),
                Err(failure) => failure,
            };
            let (status, asked) = match failure {
                Failure::Again(status, asked) if attempt < ATTEMPTS => (status, asked),
                Failure::Again(status, _) | Failure::Final(status) => return Err(status),
            };
            let pause = asked
                .max(Duration::from_millis(100 << attempt.min(10)))
                .min(LONGEST_PAUSE);
            tracing::warn!(
                reason = status.message(),
                pause_ms = pause.as_millis() as u64,
                "a batch wasn't taken, sending it again"
            );
            tokio::time::sleep(pause).await;
        }
        unreachable!("the loop ends by returning")
    }

    async fn attempt(&mut self, batch: Batch) -> Result<Ack, Failure> {
        let batch_id = batch.batch_id;
        let answer = match self.exchange(batch).await {
            Ok(answer) => answer,
            Err(status) => {
                self.stream = None;
                return Err(if retry::is_worth_repeating(&status) || is_broken_connection(&status) {
                    let asked = retry::after(&status).unwrap_or_default();
                    Failure::Again(status, asked)
                } else {
                    Failure::Final(status)
                });
            }
        };
        if answer.batch_id != batch_id {
            let other = answer.batch_id;
            return Err(Failure::Final(Status::internal(format!(
                "batch {batch_id} was answered as {other}"
            ))));
        }
        match answer.result {
            Some(publish_response::Result::Ack(ack)) => Ok(ack),
            Some(publish_response::Result::Refusal(refusal)) if refusal.retry_after_ms > 0 => {
                let asked = Duration::from_millis(refusal.retry_after_ms.into());
                Err(Failure::Again(Status::resource_exhausted(refusal.reason), asked))
            }
            Some(publish_response::Result::Refusal(refusal)) => {
                Err(Failure::Final(Status::failed_precondition(refusal.reason)))
            }
            None => Err(Failure::Final(Status::internal(
                "an answer is neither an ack nor a refusal",
            ))),
        }
    }

    async fn exchange(&mut self, batch: Batch) -> Result<PublishResponse, Status> {
        let broken = || Status::unavailable("the stream broke off");
        let stream = match &mut self.stream {
            Some(stream) => stream,
            empty => empty.insert(open(self.channel.clone(), self.properties).await?),
        };
        let sent = stream
            .requests
            .send(PublishRequest {
                message: Some(Message::Batch(batch)),
            })
            .await;
        // When the server ended the stream its status is the better answer, and is read next.
        let answer = tokio::time::timeout(ANSWER, stream.answers.message()).await;
        match answer {
            Err(_) => Err(Status::unavailable(format!("no answer within {} s", ANSWER.as_secs()))),
            Ok(Err(status)) => Err(status),
            Ok(Ok(Some(answer))) if sent.is_ok() => Ok(answer),
            Ok(Ok(_)) => Err(broken()),
        }
    }
}

/// Whether a status was made here, of a connection that broke under the stream, and not sent by the server. tonic gives
/// these codes such as INTERNAL, but only they have a cause.
fn is_broken_connection(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

async fn open(channel: Channel, properties: StreamProperties) -> Result<Stream, Status> {
    let (requests, outgoing) = mpsc::channel(2);
    // Before the call: a server may answer only after it has read the header.
    let header = PublishRequest {
        message: Some(Message::Header(properties.into())),
    };
    requests
        .try_send(header)
        .map_err(|_| Status::internal("a new stream has no room"))?;
    let answers = IngestServiceClient::new(channel)
        .publish(ReceiverStream::new(outgoing))
        .await?
        .into_inner();
    Ok(Stream { requests, answers })
}
