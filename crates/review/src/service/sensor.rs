//! One sensor: its spectra over time, and one reading with all that is known of it.

use std::collections::BTreeMap;

use half::f16;
use tocsin_contracts::review::v1;
use tocsin_contracts::scorer::Spectra;
use tocsin_contracts::scorer::v1::scorer_service_client::ScorerServiceClient;
use tocsin_contracts::scorer::v1::{ReconstructRequest, ReconstructResponse};
use tocsin_contracts::time;
use tocsin_corpus::archive::Columns;
use tocsin_domain::{BundleId, Codec, OperatingState, Scope, SensorId, SeverityZones, Timestamp, Verdict};
use tocsin_store::reading::{FullReading, SpectrumColumn, StoredReading};
use tonic::{Response, Status};

use super::rebuilt::counted;
use super::{Service, count};
use crate::channel::Channel;
use crate::period::{Asked, Period};
use crate::record::decided_by;
use crate::{Error, overall};

const DEFAULT_COLUMNS: u32 = 200;
const MAX_COLUMNS: u32 = 1_000;

/// The most amplitudes in one answer: 8 MB of them.
const MAX_AMPLITUDES: u32 = 2_000_000;

/// Spectra that a scorer is to rebuild within its time.
const ROWS_IN_TIME: usize = 16;

impl Service {
    pub(super) async fn spectrogram(
        &self,
        scope: &Scope,
        asked: v1::GetSpectrogramRequest,
    ) -> Result<v1::GetSpectrogramResponse, Error> {
        let columns = count("columns", asked.columns, DEFAULT_COLUMNS, MAX_COLUMNS)?;
        let ends = Asked::parse(asked.from, asked.to)?;
        let channel = self.channel(scope, &asked.site, &asked.machine, &asked.sensor).await?;
        let columns = columns.min(MAX_AMPLITUDES / u32::from(channel.spec.bins));
        let sensor = channel.listing.sensor.id;
        let newest = self.archive.reading(scope, sensor, None).await?;
        let newest = newest.map(|newest| newest.stored.key.captured_at);
        let (spectra, thinned) = match ends.complete(newest, self.config.default_period()) {
            Some(period) => self.spectra(scope, sensor, period, columns).await?,
            None => Default::default(),
        };
        let codec = Codec::for_spec(&channel.spec);
        let mut shown: BTreeMap<Timestamp, (Vec<f32>, bool)> = BTreeMap::new();
        for column in &spectra {
            let amplitude = channel.decode(&codec, &column.spectrum)?;
            shown.insert(column.captured_at, (amplitude, false));
        }
        let mut rebuilding = Vec::new();
        if asked.with_rebuilt {
            let thinned: Vec<&FullReading> = thinned.iter().collect();
            let made = self.decode_latents(&channel, &thinned).await?;
            rebuilding = counted(&made).into_iter().map(Into::into).collect();
            let made = thinned.iter().zip(made).filter(|(_, made)| !made.amplitude.is_empty());
            shown.extend(made.map(|(reading, made)| (reading.stored.key.captured_at, (made.amplitude, true))));
        }
        let rebuilt: Vec<bool> = shown.values().map(|(_, rebuilt)| *rebuilt).collect();
        Ok(v1::GetSpectrogramResponse {
            at: shown.keys().copied().map(time::to_wire).collect(),
            amplitude: shown.into_values().flat_map(|(amplitude, _)| amplitude).collect(),
            bin_centre: channel.bin_centres(),
            axis_unit: channel.spec.axis.unit().to_owned(),
            amplitude_unit: channel.spec.canonical_unit().to_owned(),
            rebuilt: if rebuilt.contains(&true) { rebuilt } else { Vec::new() },
            rebuilding,
        })
    }

    /// Spectra of a period, hot and archived: the first of each of `columns` equal intervals that has one. Of intervals that
    /// have none, the first archived reading.
    async fn spectra(
        &self,
        scope: &Scope,
        sensor: SensorId,
        period: Period,
        columns: u32,
    ) -> Result<(Vec<SpectrumColumn>, Vec<FullReading>), Error> {
        let ends = (period.from, period.to);
        let hot = self.store.spectra_range(scope, sensor, ends, columns).await?;
        let mut first: BTreeMap<i64, SpectrumColumn> = BTreeMap::new();
        let mut take = |column: SpectrumColumn| {
            let kept = first.entry(period.rounded_interval(column.captured_at, columns));
            let kept = kept.or_insert_with(|| column.clone());
            if column.captured_at < kept.captured_at {
                *kept = column;
            }
        };
        hot.into_iter().for_each(&mut take);
        let mut thinned: BTreeMap<i64, FullReading> = BTreeMap::new();
        let mut cold = self.archive.readings(scope, vec![sensor], ends, Columns::All).await?;
        while let Some(readings) = cold.next().await? {
            for reading in readings {
                let captured_at = reading.stored.key.captured_at;
                let condition = reading.condition;
                match reading.spectrum {
                    Some(spectrum) => take(SpectrumColumn {
                        captured_at,
                        spectrum,
                        condition,
                    }),
                    // They come in order of capture.
                    None => drop(
                        thinned
                            .entry(period.rounded_interval(captured_at, columns))
                            .or_insert(reading),
                    ),
                }
            }
        }
        thinned.retain(|interval, _| !first.contains_key(interval));
        Ok((first.into_values().collect(), thinned.into_values().collect()))
    }

