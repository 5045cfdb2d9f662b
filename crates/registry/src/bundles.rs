//! `registry.v1`: model versions, pushed, verified, promoted, rolled back, never changed.
//!
//! A push is stored blob first, row second, and judged by the verifier before anything may load it. Which bundle judges a
//! class is one row of its binding history, switched together with the limits made for it.
//!
//! A class is one for every site, so whoever changes what judges it has to see them all.
//!
//! **Invariant:** only a verified bundle becomes champion or challenger.

mod download;
mod lineup;
mod push;
mod watch;
mod wire;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tocsin_contracts::registry::v1::registry_service_server::RegistryService;
use tocsin_contracts::registry::v1::{
    DownloadBundleRequest, GetBundleRequest, GetBundleResponse, ListBindingsRequest, ListBindingsResponse,
    ListBundlesRequest, ListBundlesResponse, PromoteRequest, PromoteResponse, PushBundleRequest, PushBundleResponse,
    RollbackRequest, RollbackResponse, SetChallengerRequest, SetChallengerResponse, WatchBindingsRequest,
    WatchBindingsResponse,
};
use tocsin_domain::{ClassId, PersonRole, Slug};
use tocsin_models::BundleStore;
use tocsin_store::access::NewAuditEntry;
use tocsin_store::binding::Binding;
use tokio::sync::{Semaphore, watch as signal};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use crate::Error;
use crate::context::{Context, caller};
use crate::verify::Verifier;

pub(crate) use self::watch::listen;

/// Settings of pushing bundles and watching bindings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The largest bundle, in bytes.
    pub max_bundle_bytes: u64,
    /// The longest a push may take to arrive, in milliseconds.
    pub push_ms: u64,
    /// Bundles verified at the same time.
    pub concurrent_verifications: usize,
    /// Watchers look again after so many milliseconds even if nothing was heard.
    pub watch_poll_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        let max_bundle_bytes = tocsin_models::ArchiveLimits::default().archive_bytes;
        Self {
            max_bundle_bytes,
            push_ms: 600_000,
            concurrent_verifications: 1,
            watch_poll_ms: 5_000,
        }
    }
}

/// The service.
#[derive(Debug, Clone)]
pub struct Bundles {
    context: Context,
    config: Config,
    blobs: BundleStore,
    verifier: Verifier,
    turns: Arc<Semaphore>,
    changes: signal::Receiver<u64>,
}

impl Bundles {
    pub(crate) fn new(
        config: Config,
        context: Context,
        blobs: BundleStore,
        verifier: Verifier,
        changes: signal::Receiver<u64>,
    ) -> Self {
        let turns = Arc::new(Semaphore::new(config.concurrent_verifications.max(1)));
        Self {
            context,
            config,
            blobs,
            verifier,
            turns,
            changes,
        }
    }

    /// The class of a query; none when its name is empty.
    async fn class_asked_for(&self, name: &str) -> Result<Option<ClassId>, Error> {
        if name.is_empty() {
            return Ok(None);
        }
        Ok(Some(
            self.context.store.class_by_name(&Slug::parse("class", name)?).await?.id,
        ))
    }
}

#[tonic::async_trait]
impl RegistryService for Bundles {
    type WatchBindingsStream = BoxStream<WatchBindingsResponse>;
    type DownloadBundleStream = download::Pieces;

    async fn push_bundle(
        &self,
        request: Request<Streaming<PushBundleRequest>>,
    ) -> Result<Response<PushBundleResponse>, Status> {
        let principal = caller(&request)?;
        principal
            .require_everywhere(PersonRole::Engineer, "push bundles")
            .map_err(Error::from)?;
        let bundle = self.push(&principal, request.into_inner()).await?;
        Ok(Response::new(PushBundleResponse {
            bundle: Some(self.described(bundle).await?),
        }))
    }

    async fn list_bundles(
        &self,
        request: Request<ListBundlesRequest>,
    ) -> Result<Response<ListBundlesResponse>, Status> {
        caller(&request)?
            .require(PersonRole::Viewer, "list bundles")
            .map_err(Error::from)?;
        let class = self.class_asked_for(&request.into_inner().class).await?;
        let bundles = self.context.store.bundle_list(class).await.map_err(Error::from)?;
        let bindings = self.context.store.binding_current_all().await.map_err(Error::from)?;
        let bundles = bundles
            .into_iter()
            .map(|bundle| wire::bundle(bundle, &bindings))
            .collect();
        Ok(Response::new(ListBundlesResponse { bundles }))
    }

