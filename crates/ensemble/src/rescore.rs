//! Readings judged without the network are scored by it later. What it says is kept beside them and never pages: the
//! decision stands as it was made.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tocsin_contracts::scorer::v1::ScoreRequest;
use tocsin_contracts::scorer::{ScoreBatch, Spectra};
use tocsin_domain::{BundleDigest, BundleId, Clock, ReadingKey, Scope, SensorId};
use tocsin_store::reading::{DegradedReading, Rescored};
use tocsin_store::{Result, Store};
use tokio_util::sync::CancellationToken;

use crate::assess::{Assessor, split};

/// Readings taken at a time.
const PAGE: u32 = 1024;

/// Works in the background; doing the same reading twice changes nothing, so replicas need no agreement.
#[derive(Debug)]
pub(crate) struct Rescorer {
    pub(crate) store: Store,
    pub(crate) assessor: Assessor,
    pub(crate) clock: Clock,
    pub(crate) interval: Duration,
}

impl Rescorer {
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let work = async {
            let mut after = None;
            loop {
                match self.round(&mut after).await {
                    Ok(0) => tokio::time::sleep(self.interval).await,
                    Ok(rescored) => tracing::info!(rescored, "readings judged without the network were scored by it"),
                    Err(error) => {
                        tracing::debug!(%error, "readings judged without the network wait on");
                        tokio::time::sleep(self.interval).await;
                    }
                }
            }
        };
        shutdown.run_until_cancelled(work).await;
    }

    /// Scores the page of readings after the last one; answers how many. What fails waits until the pages have come round
    /// again, and keeps nothing newer from its turn.
    async fn round(&self, after: &mut Option<ReadingKey>) -> Result<u64> {
        let degraded = self.store.readings_degraded(&Scope::All, *after, PAGE).await?;
        let is_last = degraded.len() < PAGE as usize;
        *after = degraded.last().map(|last| last.key).filter(|_| !is_last);
        if degraded.is_empty() {
            return Ok(0);
        }
        let full_scales = self.full_scales(&degraded).await?;
        let mut groups: BTreeMap<(BundleId, usize), Vec<DegradedReading>> = BTreeMap::new();
        for reading in degraded
            .into_iter()
            .filter(|reading| full_scales.contains_key(&reading.key.sensor))
        {
            groups
                .entry((reading.bundle, reading.spectrum.len()))
                .or_default()
                .push(reading);
        }
        let mut rescored = 0;
        for ((bundle, bins), readings) in groups {
            match self.rescore(bundle, bins, &readings, &full_scales).await {
                Ok(new) => rescored += new,
                Err(error) => {
                    tracing::debug!(bundle = bundle.0, readings = readings.len(), %error, "readings judged without the network wait on");
                }
            }
        }
        Ok(rescored)
    }

    /// Scores readings of one bundle and as many bins, each alone: a row that was judged without the network names no
    /// predecessors. Answers how many are new.
    async fn rescore(
        &self,
        bundle: BundleId,
        bins: usize,
        readings: &[DegradedReading],
        full_scales: &HashMap<SensorId, f32>,
    ) -> std::result::Result<u64, RescoreError> {
        let digest = self.store.bundle_by_id(bundle).await?.digest;
        let rows = self.score(digest, bins, readings, full_scales).await?;
        Ok(self.store.rescored_insert(&rows, self.clock.now()).await?)
    }

    async fn score(
        &self,
        bundle: BundleDigest,
        bins: usize,
        readings: &[DegradedReading],
        full_scales: &HashMap<SensorId, f32>,
    ) -> std::result::Result<Vec<Rescored>, tonic::Status> {
        let spectra = Spectra {
            bundle,
            codes: readings.iter().flat_map(|reading| &reading.spectrum).copied().collect(),
            window: 1,
            bins,
            full_scale: readings
                .iter()
                .map(|reading| full_scales[&reading.key.sensor])
                .collect(),
        };
        let request = ScoreRequest::from(ScoreBatch {
            spectra,
            bin_error_rows: Vec::new(),
        });
        let scored = split(self.assessor.call(request).await?, readings.len())?;
        let scorer_build = self.assessor.builds.id(&scored.build).await;
        let rows = readings.iter().zip(scored.rows);
        Ok(rows
            .map(|(reading, (residual, latent))| Rescored {
                key: reading.key,
                bundle: reading.bundle,
                scorer_build,
                residual,
                latent,
            })
            .collect())
    }

    async fn full_scales(&self, readings: &[DegradedReading]) -> Result<HashMap<SensorId, f32>> {
        let sensors: Vec<SensorId> = readings.iter().map(|reading| reading.key.sensor).collect();
        let mut scales = HashMap::new();
        for (id, listing) in self.store.sensors_by_id(&Scope::All, &sensors).await? {
            let spec = self.store.spec_by_id(listing.sensor.spec).await?.spec;
            scales.insert(id, spec.canonical_full_scale());
        }
        Ok(scales)
    }
}

/// Why readings of one bundle wait on.
#[derive(Debug, thiserror::Error)]
enum RescoreError {
    #[error(transparent)]
    Store(#[from] tocsin_store::Error),
    #[error("no scorer: {0}")]
    Scorer(#[from] tonic::Status),
}
