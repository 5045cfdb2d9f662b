//! A bundle on its way into the registry, by the same RPCs as `tocsin models push` and `tocsin models challenge`.

use std::time::Duration;

use tocsin_contracts::registry::push_bundle_messages;
use tocsin_contracts::registry::v1::SetChallengerRequest;
use tocsin_contracts::registry::v1::registry_service_client::RegistryServiceClient;
use tocsin_domain::{BundleId, Slug};
use tocsin_models::BundleArchive;
use tocsin_transport::Channel;
use tonic::{Code, Status};

/// Times a call is made while the registry is out of reach or still at work, and the pause between them.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(3);

/// Whether the same call may succeed later.
pub(crate) fn may_pass(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted | Code::Cancelled
    )
}

/// Pushes a bundle, waits for the verifier's word, and names it the challenger of its class; its number. Pushed twice it
/// is the bundle that is there.
pub(crate) async fn register(registry: &Channel, class: &Slug, archive: &BundleArchive) -> Result<BundleId, Status> {
    let bytes = archive.to_bytes();
    let bundle = persistently(|| push(registry.clone(), class, &bytes)).await?;
    persistently(|| challenge(registry.clone(), class, archive)).await?;
    Ok(bundle)
}

async fn persistently<T, F: Future<Output = Result<T, Status>>>(call: impl Fn() -> F) -> Result<T, Status> {
    let mut tries = 1;
    loop {
        match call().await {
            Err(status) if may_pass(&status) && tries < TRIES => {
                tracing::warn!(code = ?status.code(), message = status.message(), "the registry is asked again");
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

async fn push(registry: Channel, class: &Slug, archive: &[u8]) -> Result<BundleId, Status> {
    let messages = push_bundle_messages(class.as_str(), archive);
    let answer = RegistryServiceClient::new(registry)
        .push_bundle(tokio_stream::iter(messages))
        .await?;
    let bundle = answer.into_inner().bundle;
    let bundle = bundle.ok_or_else(|| Status::internal("the registry's answer holds no bundle"))?;
    Ok(BundleId(bundle.bundle_id))
}

async fn challenge(registry: Channel, class: &Slug, archive: &BundleArchive) -> Result<(), Status> {
    let request = SetChallengerRequest {
        class: class.to_string(),
        bundle: archive.digest().to_string(),
    };
    RegistryServiceClient::new(registry).set_challenger(request).await?;
    Ok(())
}
