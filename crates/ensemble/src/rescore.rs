//! Readings judged without the network are scored by it later. What it says is kept beside them and never pages: the
//! decision stands as it was made.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tocsin_contracts::scorer::v1::ScoreRequest;
use tocsin_contracts::scorer::{ScoreBatch, Spectra};
use tocsin_domain::{BundleDigest, BundleId, Clock, Scope, SensorId};
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
            loop {
                match self.round().await {
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

    /// Scores one page of readings; answers how many.
    async fn round(&self) -> std::result::Result<u64, RoundError> {
        let degraded = self.store.readings_degraded(&Scope::All, PAGE).await?;
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
            let digest = self.store.bundle_by_id(bundle).await?.digest;
            let rows = self.score(digest, bins, &readings, &full_scales).await?;
            rescored += self.store.rescored_insert(&rows, self.clock.now()).await?;
        }
        Ok(rescored)
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
        let rows = readings.iter().zip(scored);
        Ok(rows
            .map(|(reading, (residual, latent))| Rescored {
                key: reading.key,
                bundle: reading.bundle,
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

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Store(#[from] tocsin_store::Error),
    #[error("no scorer: {0}")]
    Scorer(#[from] tonic::Status),
}
