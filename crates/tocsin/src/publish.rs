//! Sending readings, and sending them again until each is answered.
//!
//! One batch is in flight at a time, so a machine's readings arrive in the order given. A stream that breaks is opened
//! anew and its unanswered batch sent again: sending twice changes nothing. Readings of an acknowledged batch that the
//! platform could not store are sent again as well, before their machines' next.

use std::time::Duration;

use tocsin_contracts::ingest::StreamProperties;
use tocsin_contracts::ingest::v1::ingest_service_client::IngestServiceClient;
use tocsin_contracts::ingest::v1::publish_request::Message;
use tocsin_contracts::ingest::v1::publish_response;
use tocsin_contracts::ingest::v1::{Ack, Batch, PublishRequest, PublishResponse, Reading, Rejection, RejectionCode};
use tocsin_transport::{Channel, retry};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Times a batch is sent before the sender gives up.
const ATTEMPTS: u32 = 10;
/// Times readings are sent again that could not be stored.
const STORE_AGAIN: u32 = 4;
/// The longest pause between two attempts.
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

    /// Sends a batch and waits for its ack, which may name readings that were rejected: as `NOT_STORED` only those that
    /// weren't stored after several attempts.
    ///
    /// # Errors
    /// The last status, when the batch was refused for good or ten times.
    pub async fn publish(&mut self, readings: Vec<Reading>) -> Result<Ack, Status> {
        let mut ack = self.publish_once(readings.clone()).await?;
        for attempt in 1..=STORE_AGAIN {
            let missing = not_stored(&ack);
            if missing.is_empty() {
                break;
            }
            let pause = Duration::from_millis(100 << attempt);
            tracing::warn!(
                readings = missing.len(),
                pause_ms = pause.as_millis() as u64,
                "readings weren't stored, sending them again"
            );
            tokio::time::sleep(pause).await;
            let again = missing.iter().map(|index| readings[*index as usize].clone()).collect();
            complete(&mut ack, &missing, self.publish_once(again).await?);
        }
        Ok(ack)
    }

    async fn publish_once(&mut self, readings: Vec<Reading>) -> Result<Ack, Status> {
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

/// Places of the readings that are the sender's to send again.
fn not_stored(ack: &Ack) -> Vec<u32> {
    let missing = |rejection: &&Rejection| rejection.code() == RejectionCode::NotStored;
    let missing = ack.rejections.iter().filter(missing);
    missing.map(|rejection| rejection.index).collect()
}

/// Puts into a batch's ack what became of its readings at `places` when they were sent again.
fn complete(ack: &mut Ack, places: &[u32], again: Ack) {
    ack.stored += again.stored;
    ack.duplicates += again.duplicates;
    ack.rejections
        .retain(|rejection| rejection.code() != RejectionCode::NotStored);
    let rejected = again.rejections.into_iter().map(|rejection| Rejection {
        index: places[rejection.index as usize],
        ..rejection
    });
    ack.rejections.extend(rejected);
    ack.rejections.sort_by_key(|rejection| rejection.index);
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tocsin_contracts::ingest::v1::ingest_service_server::{IngestService, IngestServiceServer};
    use tocsin_transport::{Server, server};
    use tonic::{Request, Response};

    use super::*;

    /// Stores no reading whose sensor is named `later` before it was sent a third time, and none named `never`.
    #[derive(Debug, Default)]
    struct Forgetful(std::sync::Arc<AtomicU32>);

    fn answer(batch: &Batch, times: u32) -> Ack {
        let refused = |reading: &Reading| match reading.sensor.as_str() {
            "later" => times < 3,
            name => name == "never",
        };
        let numbered = (0..).zip(&batch.readings);
        let rejections: Vec<_> = numbered
            .filter(|(_, reading)| refused(reading))
            .map(|(index, _)| Rejection {
                index,
                code: RejectionCode::NotStored.into(),
                ..Rejection::default()
            })
            .collect();
        Ack {
            stored: (batch.readings.len() - rejections.len()) as u32,
            duplicates: 0,
            rejections,
        }
    }

    #[tonic::async_trait]
    impl IngestService for Forgetful {
        type PublishStream = ReceiverStream<Result<PublishResponse, Status>>;

        async fn publish(
            &self,
            request: Request<Streaming<PublishRequest>>,
        ) -> Result<Response<Self::PublishStream>, Status> {
            let (answers, stream) = mpsc::channel(8);
            let (mut requests, sent) = (request.into_inner(), self.0.clone());
            tokio::spawn(async move {
                while let Ok(Some(request)) = requests.message().await {
                    let Some(Message::Batch(batch)) = request.message else {
                        continue;
                    };
                    let times = sent.fetch_add(1, Ordering::Relaxed) + 1;
                    let result = Some(publish_response::Result::Ack(answer(&batch, times)));
                    let batch_id = batch.batch_id;
                    let _ = answers.send(Ok(PublishResponse { batch_id, result })).await;
                }
            });
            Ok(Response::new(ReceiverStream::new(stream)))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn readings_that_were_not_stored_are_sent_again_before_they_are_reported() {
        let service = Forgetful::default();
        let sent = service.0.clone();
        let server = Server::open(server::Config::default()).service(IngestServiceServer::new(service));
        let channel = Channel::in_process(server.assemble().expect("a whole server"));
        let mut publisher = Publisher::new(channel, StreamProperties::default());
        let named = |names: &[&str]| {
            let reading = |name: &&str| Reading {
                sensor: (*name).to_owned(),
                ..Reading::default()
            };
            names.iter().map(reading).collect::<Vec<_>>()
        };
        let ack = publisher.publish(named(&["now", "never", "later"])).await;
        let ack = ack.expect("the batch is acknowledged");
        let rejected: Vec<u32> = ack.rejections.iter().map(|rejection| rejection.index).collect();
        assert_eq!((ack.stored, rejected), (2, vec![1]));
        assert_eq!(sent.load(Ordering::Relaxed), 1 + STORE_AGAIN);
    }
}