    pub(super) async fn verdict(
        &self,
        scope: &Scope,
        asked: v1::GetVerdictRequest,
    ) -> Result<v1::GetVerdictResponse, Error> {
        let at = time::optional("at", asked.at)?;
        let channel = self.channel(scope, &asked.site, &asked.machine, &asked.sensor).await?;
        let sensor = channel.listing.sensor.id;
        let found = self.archive.reading(scope, sensor, at).await?;
        let found = found.ok_or_else(|| Error::NoReading { sensor: channel.path() })?;
        let from_latent = match &found.spectrum {
            Some(_) => None,
            None => self.decode_latents(&channel, &[&found]).await?.pop(),
        };
        let FullReading {
            stored,
            condition,
            spectrum,
            overall,
            ..
        } = found;
        let observed = match &spectrum {
            Some(spectrum) => channel.decode(&Codec::for_spec(&channel.spec), spectrum)?,
            None => Vec::new(),
        };
        let rebuilt = match (stored.bundle, spectrum) {
            (Some(bundle), Some(spectrum)) => self.reconstruct(&channel, bundle, spectrum.into_codes()).await,
            _ => None,
        };
        let rebuilt = match rebuilt {
            Some(rebuilt) => rebuilt,
            None => ReconstructResponse {
                bin_error: self.kept_errors(scope, sensor, &stored).await?,
                ..ReconstructResponse::default()
            },
        };
        let zones = if overall.is_empty() {
            SeverityZones::default()
        } else {
            self.zones(channel.listing.sensor.class).await?
        };
        let judged = self.judged(stored).await?;
        let decided_by = decided_by(judged.reading.verdict);
        Ok(v1::GetVerdictResponse {
            captured_at: Some(time::to_wire(judged.reading.key.captured_at)),
            received_at: Some(time::to_wire(judged.reading.received_at)),
            verdict: judged.reading.verdict.as_str().to_owned(),
            decided_by,
            detectors: judged.detectors(),
            threshold_set_id: judged.threshold_set_id(),
            bundle_id: judged.reading.bundle.map_or(0, |bundle| bundle.0),
            baseline_id: judged.reading.baseline.map_or(0, |baseline| baseline.0),
            degraded: judged.is_degraded(),
            condition_unseen: judged.reading.state == OperatingState::Unseen,
            observed,
            reconstructed: rebuilt.reconstruction,
            bin_error: rebuilt.bin_error,
            bin_centre: channel.bin_centres(),
            axis_unit: channel.spec.axis.unit().to_owned(),
            amplitude_unit: channel.spec.canonical_unit().to_owned(),
            rpm: condition.rpm,
            load: condition.load,
            overall: overall::values(&channel.spec, &overall, &zones),
            rebuilt: from_latent.map(Into::into),
        })
    }

    /// The squared errors of a flagged reading's bins, kept when it was judged; none where the bins that were kept are those
    /// of a detector that holds it against its baseline.
    async fn kept_errors(&self, scope: &Scope, sensor: SensorId, stored: &StoredReading) -> Result<Vec<f32>, Error> {
        match stored.verdict {
            Verdict::Alert { by } | Verdict::Page { by } if !by.needs_baseline() => {
                let kept = self
                    .store
                    .evidence_bin_error(scope, sensor, stored.key.captured_at)
                    .await?;
                Ok(kept.map(|bytes| half_floats(&bytes)).unwrap_or_default())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// What the model that judged makes of spectra, whose codes stand one after the other; none when no scorer answers, for the
    /// rest is worth showing.
    pub(super) async fn reconstruct(
        &self,
        channel: &Channel,
        bundle: BundleId,
        codes: Vec<u8>,
    ) -> Option<ReconstructResponse> {
        let scorers = self.scorers.as_ref()?;
        let bins = usize::from(channel.spec.bins);
        let rows = codes.len() / bins;
        let ask = async {
            let bundle = self.store.bundle_by_id(bundle).await.map_err(Error::from)?;
            let request = ReconstructRequest::from(Spectra {
                bundle: bundle.digest,
                codes,
                window: 1,
                bins,
                full_scale: vec![channel.spec.canonical_full_scale(); rows],
            });
            let call = |scorer| {
                let request = request.clone();
                async move {
                    ScorerServiceClient::new(scorer)
                        .reconstruct(request)
                        .await
                        .map(Response::into_inner)
                }
            };
            scorers.first_available(call).await.map(|answer| answer.value)
        };
        // Many are worth a longer wait.
        let patience = self.config.scorer_timeout() * rows.div_ceil(ROWS_IN_TIME) as u32;
        let answered = tokio::time::timeout(patience, ask).await;
        match answered.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))) {
            Ok(rebuilt) => Some(rebuilt),
            Err(status) => {
                tracing::warn!(%status, sensor = channel.path(), "no reconstruction");
                None
            }
        }
    }
}

/// Reads little-endian half floats.
fn half_floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(2)
        .map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32())
        .collect()
}
