//! One batch from arrival to answer, the same for streams and for JSON.

use std::collections::HashSet;

use tocsin_contracts::Malformed;
use tocsin_contracts::ensemble::ReadingOutcome;
use tocsin_contracts::ensemble::v1::AssessRequest;
use tocsin_contracts::ingest::SentReading;
use tocsin_contracts::ingest::v1::{Ack, Refusal, RefusalCode, Rejection, RejectionCode};
use tocsin_domain::access::Gateway;
use tocsin_domain::{Clock, Slug, Timestamp, Verdict};
use tocsin_transport::Replicas;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::admission::{self, Admitted, Terms};
use crate::assessor::Assessor;
use crate::config::{Config, MAX_BATCH_READINGS};
use crate::directory::Directory;
use crate::door::{Door, Pass};
use crate::metrics::Metrics;

/// What every batch goes through.
#[derive(Debug)]
pub(crate) struct Intake {
    directory: Directory,
    assessor: Assessor,
    door: Door,
    clock: Clock,
    metrics: Metrics,
    retry_after_ms: u32,
    /// Batches of one stream at work at most, and waiting at most.
    pub(crate) in_flight_batches: usize,
}

/// A batch that passed the door.
#[derive(Debug)]
pub(crate) struct Arrived {
    readings: Vec<Result<SentReading, Malformed>>,
    received_at: Timestamp,
    started: Instant,
    span: Span,
    pass: Pass,
}

impl Arrived {
    /// The machines its readings name.
    pub(crate) fn machines(&self) -> HashSet<Slug> {
        let (mut machines, mut last) = (HashSet::new(), None);
        for reading in self.readings.iter().flatten() {
            let machine = &reading.sensor.machine;
            // A machine's readings mostly stand together.
            if last != Some(machine) && !machines.contains(machine) {
                machines.insert(machine.clone());
            }
            last = Some(machine);
        }
        machines
    }
}

/// What became of a batch that was taken.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    /// The answer of the contract.
    pub(crate) ack: Ack,
    /// Place in the batch and verdict of each reading stored now, in the batch's order.
    pub(crate) verdicts: Vec<(u32, Verdict)>,
}

impl Intake {
    pub(crate) fn new(config: &Config, directory: Directory, ensembles: Replicas, clock: Clock) -> Self {
        let door = Door::new(config.in_flight_readings.get());
        Self {
            directory,
            assessor: Assessor::new(config, ensembles),
            metrics: Metrics::new(&door),
            door,
            clock,
            retry_after_ms: config.retry_after_ms,
            in_flight_batches: config.in_flight_batches.get(),
        }
    }

    /// Lets a batch in, or sheds it. `parse` reads one reading of the payload.
    pub(crate) fn arrive<R>(
        &self,
        gateway: &Gateway,
        batch_id: u64,
        readings: Vec<R>,
        parse: impl Fn(R) -> Result<SentReading, Malformed>,
    ) -> Result<Arrived, Refusal> {
        let count = readings.len();
        if count > MAX_BATCH_READINGS {
            self.metrics.count("refused", count);
            return Err(Refusal {
                code: RefusalCode::TooLarge.into(),
                reason: format!("{count} readings, a batch has at most {MAX_BATCH_READINGS}"),
                retry_after_ms: 0,
            });
        }
        let Some(pass) = self.door.enter(count) else {
            self.metrics.count("refused", count);
            return Err(Refusal {
                code: RefusalCode::Overloaded.into(),
                reason: format!("{} readings are in flight", self.door.in_flight()),
                retry_after_ms: self.retry_after_ms,
            });
        };
        Ok(Arrived {
            received_at: self.clock.now(),
            started: Instant::now(),
            span: tracing::info_span!("publish", site = gateway.site.0, batch_id, readings = count),
            readings: readings.into_iter().map(parse).collect(),
            pass,
        })
    }

    /// Checks a batch and has it assessed: answers after the commit.
    pub(crate) async fn process(&self, terms: &Terms, batch: Arrived) -> Result<Answered, Refusal> {
        let Arrived {
            readings,
            received_at,
            started,
            span,
            pass,
        } = batch;
        let count = readings.len();
        let answer = self.answer(terms, readings, received_at).instrument(span).await;
        self.measure(answer.as_ref().ok(), count, started);
        drop(pass);
        answer
    }

    async fn answer(
        &self,
        terms: &Terms,
        readings: Vec<Result<SentReading, Malformed>>,
        received_at: Timestamp,
    ) -> Result<Answered, Refusal> {
        let paths = readings.iter().flatten().map(|reading| &reading.sensor);
        let site = self
            .directory
            .prepare(&terms.gateway, paths, received_at)
            .await
            .map_err(|error| {
                tracing::error!(%error, "sensors can't be looked up");
                self.assessor
                    .unavailable("sensors can't be looked up at the moment".to_owned())
            })?;
        let Admitted {
            readings,
            places,
            mut rejections,
        } = admission::admit(readings, &site, terms, received_at).await;
        let mut answered = Answered::default();
        if !readings.is_empty() {
            let request = AssessRequest {
                readings,
                received_at_us: received_at.as_micros(),
                clock_is_capture: terms.stream.clock_is_capture,
                historical: terms.stream.historical,
                token_id: terms.gateway.token.0,
            };
            let outcomes = self.assessor.assess(request).await?;
            for (place, outcome) in places.into_iter().zip(outcomes) {
                match outcome {
                    ReadingOutcome::Stored { verdict } => {
                        answered.ack.stored += 1;
                        answered.verdicts.push((place, verdict));
                    }
                    ReadingOutcome::Duplicate => answered.ack.duplicates += 1,
                    ReadingOutcome::Conflict => rejections.push(conflict(place)),
                    ReadingOutcome::NotStored { reason } => rejections.push(not_stored(place, reason)),
                }
            }
        }
        rejections.sort_by_key(|rejection| rejection.index);
        answered.verdicts.sort_by_key(|(place, _)| *place);
        answered.ack.rejections = rejections;
        Ok(answered)
    }

    fn measure(&self, answered: Option<&Answered>, count: usize, started: Instant) {
        self.metrics.batch_duration.record(started.elapsed().as_secs_f64(), &[]);
        let Some(Answered { ack, .. }) = answered else {
            self.metrics.count("refused", count);
            return;
        };
        self.metrics.count("stored", ack.stored as usize);
        self.metrics.count("duplicate", ack.duplicates as usize);
        let rejected = |code| {
            ack.rejections
                .iter()
                .filter(|rejection| rejection.code() == code)
                .count()
        };
        self.metrics.count("malformed", rejected(RejectionCode::Malformed));
        self.metrics.count("out_of_time", rejected(RejectionCode::OutOfTime));
        self.metrics
            .count("unknown_sensor", rejected(RejectionCode::UnknownSensor));
        self.metrics.count("conflict", rejected(RejectionCode::Conflict));
        self.metrics.count("not_stored", rejected(RejectionCode::NotStored));
    }
}

fn conflict(place: u32) -> Rejection {
    Rejection {
        index: place,
        code: RejectionCode::Conflict.into(),
        field: "captured_at".to_owned(),
        reason: "another reading with other content is stored under this sensor and capture time".to_owned(),
    }
}

fn not_stored(place: u32, reason: String) -> Rejection {
    Rejection {
        index: place,
        code: RejectionCode::NotStored.into(),
        field: String::new(),
        reason,
    }
}
