//! The gRPC face.

use std::sync::Arc;

use tocsin_contracts::incidents::v1;
use tocsin_contracts::incidents::v1::incidents_service_server::IncidentsService;
use tocsin_domain::{Clock, FloodId, IncidentId, PersonRole, Principal, ReadingFlags, Scope, SiteId, SuppressionId};
use tocsin_judge::{Judgement, ThresholdSet};
use tocsin_store::Store;
use tocsin_store::incident::{Evidence, IncidentListing};
use tocsin_store::outbox::PageDelivery;
use tocsin_store::threshold::ThresholdSets;
use tocsin_transport::watch::Watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::acknowledge;
use crate::routing::Outlook;
use crate::target::Sender;
use crate::{Config, Destination, Error, wire, work_order};

/// The most steps and pieces of evidence shown of one incident: the newest.
const SHOWN: u32 = 1_000;

/// The longest note kept, in characters.
pub(crate) const NOTE_CHARS: usize = 2_000;

/// The gRPC service.
#[derive(Debug, Clone)]
pub struct Service {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
    pub(crate) sender: Sender,
    sets: ThresholdSets<ThresholdSet>,
    watch: Watch<SiteId>,
}

/// Who asks, with at least `role`.
pub(crate) fn principal<T>(request: &Request<T>, role: PersonRole, action: &'static str) -> Result<Principal, Error> {
    let principal = request.extensions().get::<Principal>().ok_or(Error::NoPrincipal)?;
    principal.require(role, action)?;
    Ok(principal.clone())
}

impl Service {
    pub(crate) fn new(sender: Sender, config: Arc<Config>, watch: Watch<SiteId>) -> Self {
        let (store, clock) = (sender.store.clone(), sender.clock.clone());
        Self {
            sets: ThresholdSets::new(store.clone()),
            store,
            clock,
            sender,
            config,
            watch,
        }
    }

    async fn list(&self, by: &Principal, asked: &v1::ListIncidentsRequest) -> Result<Vec<IncidentListing>, Error> {
        Ok(self.store.incident_list(&by.scope(), &wire::query(asked)?).await?)
    }

    async fn get(&self, by: &Principal, id: IncidentId) -> Result<v1::GetIncidentResponse, Error> {
        let scope = by.scope();
        let incident = self.store.incident_get(&scope, id).await?;
        let journal = self.store.journal_by_incident(&scope, id, SHOWN).await?;
        let mut evidence = Vec::new();
        for piece in self.store.evidence_list(&scope, id, SHOWN).await? {
            evidence.push(self.show(piece).await?);
        }
        let pages = self.store.pages_by_incident(&scope, id).await?;
        let (is_open, now) = (incident.incident.state.is_active(), self.clock.now());
        let outlook = Outlook::new(&self.config, &pages, is_open, now);
        let show = |page: PageDelivery| {
            let is_owed = outlook.is_owed(&page.page);
            wire::page(page, is_owed)
        };
        Ok(v1::GetIncidentResponse {
            incident: Some(wire::incident(incident)),
            events: journal.events.into_iter().map(wire::event).collect(),
            earlier_steps: journal.earlier_steps,
            evidence,
            pages: pages.into_iter().map(show).collect(),
            labels: self.incident_labels(&scope, id).await?,
            work_order: self.store.work_order(&scope, id).await?.map(work_order::to_wire),
        })
    }

    /// A level is not stored: the set that judged the reading gives it again, exactly; without one its severity does.
    async fn show(&self, piece: Evidence) -> Result<v1::Evidence, Error> {
        let reading = &piece.reading;
        let judgement = match reading.threshold_set {
            Some(id) => {
                let degraded = reading.flags.contains(ReadingFlags::DEGRADED);
                let set = self.sets.get(id).await?;
                set.judge(&reading.scores, reading.state, degraded)
            }
            None => Judgement::by_severity(&reading.scores, reading.state),
        };
        Ok(wire::evidence(piece, &judgement))
    }
}