    async fn get_bundle(&self, request: Request<GetBundleRequest>) -> Result<Response<GetBundleResponse>, Status> {
        caller(&request)?
            .require(PersonRole::Viewer, "see bundles")
            .map_err(Error::from)?;
        let bundle = self
            .context
            .store
            .bundle_find(None, &request.into_inner().bundle)
            .await
            .map_err(Error::from)?;
        Ok(Response::new(GetBundleResponse {
            bundle: Some(self.described(bundle).await?),
        }))
    }

    async fn download_bundle(
        &self,
        request: Request<DownloadBundleRequest>,
    ) -> Result<Response<Self::DownloadBundleStream>, Status> {
        // What a class was trained on comes from every site.
        caller(&request)?
            .require_everywhere(PersonRole::Viewer, "download bundles")
            .map_err(Error::from)?;
        let DownloadBundleRequest { bundle, file } = request.into_inner();
        let pieces = self.download(&bundle, &file).await?;
        Ok(Response::new(tokio_stream::iter(pieces)))
    }

    async fn promote(&self, request: Request<PromoteRequest>) -> Result<Response<PromoteResponse>, Status> {
        let principal = caller(&request)?;
        principal
            .require_everywhere(PersonRole::Engineer, "promote bundles")
            .map_err(Error::from)?;
        let binding = self.make_champion(&principal, &request.into_inner()).await?;
        Ok(Response::new(PromoteResponse {
            binding: Some(wire::binding(&binding)),
        }))
    }

    async fn set_challenger(
        &self,
        request: Request<SetChallengerRequest>,
    ) -> Result<Response<SetChallengerResponse>, Status> {
        let principal = caller(&request)?;
        principal
            .require_everywhere(PersonRole::Engineer, "name challengers")
            .map_err(Error::from)?;
        let binding = self.make_challenger(&principal, &request.into_inner()).await?;
        Ok(Response::new(SetChallengerResponse {
            binding: Some(wire::binding(&binding)),
        }))
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Result<Response<RollbackResponse>, Status> {
        let principal = caller(&request)?;
        principal
            .require_everywhere(PersonRole::Engineer, "roll back")
            .map_err(Error::from)?;
        let RollbackRequest { class, reason } = request.into_inner();
        let class = Slug::parse("class", &class).map_err(Error::from)?;
        let id = self.context.store.class_by_name(&class).await.map_err(Error::from)?.id;
        let actor = principal.actor();
        let audit = |binding: &Binding| {
            let detail = json!({ "version": binding.version, "reason": reason });
            NewAuditEntry::new(&actor, "binding.rollback", &class, &detail)
        };
        let rolled = self
            .context
            .store
            .binding_rollback(id, (&actor, &reason), self.context.now(), audit)
            .await;
        let binding = rolled.map_err(Error::from)?;
        Ok(Response::new(RollbackResponse {
            binding: Some(wire::binding(&binding)),
        }))
    }

    async fn list_bindings(
        &self,
        request: Request<ListBindingsRequest>,
    ) -> Result<Response<ListBindingsResponse>, Status> {
        caller(&request)?
            .require(PersonRole::Viewer, "list bindings")
            .map_err(Error::from)?;
        let class = self.class_asked_for(&request.into_inner().class).await?;
        let bindings = self
            .context
            .store
            .binding_history(class, None)
            .await
            .map_err(Error::from)?;
        Ok(Response::new(ListBindingsResponse {
            bindings: bindings.iter().map(wire::binding).collect(),
        }))
    }

    async fn watch_bindings(
        &self,
        request: Request<WatchBindingsRequest>,
    ) -> Result<Response<Self::WatchBindingsStream>, Status> {
        caller(&request)?
            .require(PersonRole::Viewer, "watch bindings")
            .map_err(Error::from)?;
        Ok(Response::new(self.watch(&request)))
    }
}
