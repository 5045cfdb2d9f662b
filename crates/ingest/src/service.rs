//! The gRPC service.

use std::sync::Arc;

use tocsin_contracts::ingest::v1::ingest_service_server::IngestService;
use tocsin_contracts::ingest::v1::{PublishRequest, PublishResponse};
use tocsin_domain::Principal;
use tocsin_domain::access::Gateway;
use tocsin_transport::auth::Reverify;
use tocsin_transport::server::Draining;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Extensions, Request, Response, Status, Streaming};

use crate::intake::Intake;
use crate::publish::Driver;

/// Ingest's gRPC service. Clones share everything.
#[derive(Debug, Clone)]
pub struct Service(Arc<Intake>);

impl Service {
    pub(crate) fn new(intake: Arc<Intake>) -> Self {
        Self(intake)
    }
}

#[tonic::async_trait]
impl IngestService for Service {
    type PublishStream = ReceiverStream<Result<PublishResponse, Status>>;

    async fn publish(
        &self,
        request: Request<Streaming<PublishRequest>>,
    ) -> Result<Response<Self::PublishStream>, Status> {
        let gateway = gateway(request.extensions())?;
        let reverify = request.extensions().get::<Reverify>().cloned();
        let draining = request.extensions().get::<Draining>().cloned();
        let (answers, stream) = mpsc::channel(self.0.in_flight_batches);
        let driver = Driver::new(Arc::clone(&self.0), gateway, answers);
        tokio::spawn(driver.run(request.into_inner(), reverify, draining));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// The gateway whose credential the layer in front has checked.
pub(crate) fn gateway(extensions: &Extensions) -> Result<Arc<Gateway>, Status> {
    let principal = extensions.get::<Principal>();
    let principal = principal.ok_or_else(|| Status::unauthenticated("no credential came with the call"))?;
    let gateway = principal.as_gateway("publish readings");
    gateway
        .cloned()
        .map(Arc::new)
        .map_err(|forbidden| Status::permission_denied(forbidden.to_string()))
}
