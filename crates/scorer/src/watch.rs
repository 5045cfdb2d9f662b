//! What the registry binds is loaded before anybody asks for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tocsin_contracts::registry::v1::registry_service_client::RegistryServiceClient;
use tocsin_contracts::registry::v1::{Binding, WatchBindingsRequest, WatchBindingsResponse};
use tocsin_domain::BundleDigest;
use tocsin_transport::Replicas;
use tonic::{Status, Streaming};

use crate::catalogue::Catalogue;

/// The first wait before the registry is asked again, and the longest; it doubles in between.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Follows the registry's bindings; never returns.
pub(crate) async fn preload(catalogue: &Arc<Catalogue>, registry: &Replicas) {
    let (first, longest) = PAUSES;
    let mut pause = first;
    loop {
        let reason = match watch(registry).await {
            Ok(mut changes) => {
                let (reason, any) = follow(catalogue, &mut changes).await;
                if any {
                    pause = first;
                }
                reason
            }
            Err(status) => status.message().to_owned(),
        };
        tracing::warn!(
            reason,
            retry_in_ms = pause.as_millis() as u64,
            "registry can't be watched"
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Drops unused networks from time to time; never returns.
pub(crate) async fn sweep(catalogue: &Arc<Catalogue>) {
    loop {
        tokio::time::sleep(catalogue.sweep_interval()).await;
        catalogue.drop_unused();
    }
}

async fn watch(registry: &Replicas) -> Result<Streaming<WatchBindingsResponse>, Status> {
    let watch = |channel| async {
        let mut client = RegistryServiceClient::new(channel);
        let stream = client.watch_bindings(WatchBindingsRequest {}).await?;
        Ok(stream.into_inner())
    };
    registry.first_available(watch).await.map(|answer| answer.value)
}

/// Loads what each message binds; says why the stream ended, and whether it said anything.
async fn follow(catalogue: &Arc<Catalogue>, changes: &mut Streaming<WatchBindingsResponse>) -> (String, bool) {
    let mut any = false;
    loop {
        match changes.message().await {
            Ok(Some(change)) => {
                any = true;
                take(catalogue, &change.bindings).await;
            }
            Ok(None) => return ("the stream ended".to_owned(), any),
            Err(status) => return (status.message().to_owned(), any),
        }
    }
}

async fn take(catalogue: &Arc<Catalogue>, bindings: &[Binding]) {
    let digests = bindings
        .iter()
        .flat_map(|binding| [&binding.champion_digest, &binding.challenger_digest]);
    let mut bound = HashSet::new();
    for text in digests.filter(|text| !text.is_empty()) {
        match text.parse::<BundleDigest>() {
            Ok(digest) => {
                bound.insert(digest);
            }
            Err(error) => tracing::warn!(%error, "registry names a digest that is none"),
        }
    }
    catalogue.bind(bound.clone());
    for digest in bound {
        if let Err(error) = catalogue.get(digest).await {
            // The first request for it tries again.
            tracing::warn!(%error, "bound bundle can't be preloaded");
        }
    }
}
