//! The gRPC face, and the look-out for new readings beside it.

use std::sync::Arc;
use std::time::Duration;

use half::f16;
use tocsin_contracts::review::v1;
use tocsin_contracts::review::v1::review_service_server::{ReviewService, ReviewServiceServer};
use tocsin_contracts::scorer::Spectra;
use tocsin_contracts::scorer::v1::scorer_service_client::ScorerServiceClient;
use tocsin_contracts::scorer::v1::{ReconstructRequest, ReconstructResponse};
use tocsin_contracts::{Malformed, time};
use tocsin_domain::fleet::SensorPath;
use tocsin_domain::{
    BundleId, CanonicalSpectrum, Codec, Invalid, PersonRole, Principal, Scope, Slug, SpectrumSpec, Verdict, codec,
};
use tocsin_store::Store;
use tocsin_store::fleet::SensorListing;
use tocsin_store::reading::{FullReading, StoredReading};
use tocsin_transport::Replicas;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::levels::Judged;
use crate::period::{Asked, Period, Pieces};
use crate::series::Thinned;
use crate::sets::Sets;
use crate::watch::Watch;
use crate::{Config, Error};

const DEFAULT_POINTS: u32 = 600;
const MAX_POINTS: u32 = 5_000;
const DEFAULT_COLUMNS: u32 = 200;
const MAX_COLUMNS: u32 = 1_000;

/// The most amplitudes in one answer: 8 MB of them.
const MAX_AMPLITUDES: u32 = 2_000_000;

/// What the review works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Postgres.
    pub store: Store,
    /// The scorers, for reconstructions; without them there are none.
    pub scorers: Option<Replicas>,
}

/// The running side of the role: looks for new readings while somebody watches.
#[derive(Debug)]
pub struct Review {
    store: Store,
    watch: Watch,
    interval: Duration,
}

/// The service to register, and the role to run beside it.
///
/// # Errors
/// If a setting is no good.
pub fn build(config: Config, parts: Parts) -> Result<(ReviewServiceServer<Service>, Review), Invalid> {
    let config = config.parse()?;
    let watch = Watch::default();
    let review = Review {
        store: parts.store.clone(),
        watch: watch.clone(),
        interval: config.watch_interval(),
    };
    let sets = Sets::new(parts.store.clone());
    let service = Service {
        config: Arc::new(config),
        store: parts.store,
        scorers: parts.scorers,
        sets,
        watch,
    };
    Ok((ReviewServiceServer::new(service), review))
}

impl Review {
    /// Runs until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let look_out = async {
            let mut seen = 0;
            // A batch counts as begun before it is committed: told of then, a watcher may look too early. So it is
            // told again one interval later.
            let mut tell_again = false;
            loop {
                if self.watch.is_watched() {
                    match self.store.readings_change().await {
                        Ok(change) => {
                            let new = change != std::mem::replace(&mut seen, change);
                            if new || tell_again {
                                self.watch.changed();
                            }
                            tell_again = new;
                        }
                        Err(error) => tracing::warn!(%error, "can't look for new readings"),
                    }
                }
                tokio::time::sleep(self.interval).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = look_out => {}
        }
    }
}

/// The gRPC service.
#[derive(Debug, Clone)]
pub struct Service {
    config: Arc<Config>,
    store: Store,
    scorers: Option<Replicas>,
    sets: Sets,
    watch: Watch,
}

/// The sites of whoever asks, a viewer at least.
fn scope<T>(request: &Request<T>, action: &'static str) -> Result<Scope, Error> {
    let principal = request.extensions().get::<Principal>().ok_or(Error::NoPrincipal)?;
    principal.require(PersonRole::Viewer, action)?;
    Ok(principal.scope())
}

fn name(field: &str, text: &str) -> Result<Slug, Error> {
    Ok(Slug::parse(field, text).map_err(Malformed::from)?)
}

/// A count asked for: the default when 0, refused above the most.
fn count(field: &str, asked: u32, default: u32, most: u32) -> Result<u32, Error> {
    match asked {
        0 => Ok(default),
        asked if asked <= most => Ok(asked),
        asked => Err(Malformed::new(field, format!("{asked} is more than {most}")).into()),
    }
}

/// A sensor with its spec.
struct Channel {
    listing: SensorListing,
    spec: SpectrumSpec,
}

impl Channel {
    fn path(&self) -> String {
        format!("{}/{}/{}", self.listing.site, self.listing.machine, self.listing.name)
    }

    fn decode(&self, codec: &Codec, spectrum: &CanonicalSpectrum) -> Result<Vec<f32>, Error> {
        codec::check_length(spectrum.codes(), &self.spec).map_err(|invalid| Error::UnreadableSpectrum {
            sensor: self.path(),
            invalid,
        })?;
        Ok(codec.decode(spectrum.codes()))
    }