#[tonic::async_trait]
impl IncidentsService for Service {
    #[tracing::instrument(skip_all)]
    async fn list_incidents(
        &self,
        request: Request<v1::ListIncidentsRequest>,
    ) -> Result<Response<v1::ListIncidentsResponse>, Status> {
        let by = principal(&request, PersonRole::Viewer, "list incidents")?;
        let listings = self.list(&by, request.get_ref()).await?;
        let incidents = listings.into_iter().map(wire::incident).collect();
        Ok(Response::new(v1::ListIncidentsResponse { incidents }))
    }

    #[tracing::instrument(skip_all, fields(incident = request.get_ref().incident_id))]
    async fn get_incident(
        &self,
        request: Request<v1::GetIncidentRequest>,
    ) -> Result<Response<v1::GetIncidentResponse>, Status> {
        let by = principal(&request, PersonRole::Viewer, "look at incidents")?;
        Ok(Response::new(
            self.get(&by, IncidentId(request.into_inner().incident_id)).await?,
        ))
    }

    #[tracing::instrument(skip_all, fields(incident = request.get_ref().incident_id))]
    async fn acknowledge_incident(
        &self,
        request: Request<v1::AcknowledgeIncidentRequest>,
    ) -> Result<Response<v1::AcknowledgeIncidentResponse>, Status> {
        let by = principal(&request, PersonRole::Operator, "acknowledge incidents")?;
        let v1::AcknowledgeIncidentRequest { incident_id, note } = request.into_inner();
        let listing = self.acknowledge(&by, IncidentId(incident_id), note).await?;
        Ok(Response::new(v1::AcknowledgeIncidentResponse {
            incident: Some(wire::incident(listing)),
        }))
    }

    #[tracing::instrument(skip_all)]
    async fn add_label(&self, request: Request<v1::AddLabelRequest>) -> Result<Response<v1::AddLabelResponse>, Status> {
        let by = principal(&request, PersonRole::Operator, "label machines")?;
        let label = self.add_label(&by, request.into_inner()).await?;
        Ok(Response::new(v1::AddLabelResponse { label: Some(label) }))
    }

    #[tracing::instrument(skip_all)]
    async fn list_labels(
        &self,
        request: Request<v1::ListLabelsRequest>,
    ) -> Result<Response<v1::ListLabelsResponse>, Status> {
        let by = principal(&request, PersonRole::Viewer, "look at labels")?;
        let labels = self.list_labels_of(&by, request.get_ref()).await?;
        Ok(Response::new(v1::ListLabelsResponse { labels }))
    }

    #[tracing::instrument(skip_all)]
    async fn list_deliveries(
        &self,
        request: Request<v1::ListDeliveriesRequest>,
    ) -> Result<Response<v1::ListDeliveriesResponse>, Status> {
        let by = principal(&request, PersonRole::Viewer, "list deliveries")?;
        let deliveries = self.deliveries(&by, request.get_ref()).await?;
        Ok(Response::new(v1::ListDeliveriesResponse { deliveries }))
    }

    #[tracing::instrument(skip_all, fields(delivery = request.get_ref().delivery_id))]
    async fn resend_delivery(
        &self,
        request: Request<v1::ResendDeliveryRequest>,
    ) -> Result<Response<v1::ResendDeliveryResponse>, Status> {
        let by = principal(&request, PersonRole::Operator, "send pages again")?;
        Ok(Response::new(self.resend(&by, request.into_inner().delivery_id).await?))
    }

    #[tracing::instrument(skip_all)]
    async fn suppress_machine(
        &self,
        request: Request<v1::SuppressMachineRequest>,
    ) -> Result<Response<v1::SuppressMachineResponse>, Status> {
        let by = principal(
            &request,
            PersonRole::Operator,
            "shelve machines or take them out of service",
        )?;
        let suppression = Some(self.suppress(&by, request.into_inner()).await?);
        Ok(Response::new(v1::SuppressMachineResponse { suppression }))
    }

    #[tracing::instrument(skip_all)]
    async fn restore_machine(
        &self,
        request: Request<v1::RestoreMachineRequest>,
    ) -> Result<Response<v1::RestoreMachineResponse>, Status> {
        let by = principal(&request, PersonRole::Operator, "return machines to service")?;
        Ok(Response::new(self.restore(&by, request.get_ref()).await?))
    }

