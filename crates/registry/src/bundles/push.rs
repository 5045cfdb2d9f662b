//! A push: bytes to a scratch file, blob to object storage, row to the database, then the verifier.

use std::time::Duration;

use serde_json::json;
use tempfile::NamedTempFile;
use tocsin_contracts::Malformed;
use tocsin_contracts::registry::v1::push_bundle_request::Message;
use tocsin_contracts::registry::v1::{Bundle as WireBundle, PushBundleRequest};
use tocsin_domain::fleet::MachineClass;
use tocsin_domain::lifecycle::BundleState;
use tocsin_domain::{BundleDigest, Principal, Slug};
use tocsin_models::{ArchiveLimits, BundleArchive, Manifest};
use tocsin_store::access::NewAuditEntry;
use tocsin_store::bundle::{Bundle, NewBundle};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use super::{Bundles, wire};
use crate::Error;
use crate::verify::Report;

/// The longest manifest, in bytes.
const MAX_MANIFEST: usize = 1 << 20;

/// What stands in the archive's own words before anything in it was tried.
struct Claims {
    archive: BundleArchive,
    digest: BundleDigest,
    manifest_json: String,
}

impl Bundles {
    /// Takes a bundle in and has it tried. The same bundle pushed again is the one that is there; one whose verification
    /// was cut short is tried again.
    pub(super) async fn push<S>(&self, principal: &Principal, mut messages: S) -> Result<Bundle, Error>
    where
        S: Stream<Item = Result<PushBundleRequest, Status>> + Unpin + Send,
    {
        let whole = Duration::from_millis(self.config.push_ms);
        let received = tokio::time::timeout(whole, self.receive(&mut messages)).await;
        let slow = || Error::BrokenOff {
            reason: format!("it took longer than {} ms", self.config.push_ms),
        };
        let (class, scratch) = received.map_err(|_| slow())??;

        // Whole or not at all: a caller who gives up must not leave the bundle pending.
        let (this, principal) = (self.clone(), principal.clone());
        let settled = tokio::spawn(async move { this.settle(&principal, &class, &scratch).await });
        let row = settled.await.map_err(Error::internal("settling a push"))??;
        match row.state {
            BundleState::Verified => Ok(row),
            BundleState::Rejected => Err(Error::Rejected {
                digest: row.digest,
                reason: row.reason,
            }),
            BundleState::Pending => Err(Error::precondition(format!("bundle {} is still pending", row.id))),
        }
    }

    /// Keeps what was received, blob first and row second, and has it tried when nobody has yet.
    async fn settle(
        &self,
        principal: &Principal,
        class: &MachineClass,
        scratch: &NamedTempFile,
    ) -> Result<Bundle, Error> {
        let turn = self.turns.acquire().await;
        let _turn = turn.map_err(Error::internal("waiting for a turn"))?;
        let claims = self.read(class, scratch).await?;
        self.blobs.put(&claims.archive).await?;
        let new = NewBundle {
            class: class.id,
            digest: claims.digest,
            manifest_json: claims.manifest_json,
            pushed_by: principal.actor(),
        };
        drop(claims.archive);
        let audit = |row: &Bundle| {
            let detail = json!({ "class": row.class_name, "bundle_id": row.id });
            NewAuditEntry::new(&row.pushed_by, "bundle.push", row.digest, &detail)
        };
        let store = &self.context.store;
        let row = store.bundle_insert(&new, self.context.now(), audit).await?;
        match row.state {
            BundleState::Pending => self.verify(principal, row, scratch).await,
            BundleState::Verified | BundleState::Rejected => Ok(row),
        }
    }

