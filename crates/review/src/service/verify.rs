//! Every verdict of a period made again, sensor by sensor, a page of readings at a time.

use std::collections::HashSet;
use std::time::Duration;

use tocsin_contracts::review::v1;
use tocsin_contracts::time;
use tocsin_corpus::archive::Columns;
use tocsin_domain::{Scope, Timestamp};
use tocsin_store::fleet::SensorListing;
use tocsin_store::reading::{FullReading, FullReadingsQuery};
use tocsin_transport::watch;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::{Service, name};
use crate::channel::Channel;
use crate::period::Asked;
use crate::record::Material;
use crate::{Error, record::Rederived};

/// Readings made again at once: of 4096 bins and decoded, 16 MB.
const PAGE: u32 = 1_000;

/// Mismatches that are told one by one; more are counted.
const MOST_TOLD: usize = 1_000;

type Answer = Result<v1::VerifyVerdictsResponse, Status>;

/// A period's verdicts on their way to whoever asked.
struct Verification {
    service: Service,
    scope: Scope,
    from: Timestamp,
    to: Timestamp,
    material: Material,
    counted: v1::VerifyVerdictsResponse,
    told: usize,
    sender: mpsc::Sender<Answer>,
}

impl Service {
    pub(super) async fn verify(
        &self,
        scope: Scope,
        request: Request<v1::VerifyVerdictsRequest>,
    ) -> Result<ReceiverStream<Answer>, Error> {
        let end = watch::end(request.extensions());
        let asked = request.into_inner();
        let ends = Asked::parse(asked.from, asked.to)?;
        let site = match asked.site.as_str() {
            "" => None,
            site => Some(name("site", site)?),
        };
        let sensors = self.store.sensor_list(&scope, site.as_ref(), None).await?;
        let (from, to) = ends.or_all();
        let (sender, receiver) = mpsc::channel(1);
        let verification = Verification {
            service: self.clone(),
            scope,
            from,
            to,
            material: self.material(),
            counted: v1::VerifyVerdictsResponse {
                sensors: sensors.len() as u32,
                ..v1::VerifyVerdictsResponse::default()
            },
            told: 0,
            sender: sender.clone(),
        };
        tokio::spawn(async move {
            let ended = tokio::select! {
                done = verification.run(sensors) => done.map_err(Status::from),
                () = sender.closed() => return,
                ended = end => ended.and(Err(Status::unavailable("the server is about to stop"))),
            };
            if let Err(status) = ended {
                // Best effort: one that takes nothing any more learns it by the stream's end.
                let _ = sender.send_timeout(Err(status), Duration::from_secs(1)).await;
            }
        });
        Ok(ReceiverStream::new(receiver))
    }
}

impl Verification {
    async fn run(mut self, sensors: Vec<SensorListing>) -> Result<(), Error> {
        for listing in sensors {
            let spec = self.service.store.spec_by_id(listing.sensor.spec).await?.spec;
            let channel = Channel { listing, spec };
            let hot = self.hot(&channel).await?;
            self.archived(&channel, &hot).await?;
            self.counted.sensors_done += 1;
        }
        self.counted.done = true;
        self.tell(Vec::new()).await;
        Ok(())
    }

    /// A sensor's hot readings; when each was captured.
    async fn hot(&mut self, channel: &Channel) -> Result<HashSet<Timestamp>, Error> {
        let mut seen = HashSet::new();
        let mut query = FullReadingsQuery {
            sensor: channel.listing.sensor.id,
            from: self.from,
            to: self.to,
            limit: PAGE,
        };
        loop {
            let readings = self.service.store.readings_full(&self.scope, &query).await?;
            let is_last = readings.len() < PAGE as usize;
            let Some(last) = readings.last().map(|last| last.stored.key.captured_at) else {
                return Ok(seen);
            };
            seen.extend(readings.iter().map(|reading| reading.stored.key.captured_at));
            self.make_again(channel, readings).await?;
            if is_last {
                return Ok(seen);
            }
            query.from = last + Duration::from_micros(1);
        }
    }

    /// A sensor's archived readings, but for those that were seen when they were hot still.
    async fn archived(&mut self, channel: &Channel, seen: &HashSet<Timestamp>) -> Result<(), Error> {
        let (sensor, ends) = (&channel.listing.sensor, (self.from, self.to));
        let archive = &self.service.archive;
        let mut cold = archive
            .readings(&self.scope, vec![sensor.id], ends, Columns::All)
            .await?;
        let mut page = Vec::new();
        while let Some(readings) = cold.next().await? {
            let unseen = readings
                .into_iter()
                .filter(|reading| !seen.contains(&reading.stored.key.captured_at));
            for reading in unseen {
                page.push(reading);
                if page.len() == PAGE as usize {
                    self.make_again(channel, std::mem::take(&mut page)).await?;
                }
            }
        }
        if page.is_empty() {
            return Ok(());
        }
        self.make_again(channel, page).await
    }

    /// Makes a page again: readings of one sensor, in order of capture but for what came late of an archived day.
    async fn make_again(&mut self, channel: &Channel, readings: Vec<FullReading>) -> Result<(), Error> {
        let captured = || readings.iter().map(|reading| reading.stored.key.captured_at);
        let (Some(first), Some(last)) = (captured().min(), captured().max()) else {
            return Ok(());
        };
        let store = &self.service.store;
        let later = store
            .rescored_range(&self.scope, channel.listing.sensor.id, (first, last))
            .await?;
        let made = self.material.rederive(&self.scope, channel, readings, later).await?;
        let found = self.count(channel, &made);
        self.tell(found).await;
        Ok(())
    }

    /// Counts verdicts made again, and puts into words what is told of them.
    fn count(&mut self, channel: &Channel, made: &[Rederived]) -> Vec<v1::VerdictMismatch> {
        let mut found = Vec::new();
        for one in made {
            let (decision, scores) = (one.decision_matches(), one.scores_match());
            self.counted.verdicts += 1;
            self.counted.decision_mismatches += u64::from(!decision);
            self.counted.score_mismatches += u64::from(scores == Some(false));
            self.counted.without_spectrum += u64::from(scores.is_none());
            if (!decision || scores == Some(false)) && self.told < MOST_TOLD {
                self.told += 1;
                found.push(v1::VerdictMismatch {
                    site: channel.listing.site.to_string(),
                    machine: channel.listing.machine.to_string(),
                    sensor: channel.listing.name.to_string(),
                    captured_at: Some(time::to_wire(one.reading.stored.key.captured_at)),
                    differences: one.differences(),
                });
            }
        }
        found
    }

    async fn tell(&self, mismatches: Vec<v1::VerdictMismatch>) {
        let message = v1::VerifyVerdictsResponse {
            mismatches,
            ..self.counted.clone()
        };
        // When nobody listens any more the whole is dropped.
        let _ = self.sender.send(Ok(message)).await;
    }
}