    #[tracing::instrument(skip_all)]
    async fn list_suppressions(
        &self,
        request: Request<v1::ListSuppressionsRequest>,
    ) -> Result<Response<v1::ListSuppressionsResponse>, Status> {
        let by = principal(&request, PersonRole::Viewer, "look at suppressions")?;
        let suppressions = self.suppressions(&by, request.get_ref()).await?;
        Ok(Response::new(v1::ListSuppressionsResponse { suppressions }))
    }

    #[tracing::instrument(skip_all)]
    async fn get_suppression(
        &self,
        request: Request<v1::GetSuppressionRequest>,
    ) -> Result<Response<v1::GetSuppressionResponse>, Status> {
        let by = principal(&request, PersonRole::Viewer, "look at suppressions")?;
        let id = SuppressionId(request.into_inner().suppression_id);
        Ok(Response::new(self.suppression(&by, id).await?))
    }

    #[tracing::instrument(skip_all, fields(incident = request.get_ref().incident_id))]
    async fn comment_incident(
        &self,
        request: Request<v1::CommentIncidentRequest>,
    ) -> Result<Response<v1::CommentIncidentResponse>, Status> {
        let by = principal(&request, PersonRole::Operator, "comment on incidents")?;
        self.comment(&by, request.get_ref()).await?;
        Ok(Response::new(v1::CommentIncidentResponse {}))
    }

    #[tracing::instrument(skip_all, fields(incident = request.get_ref().incident_id))]
    async fn hand_over_incident(
        &self,
        request: Request<v1::HandOverIncidentRequest>,
    ) -> Result<Response<v1::HandOverIncidentResponse>, Status> {
        let by = principal(&request, PersonRole::Operator, "hand over incidents")?;
        let incident = Some(self.hand_over(&by, request.get_ref()).await?);
        Ok(Response::new(v1::HandOverIncidentResponse { incident }))
    }

    #[tracing::instrument(skip_all)]
    async fn list_floods(
        &self,
        request: Request<v1::ListFloodsRequest>,
    ) -> Result<Response<v1::ListFloodsResponse>, Status> {
        let by = principal(&request, PersonRole::Viewer, "look at floods")?;
        let floods = self.floods(&by, request.get_ref()).await?;
        Ok(Response::new(v1::ListFloodsResponse { floods }))
    }

    #[tracing::instrument(skip_all)]
    async fn get_flood(&self, request: Request<v1::GetFloodRequest>) -> Result<Response<v1::GetFloodResponse>, Status> {
        let by = principal(&request, PersonRole::Viewer, "look at floods")?;
        let id = FloodId(request.into_inner().flood_id);
        Ok(Response::new(self.flood(&by, id).await?))
    }

    #[tracing::instrument(skip_all)]
    async fn acknowledge_flood(
        &self,
        request: Request<v1::AcknowledgeFloodRequest>,
    ) -> Result<Response<v1::AcknowledgeFloodResponse>, Status> {
        let by = principal(&request, PersonRole::Operator, "acknowledge incidents")?;
        let v1::AcknowledgeFloodRequest { flood_id, note } = request.into_inner();
        let acknowledged = self.acknowledge_flood(&by, FloodId(flood_id), &note).await?;
        Ok(Response::new(v1::AcknowledgeFloodResponse { acknowledged }))
    }

    #[tracing::instrument(skip_all, fields(incident = request.get_ref().incident_id))]
    async fn order_work(
        &self,
        request: Request<v1::OrderWorkRequest>,
    ) -> Result<Response<v1::OrderWorkResponse>, Status> {
        let by = principal(&request, PersonRole::Operator, "order work")?;
        let work_order = Some(self.order_work(&by, request.get_ref()).await?);
        Ok(Response::new(v1::OrderWorkResponse { work_order }))
    }

    #[tracing::instrument(skip_all)]
    async fn get_acknowledge_link(
        &self,
        request: Request<v1::GetAcknowledgeLinkRequest>,
    ) -> Result<Response<v1::GetAcknowledgeLinkResponse>, Status> {
        Ok(Response::new(self.look_at_link(&request.into_inner().token).await?))
    }