    /// The bytes as they come, no more than allowed, into a file that goes away by itself.
    async fn receive<S>(&self, messages: &mut S) -> Result<(MachineClass, NamedTempFile), Error>
    where
        S: Stream<Item = Result<PushBundleRequest, Status>> + Unpin + Send,
    {
        let broken = |status: Status| Error::BrokenOff {
            reason: status.message().to_owned(),
        };
        let first = messages
            .next()
            .await
            .transpose()
            .map_err(broken)?
            .and_then(|message| message.message);
        let Some(Message::Header(header)) = first else {
            return Err(Malformed::new("header", "must be the first message").into());
        };
        let class = self
            .context
            .store
            .class_by_name(&Slug::parse("header.class", &header.class)?)
            .await?;

        let doing = "keeping a pushed bundle";
        let scratch = NamedTempFile::new().map_err(Error::internal(doing))?;
        let mut file = File::from_std(scratch.reopen().map_err(Error::internal(doing))?);
        let limit_bytes = self.config.max_bundle_bytes;
        let mut received = 0;
        while let Some(message) = messages.next().await {
            match message.map_err(broken)?.message {
                Some(Message::Chunk(chunk)) => {
                    received += chunk.len() as u64;
                    if received > limit_bytes {
                        return Err(Error::TooLarge { limit_bytes });
                    }
                    file.write_all(&chunk).await.map_err(Error::internal(doing))?;
                }
                Some(Message::Header(_)) => return Err(Malformed::new("header", "comes twice").into()),
                None => return Err(Malformed::new("message", "is neither header nor chunk").into()),
            }
        }
        file.flush().await.map_err(Error::internal(doing))?;
        if received == 0 {
            return Err(Malformed::new("chunk", "the bundle is empty").into());
        }
        Ok((class, scratch))
    }

    /// Unpacks the archive, which runs nothing of it.
    async fn read(&self, class: &MachineClass, scratch: &NamedTempFile) -> Result<Claims, Error> {
        let bytes = tokio::fs::read(scratch.path())
            .await
            .map_err(Error::internal("reading a pushed bundle"))?;
        let limits = ArchiveLimits {
            archive_bytes: self.config.max_bundle_bytes,
            ..ArchiveLimits::default()
        };
        let class_name = class.name.to_string();
        let unpack = move || -> Result<Claims, Malformed> {
            let bad = |reason: String| Malformed::new("bundle", reason);
            let archive = BundleArchive::from_bytes(&bytes, limits).map_err(|e| bad(e.to_string()))?;
            if archive.manifest_json().len() > MAX_MANIFEST {
                return Err(bad(format!("the manifest has more than {MAX_MANIFEST} bytes")));
            }
            let manifest = Manifest::from_json(archive.manifest_json()).map_err(|e| bad(e.to_string()))?;
            let manifest_json = serde_json::to_string(&manifest).map_err(|e| bad(e.to_string()))?;
            // Postgres keeps no zero bytes in a document.
            if manifest_json.contains("\\u0000") {
                return Err(bad("the manifest holds a zero character".to_owned()));
            }
            if manifest.class.as_str() != class_name {
                return Err(Malformed::new(
                    "header.class",
                    format!("the manifest is for {}", manifest.class),
                ));
            }
            let digest = archive.digest();
            Ok(Claims {
                archive,
                digest,
                manifest_json,
            })
        };
        Ok(tokio::task::spawn_blocking(unpack)
            .await
            .map_err(Error::internal("unpacking a bundle"))??)
    }

    /// Has the verifier try a pending bundle and keeps what it found.
    async fn verify(&self, principal: &Principal, row: Bundle, scratch: &NamedTempFile) -> Result<Bundle, Error> {
        let report = self.verifier.run(scratch.path()).await?;
        let (state, reason, detail) = match report {
            Report::Passed {
                digest,
                operators,
                parameters,
            } if digest == row.digest => {
                let detail = json!({ "class": row.class_name, "operators": operators, "parameters": parameters });
                (BundleState::Verified, String::new(), detail)
            }
            Report::Passed { digest, .. } => {
                let reason = format!("the verifier saw another digest, {}", digest.short());
                (
                    BundleState::Rejected,
                    reason.clone(),
                    json!({ "class": row.class_name, "reason": reason }),
                )
            }
            Report::Rejected { reason } => (
                BundleState::Rejected,
                reason.clone(),
                json!({ "class": row.class_name, "reason": reason }),
            ),
        };
        let audit = |row: &Bundle| {
            let action = format!("bundle.{}", row.state.as_str());
            NewAuditEntry::new(principal.actor(), action, row.digest, &detail)
        };
        let (store, now) = (&self.context.store, self.context.now());
        let step = (BundleState::Pending, state);
        match store.bundle_set_state(row.id, step, &reason, now, audit).await {
            // Somebody pushed the same bundle to another replica, which was faster.
            Err(tocsin_store::Error::Conflict { .. }) => Ok(store.bundle_by_id(row.id).await?),
            settled => Ok(settled?),
        }
    }

    /// A bundle as it is shown, with its alias.
    pub(super) async fn described(&self, bundle: Bundle) -> Result<WireBundle, Error> {
        let binding = self.context.store.binding_current(bundle.class).await?;
        Ok(wire::bundle(bundle, binding.as_slice()))
    }
}