    fn bin_centres(&self) -> Vec<f64> {
        (0..usize::from(self.spec.bins))
            .map(|bin| self.spec.bin_centre(bin))
            .collect()
    }
}

impl Service {
    async fn channel(&self, scope: &Scope, site: &str, machine: &str, sensor: &str) -> Result<Channel, Error> {
        let path = SensorPath {
            machine: name("machine", machine)?,
            sensor: name("sensor", sensor)?,
        };
        let listing = self.store.sensor_by_name(scope, &name("site", site)?, &path).await?;
        let spec = self.store.spec_by_id(listing.sensor.spec).await?.spec;
        Ok(Channel { listing, spec })
    }

    async fn judged(&self, reading: StoredReading) -> Result<Judged, Error> {
        let set = match reading.threshold_set {
            Some(id) => Some(self.sets.get(id).await?),
            None => None,
        };
        Ok(Judged::new(reading, set))
    }

    async fn series(
        &self,
        scope: &Scope,
        asked: v1::GetMachineSeriesRequest,
    ) -> Result<v1::GetMachineSeriesResponse, Error> {
        let points = count("points", asked.points, DEFAULT_POINTS, MAX_POINTS)?;
        let ends = Asked::parse(asked.from, asked.to)?;
        let machine = self
            .store
            .machine_by_name(scope, &name("site", &asked.site)?, &name("machine", &asked.machine)?)
            .await?;
        let newest = self.store.reading_newest_at(scope, machine.id).await?;
        let sensors = self.store.sensors_by_machine(scope, machine.id).await?;
        let series = |points: &dyn Fn(&SensorListing) -> Vec<v1::SeriesPoint>| {
            let each = |sensor: &SensorListing| v1::SensorSeries {
                sensor: sensor.name.to_string(),
                points: points(sensor),
            };
            sensors.iter().map(each).collect::<Vec<_>>()
        };
        let Some(period) = ends.complete(newest, self.config.default_period()) else {
            let sensors = series(&|_| Vec::new());
            return Ok(v1::GetMachineSeriesResponse {
                sensors,
                from: None,
                to: None,
            });
        };
        let mut thinned = Thinned::new(period, points);
        let mut pieces = Pieces::new(period);
        let limit = self.config.rows_at_once;
        while let Some(piece) = pieces.next() {
            let readings = self
                .store
                .readings_series(scope, machine.id, (piece.from, piece.to), limit)
                .await?;
            if readings.len() >= limit as usize && pieces.shorten(piece) {
                continue;
            }
            for reading in readings {
                thinned.take(self.judged(reading).await?);
            }
            pieces.done(piece);
        }
        Ok(v1::GetMachineSeriesResponse {
            sensors: series(&|listing| thinned.points(listing.sensor.id)),
            from: Some(time::to_wire(period.from)),
            to: Some(time::to_wire(period.to)),
        })
    }

    async fn spectrogram(
        &self,
        scope: &Scope,
        asked: v1::GetSpectrogramRequest,
    ) -> Result<v1::GetSpectrogramResponse, Error> {
        let columns = count("columns", asked.columns, DEFAULT_COLUMNS, MAX_COLUMNS)?;
        let ends = Asked::parse(asked.from, asked.to)?;
        let channel = self.channel(scope, &asked.site, &asked.machine, &asked.sensor).await?;
        let columns = columns.min(MAX_AMPLITUDES / u32::from(channel.spec.bins));
        let sensor = channel.listing.sensor.id;
        let newest = self
            .store
            .reading_get(scope, sensor, None)
            .await?
            .map(|newest| newest.stored.key.captured_at);
        let spectra = match ends.complete(newest, self.config.default_period()) {
            Some(Period { from, to }) => self.store.spectra_range(scope, sensor, (from, to), columns).await?,
            None => Vec::new(),
        };
        let codec = Codec::for_spec(&channel.spec);
        let mut amplitude = Vec::with_capacity(spectra.len() * usize::from(channel.spec.bins));
        for column in &spectra {
            amplitude.extend(channel.decode(&codec, &column.spectrum)?);
        }
        Ok(v1::GetSpectrogramResponse {
            at: spectra.iter().map(|column| time::to_wire(column.captured_at)).collect(),
            amplitude,
            bin_centre: channel.bin_centres(),
            axis_unit: channel.spec.axis.unit().to_owned(),
            amplitude_unit: channel.spec.canonical_unit().to_owned(),
        })
    }

