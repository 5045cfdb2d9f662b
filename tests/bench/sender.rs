//! A gateway's stream: batches out, answers back, and how long each took.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use tocsin_contracts::ingest::StreamProperties;
use tocsin_contracts::ingest::v1::ingest_service_client::IngestServiceClient;
use tocsin_contracts::ingest::v1::publish_request::Message;
use tocsin_contracts::ingest::v1::publish_response;
use tocsin_contracts::ingest::v1::{Batch, PublishRequest, PublishResponse, Reading};
use tocsin_transport::Channel;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::report::histogram;

/// What became of the batches of a stream.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Microseconds from due to answered.
    pub(crate) latencies: Histogram<u64>,
    /// Readings stored.
    pub(crate) stored: u64,
    /// Readings rejected.
    pub(crate) rejected: u64,
    /// Batches refused.
    pub(crate) refused: u64,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            latencies: histogram(),
            stored: 0,
            rejected: 0,
            refused: 0,
        }
    }
}

impl Outcome {
    /// Both together.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.latencies.add(&other.latencies).context("adding up latencies")?;
        self.stored += other.stored;
        self.rejected += other.rejected;
        self.refused += other.refused;
        Ok(())
    }
}

/// The sending half.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    requests: mpsc::Sender<PublishRequest>,
    due: Arc<Mutex<HashMap<u64, Instant>>>,
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct Answers {
    answers: Streaming<PublishResponse>,
    due: Arc<Mutex<HashMap<u64, Instant>>>,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The batch's number.
    pub(crate) batch_id: u64,
    /// How long it took from its due moment.
    pub(crate) latency: std::time::Duration,
    /// Readings stored, rejected; nothing when the batch was refused.
    pub(crate) ack: Option<(u64, u64)>,
}

/// Opens a stream.
pub(crate) async fn open(channel: Channel, clock_is_capture: bool) -> Result<(Sender, Answers)> {
    let (requests, outgoing) = mpsc::channel(64);
    let properties = StreamProperties {
        clock_is_capture,
        historical: false,
    };
    let header = PublishRequest {
        message: Some(Message::Header(properties.into())),
    };
    requests.send(header).await.context("a new stream has room")?;
    let answers = IngestServiceClient::new(channel)
        .publish(ReceiverStream::new(outgoing))
        .await
        .context("opening a stream")?
        .into_inner();
    let due = Arc::default();
    let sender = Sender {
        requests,
        due: Arc::clone(&due),
    };
    Ok((sender, Answers { answers, due }))
}

impl Sender {
    /// Sends a batch that was due at this moment.
    pub(crate) async fn send(&self, batch_id: u64, due: Instant, readings: Vec<Reading>) -> Result<()> {
        self.due
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(batch_id, due);
        let batch = Batch { batch_id, readings };
        let request = PublishRequest {
            message: Some(Message::Batch(batch)),
        };
        self.requests.send(request).await.context("the stream broke off")
    }
}

impl Answers {
    /// The next answer; nothing at the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Answer>> {
        let Some(PublishResponse { batch_id, result }) = self.answers.message().await.context("the stream")? else {
            return Ok(None);
        };
        let due = self
            .due
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&batch_id)
            .context("an answer to no batch")?;
        let ack = match result {
            Some(publish_response::Result::Ack(ack)) => {
                if ack.duplicates > 0 {
                    bail!("batch {batch_id} held {} duplicates", ack.duplicates);
                }
                Some((u64::from(ack.stored), ack.rejections.len() as u64))
            }
            Some(publish_response::Result::Refusal(refusal)) => {
                eprintln!("batch {batch_id} was refused: {}", refusal.reason);
                None
            }
            None => bail!("batch {batch_id} got an empty answer"),
        };
        Ok(Some(Answer {
            batch_id,
            latency: due.elapsed(),
            ack,
        }))
    }
}

impl Outcome {
    /// Counts an answer.
    pub(crate) fn count(&mut self, answer: &Answer) -> Result<()> {
        let micros = answer.latency.as_micros() as u64;
        self.latencies
            .record(micros.max(1))
            .context("a latency out of bounds")?;
        match answer.ack {
            Some((stored, rejected)) => {
                self.stored += stored;
                self.rejected += rejected;
            }
            None => self.refused += 1,
        }
        Ok(())
    }
}
