//! The gRPC face, and the look-out for new readings beside it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tocsin_contracts::Malformed;
use tocsin_contracts::review::v1;
use tocsin_contracts::review::v1::review_service_server::{ReviewService, ReviewServiceServer};
use tocsin_domain::fleet::SensorPath;
use tocsin_domain::{Clock, Invalid, PersonRole, Principal, Scope, SiteId, Slug};
use tocsin_judge::ThresholdSet;
use tocsin_models::BundleStore;
use tocsin_store::Store;
use tocsin_store::archive::ArchivedSite;
use tocsin_store::reading::StoredReading;
use tocsin_store::threshold::ThresholdSets;
use tocsin_transport::Replicas;
use tocsin_transport::watch::Watch;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::channel::Channel;
use crate::levels::Judged;
use crate::record::Material;
use crate::{Config, Error};

mod explain;
mod incident;
mod machine;
mod performance;
mod rebuilt;
mod sensor;
mod verify;

/// What the review works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Postgres.
    pub store: Store,
    /// The scorers, for reconstructions; without them there are none.
    pub scorers: Option<Replicas>,
    /// Object storage, where the archive is, and the bundles from which verdicts are made again.
    pub bundles: BundleStore,
    /// When people write reviews.
    pub clock: Clock,
}

/// The running side of the role: looks for new readings while somebody watches.
#[derive(Debug)]
pub struct Review {
    store: Store,
    watch: Watch<SiteId>,
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
    let sets = ThresholdSets::new(parts.store.clone());
    let service = Service {
        config: Arc::new(config),
        archive: tocsin_archive::Reader::new(parts.store.clone(), parts.bundles.objects().clone()),
        store: parts.store,
        scorers: parts.scorers,
        bundles: parts.bundles,
        clock: parts.clock,
        sets,
        watch,
    };
    Ok((ReviewServiceServer::new(service), review))
}

/// Looks after a batch has begun, an interval apart: one that waits longer for its commit is seen with the next.
const LOOKS: u32 = 5;

/// What was there when readings were last looked for.
#[derive(Debug, Default)]
struct Seen {
    /// Batches begun.
    begun: i64,
    /// Looks to come, although nothing begins meanwhile.
    again: u32,
    /// What tells of each site's newest readings.
    newest: BTreeMap<SiteId, i64>,
}

impl Review {
    /// Runs until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let look_out = async {
            let mut seen = Seen::default();
            loop {
                if self.watch.is_watched()
                    && let Err(error) = self.look(&mut seen).await
                {
                    tracing::warn!(%error, "can't look for new readings");
                }
                tokio::time::sleep(self.interval).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = look_out => {}
        }
    }

    /// Tells of the sites where there is something new. Their newest readings are looked for only when a batch has begun
    /// since the last look or a few before: it counts as begun before it is committed.
    async fn look(&self, seen: &mut Seen) -> tocsin_store::Result<()> {
        let begun = self.store.readings_change().await?;
        if begun != std::mem::replace(&mut seen.begun, begun) {
            seen.again = LOOKS;
        }
        if seen.again > 0 {
            seen.again -= 1;
            let newest = self.store.readings_newest().await?;
            let told = newest
                .iter()
                .filter(|(site, batch)| seen.newest.get(site) != Some(batch));
            self.watch.changed(told.map(|(site, _)| *site));
            seen.newest = newest;
        }
        Ok(())
    }
}

/// The gRPC service.
#[derive(Debug, Clone)]
pub struct Service {
    config: Arc<Config>,
    store: Store,
    archive: tocsin_archive::Reader,
    scorers: Option<Replicas>,
    bundles: BundleStore,
    clock: Clock,
    sets: ThresholdSets<ThresholdSet>,
    watch: Watch<SiteId>,
}

/// The sites of whoever asks, a viewer at least.
fn scope<T>(request: &Request<T>, action: &'static str) -> Result<Scope, Error> {
    let principal = request.extensions().get::<Principal>().ok_or(Error::NoPrincipal)?;
    principal.require(PersonRole::Viewer, action)?;
    Ok(principal.scope())
}