    async fn verdict(&self, scope: &Scope, asked: v1::GetVerdictRequest) -> Result<v1::GetVerdictResponse, Error> {
        let at = time::optional("at", asked.at)?;
        let channel = self.channel(scope, &asked.site, &asked.machine, &asked.sensor).await?;
        let sensor = channel.listing.sensor.id;
        let found = self.store.reading_get(scope, sensor, at).await?;
        let FullReading {
            stored,
            condition,
            spectrum,
            ..
        } = found.ok_or_else(|| Error::NoReading { sensor: channel.path() })?;
        let observed = match &spectrum {
            Some(spectrum) => channel.decode(&Codec::for_spec(&channel.spec), spectrum)?,
            None => Vec::new(),
        };
        let rebuilt = match (stored.bundle, spectrum) {
            (Some(bundle), Some(spectrum)) => self.reconstruct(&channel, bundle, spectrum).await,
            _ => None,
        };
        let rebuilt = match rebuilt {
            Some(rebuilt) => rebuilt,
            // The errors of flagged readings were kept when they were judged.
            None => ReconstructResponse {
                bin_error: self
                    .store
                    .evidence_bin_error(scope, sensor, stored.key.captured_at)
                    .await?
                    .map(|bytes| half_floats(&bytes))
                    .unwrap_or_default(),
                ..ReconstructResponse::default()
            },
        };
        let judged = self.judged(stored).await?;
        let decided_by = match judged.reading.verdict {
            Verdict::Normal { by } | Verdict::Alert { by } | Verdict::Page { by } => by.as_str().to_owned(),
            Verdict::Unjudged { reason } => reason.to_string(),
        };
        Ok(v1::GetVerdictResponse {
            captured_at: Some(time::to_wire(judged.reading.key.captured_at)),
            received_at: Some(time::to_wire(judged.reading.received_at)),
            verdict: judged.reading.verdict.as_str().to_owned(),
            decided_by,
            detectors: judged.detectors(),
            threshold_set_id: judged.threshold_set_id(),
            bundle_id: judged.reading.bundle.map_or(0, |bundle| bundle.0),
            degraded: judged.is_degraded(),
            observed,
            reconstructed: rebuilt.reconstruction,
            bin_error: rebuilt.bin_error,
            bin_centre: channel.bin_centres(),
            axis_unit: channel.spec.axis.unit().to_owned(),
            amplitude_unit: channel.spec.canonical_unit().to_owned(),
            rpm: condition.rpm,
            load: condition.load,
        })
    }

    /// What the model that judged makes of the spectrum; none when no scorer answers, for the rest is worth showing.
    async fn reconstruct(
        &self,
        channel: &Channel,
        bundle: BundleId,
        spectrum: CanonicalSpectrum,
    ) -> Option<ReconstructResponse> {
        let scorers = self.scorers.as_ref()?;
        let ask = async {
            let bundle = self.store.bundle_by_id(bundle).await.map_err(Error::from)?;
            let request = ReconstructRequest::from(Spectra {
                bundle: bundle.digest,
                codes: spectrum.into_codes(),
                bins: usize::from(channel.spec.bins),
                full_scale: vec![channel.spec.canonical_full_scale()],
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
        let answered = tokio::time::timeout(self.config.scorer_timeout(), ask).await;
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

#[tonic::async_trait]
impl ReviewService for Service {
    #[tracing::instrument(skip_all, fields(site = request.get_ref().site, machine = request.get_ref().machine))]
    async fn get_machine_series(
        &self,
        request: Request<v1::GetMachineSeriesRequest>,
    ) -> Result<Response<v1::GetMachineSeriesResponse>, Status> {
        let scope = scope(&request, "look at machines")?;
        Ok(Response::new(self.series(&scope, request.into_inner()).await?))
    }

    #[tracing::instrument(skip_all, fields(site = request.get_ref().site, machine = request.get_ref().machine))]
    async fn get_spectrogram(
        &self,
        request: Request<v1::GetSpectrogramRequest>,
    ) -> Result<Response<v1::GetSpectrogramResponse>, Status> {
        let scope = scope(&request, "look at spectra")?;
        Ok(Response::new(self.spectrogram(&scope, request.into_inner()).await?))
    }

    #[tracing::instrument(skip_all, fields(site = request.get_ref().site, machine = request.get_ref().machine))]
    async fn get_verdict(
        &self,
        request: Request<v1::GetVerdictRequest>,
    ) -> Result<Response<v1::GetVerdictResponse>, Status> {
        let scope = scope(&request, "look at verdicts")?;
        Ok(Response::new(self.verdict(&scope, request.into_inner()).await?))
    }

    type WatchReadingsStream = ReceiverStream<Result<v1::WatchReadingsResponse, Status>>;

    #[tracing::instrument(skip_all)]
    async fn watch_readings(
        &self,
        request: Request<v1::WatchReadingsRequest>,
    ) -> Result<Response<Self::WatchReadingsStream>, Status> {
        scope(&request, "watch readings")?;
        Ok(Response::new(self.watch.stream(request.extensions())))
    }
}