    #[tracing::instrument(skip_all)]
    async fn get_page_picture(
        &self,
        request: Request<v1::GetPagePictureRequest>,
    ) -> Result<Response<v1::GetPagePictureResponse>, Status> {
        let png = self.look_at_picture(&request.into_inner().token).await?;
        Ok(Response::new(v1::GetPagePictureResponse { png }))
    }

    #[tracing::instrument(skip_all)]
    async fn acknowledge_by_link(
        &self,
        request: Request<v1::AcknowledgeByLinkRequest>,
    ) -> Result<Response<v1::AcknowledgeByLinkResponse>, Status> {
        let listing = self.acknowledge_by_link(&request.into_inner().token).await?;
        Ok(Response::new(acknowledge::acknowledged(listing)))
    }

    #[tracing::instrument(skip_all, fields(receiver = request.get_ref().receiver))]
    async fn receive_hook(
        &self,
        request: Request<v1::ReceiveHookRequest>,
    ) -> Result<Response<v1::ReceiveHookResponse>, Status> {
        let acknowledged = self.receive_hook(request.get_ref()).await?;
        Ok(Response::new(v1::ReceiveHookResponse { acknowledged }))
    }

    async fn list_destinations(
        &self,
        request: Request<v1::ListDestinationsRequest>,
    ) -> Result<Response<v1::ListDestinationsResponse>, Status> {
        let scope = principal(&request, PersonRole::Viewer, "list destinations")?.scope();
        let sites = self.store.site_list(&scope).await.map_err(Error::from)?;
        let is_seen = |name: &String| sites.iter().any(|site| site.name.as_str() == name);
        let concerns = |destination: &&Destination| {
            let mut routes = destination.routes().iter();
            scope == Scope::All
                || destination.routes().is_empty()
                || routes.any(|route| route.sites.is_empty() || route.sites.iter().any(is_seen))
        };
        let destinations = self.config.destinations.iter().filter(concerns);
        let destinations = destinations.map(|destination| v1::PageDestination {
            name: destination.name().to_owned(),
            kind: destination.kind().to_owned(),
        });
        Ok(Response::new(v1::ListDestinationsResponse {
            destinations: destinations.collect(),
        }))
    }

    #[tracing::instrument(skip_all)]
    async fn list_incident_filters(
        &self,
        request: Request<v1::ListIncidentFiltersRequest>,
    ) -> Result<Response<v1::ListIncidentFiltersResponse>, Status> {
        let by = principal(&request, PersonRole::Viewer, "list saved filters")?;
        let filters = self.filters_of(&by).await?;
        Ok(Response::new(v1::ListIncidentFiltersResponse { filters }))
    }

    #[tracing::instrument(skip_all)]
    async fn save_incident_filter(
        &self,
        request: Request<v1::SaveIncidentFilterRequest>,
    ) -> Result<Response<v1::SaveIncidentFilterResponse>, Status> {
        let by = principal(&request, PersonRole::Viewer, "save filters")?;
        let filter = self.save_filter(&by, request.into_inner().filter).await?;
        Ok(Response::new(v1::SaveIncidentFilterResponse { filter: Some(filter) }))
    }

    #[tracing::instrument(skip_all)]
    async fn delete_incident_filter(
        &self,
        request: Request<v1::DeleteIncidentFilterRequest>,
    ) -> Result<Response<v1::DeleteIncidentFilterResponse>, Status> {
        let by = principal(&request, PersonRole::Viewer, "delete saved filters")?;
        self.delete_filter(&by, &request.into_inner().name).await?;
        Ok(Response::new(v1::DeleteIncidentFilterResponse {}))
    }

    type WatchIncidentsStream = ReceiverStream<Result<v1::WatchIncidentsResponse, Status>>;

    #[tracing::instrument(skip_all)]
    async fn watch_incidents(
        &self,
        request: Request<v1::WatchIncidentsRequest>,
    ) -> Result<Response<Self::WatchIncidentsStream>, Status> {
        let scope = principal(&request, PersonRole::Viewer, "watch incidents")?.scope();
        let sees = move |site: &SiteId| scope.contains(*site);
        let message = |change| v1::WatchIncidentsResponse { change };
        Ok(Response::new(self.watch.stream(request.extensions(), sees, message)))
    }
}