/// Who asks to change something, an operator at least.
fn operator<T>(request: &Request<T>, action: &'static str) -> Result<Principal, Error> {
    let principal = request.extensions().get::<Principal>().ok_or(Error::NoPrincipal)?;
    principal.require(PersonRole::Operator, action)?;
    Ok(principal.clone())
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

impl Service {
    pub(super) async fn channel(
        &self,
        scope: &Scope,
        site: &str,
        machine: &str,
        sensor: &str,
    ) -> Result<Channel, Error> {
        let path = SensorPath {
            machine: name("machine", machine)?,
            sensor: name("sensor", sensor)?,
        };
        let listing = self.store.sensor_by_name(scope, &name("site", site)?, &path).await?;
        let spec = self.store.spec_by_id(listing.sensor.spec).await?.spec;
        Ok(Channel { listing, spec })
    }

    /// For making verdicts again: nothing read yet.
    fn material(&self) -> Material {
        Material::new(self.store.clone(), self.bundles.clone(), self.sets.clone())
    }

    async fn judged(&self, reading: StoredReading) -> Result<Judged, Error> {
        let set = match reading.threshold_set {
            Some(id) => Some(self.sets.get(id).await?),
            None => None,
        };
        Ok(Judged::new(reading, set))
    }
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

    #[tracing::instrument(skip_all, fields(site = request.get_ref().site))]
    async fn get_alarm_performance(
        &self,
        request: Request<v1::GetAlarmPerformanceRequest>,
    ) -> Result<Response<v1::GetAlarmPerformanceResponse>, Status> {
        let scope = scope(&request, "look at the performance of alarms")?;
        Ok(Response::new(self.performance(&scope, request.into_inner()).await?))
    }

    #[tracing::instrument(skip_all, fields(site = request.get_ref().site, machine = request.get_ref().machine))]
    async fn explain_verdict(
        &self,
        request: Request<v1::ExplainVerdictRequest>,
    ) -> Result<Response<v1::ExplainVerdictResponse>, Status> {
        let scope = scope(&request, "look at verdicts")?;
        Ok(Response::new(self.explain(&scope, request.into_inner()).await?))
    }

    type VerifyVerdictsStream = ReceiverStream<Result<v1::VerifyVerdictsResponse, Status>>;

    #[tracing::instrument(skip_all, fields(site = request.get_ref().site))]
    async fn verify_verdicts(
        &self,
        request: Request<v1::VerifyVerdictsRequest>,
    ) -> Result<Response<Self::VerifyVerdictsStream>, Status> {
        let scope = scope(&request, "verify verdicts")?;
        Ok(Response::new(self.verify(scope, request).await?))
    }

    #[tracing::instrument(skip_all, fields(incident = request.get_ref().incident_id))]
    async fn get_incident_review(
        &self,
        request: Request<v1::GetIncidentReviewRequest>,
    ) -> Result<Response<v1::GetIncidentReviewResponse>, Status> {
        let scope = scope(&request, "look at reviews of incidents")?;
        Ok(Response::new(self.review(&scope, request.get_ref()).await?))
    }

    #[tracing::instrument(skip_all, fields(incident = request.get_ref().incident_id))]
    async fn save_incident_review(
        &self,
        request: Request<v1::SaveIncidentReviewRequest>,
    ) -> Result<Response<v1::SaveIncidentReviewResponse>, Status> {
        let by = operator(&request, "write reviews of incidents")?;
        let review = Some(self.save_review(&by, request.into_inner()).await?);
        Ok(Response::new(v1::SaveIncidentReviewResponse { review }))
    }

    #[tracing::instrument(skip_all, fields(incident = request.get_ref().incident_id))]
    async fn finalise_incident_review(
        &self,
        request: Request<v1::FinaliseIncidentReviewRequest>,
    ) -> Result<Response<v1::FinaliseIncidentReviewResponse>, Status> {
        let by = operator(&request, "make reviews of incidents final")?;
        let review = Some(self.finalise_review(&by, request.get_ref()).await?);
        Ok(Response::new(v1::FinaliseIncidentReviewResponse { review }))
    }

    #[tracing::instrument(skip_all, fields(incident = request.get_ref().incident_id))]
    async fn reopen_incident_review(
        &self,
        request: Request<v1::ReopenIncidentReviewRequest>,
    ) -> Result<Response<v1::ReopenIncidentReviewResponse>, Status> {
        let by = operator(&request, "correct reviews of incidents")?;
        let review = Some(self.reopen_review(&by, request.get_ref()).await?);
        Ok(Response::new(v1::ReopenIncidentReviewResponse { review }))
    }

    type ExportIncidentReviewStream =
        tokio_stream::Iter<std::vec::IntoIter<Result<v1::ExportIncidentReviewResponse, Status>>>;

    #[tracing::instrument(skip_all, fields(incident = request.get_ref().incident_id))]
    async fn export_incident_review(
        &self,
        request: Request<v1::ExportIncidentReviewRequest>,
    ) -> Result<Response<Self::ExportIncidentReviewStream>, Status> {
        let scope = scope(&request, "export reviews of incidents")?;
        let pieces = self.export_review(&scope, request.get_ref()).await?;
        Ok(Response::new(tokio_stream::iter(pieces)))
    }

    #[tracing::instrument(skip_all)]
    async fn get_archive(
        &self,
        request: Request<v1::GetArchiveRequest>,
    ) -> Result<Response<v1::GetArchiveResponse>, Status> {
        let scope = scope(&request, "look at the archive")?;
        let held = self.store.archive_sites(&scope).await.map_err(Error::from)?;
        let site = |held: ArchivedSite| v1::ArchivedSite {
            site: held.site.to_string(),
            readings: held.readings,
            spectra: held.spectra,
            bytes: held.bytes,
            least_bins: held.bins.0,
            most_bins: held.bins.1,
        };
        let sites = held.into_iter().map(site).collect();
        Ok(Response::new(v1::GetArchiveResponse { sites }))
    }

    type WatchReadingsStream = ReceiverStream<Result<v1::WatchReadingsResponse, Status>>;

    #[tracing::instrument(skip_all)]
    async fn watch_readings(
        &self,
        request: Request<v1::WatchReadingsRequest>,
    ) -> Result<Response<Self::WatchReadingsStream>, Status> {
        let scope = scope(&request, "watch readings")?;
        let sees = move |site: &SiteId| scope.contains(*site);
        let message = |change| v1::WatchReadingsResponse { change };
        Ok(Response::new(self.watch.stream(request.extensions(), sees, message)))
    }
}
