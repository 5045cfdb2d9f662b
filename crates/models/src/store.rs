//! Where bundles are kept: object storage, one object each, named by digest and never overwritten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tocsin_domain::BundleDigest;

use crate::archive::{ArchiveLimits, BundleArchive};
use crate::bundle::{Bundle, check_files};
use crate::error::StoreError;
use crate::manifest::Manifest;
use crate::objects::Objects;

/// Bundles kept in memory after they were loaded.
const CACHED: usize = 16;

/// A store of bundles. Clones share the connection and the cache.
#[derive(Debug, Clone)]
pub struct BundleStore {
    objects: Objects,
    limits: ArchiveLimits,
    cache: Arc<Mutex<BTreeMap<BundleDigest, Arc<Bundle>>>>,
}

impl BundleStore {
    /// Opens a store by its address, as [`Objects::open`].
    pub fn open(url: &str) -> Result<Self, StoreError> {
        Ok(Self::over(Objects::open(url)?))
    }

    /// Opens a store, with settings that go before the environment, as [`Objects::open_with`].
    pub fn open_with(url: &str, settings: &BTreeMap<String, String>) -> Result<Self, StoreError> {
        Ok(Self::over(Objects::open_with(url, settings)?))
    }

    /// A store in object storage that is opened already.
    pub fn over(objects: Objects) -> Self {
        Self {
            objects,
            limits: ArchiveLimits::default(),
            cache: Arc::default(),
        }
    }

    /// The object storage itself.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Keeps an archive; when it is there already, nothing happens.
    pub async fn put(&self, archive: &BundleArchive) -> Result<BundleDigest, StoreError> {
        let digest = archive.digest();
        let options = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from(archive.to_bytes());
        match self
            .objects
            .store()
            .put_opts(&self.path(&digest), payload, options)
            .await
        {
            Ok(_) => {
                tracing::info!(%digest, "bundle stored");
                Ok(digest)
            }
            Err(object_store::Error::AlreadyExists { .. }) => Ok(digest),
            Err(source) => Err(StoreError::ObjectStore { digest, source }),
        }
    }

    /// The bundle with this digest, from memory if it was loaded lately. What comes from storage is checked against the
    /// digest; the error says what differs.
    pub async fn get(&self, digest: &BundleDigest) -> Result<Arc<Bundle>, StoreError> {
        if let Some(bundle) = self.cached().get(digest) {
            return Ok(bundle.clone());
        }
        let archive = self.get_archive(digest).await?;
        let bundle = Bundle::from_archive(archive).map_err(|source| StoreError::Bundle {
            digest: *digest,
            source,
        })?;
        let bundle = Arc::new(bundle);
        let mut cache = self.cached();
        if cache.len() >= CACHED {
            cache.pop_first();
        }
        cache.insert(*digest, bundle.clone());
        drop(cache);
        Ok(bundle)
    }

    /// The files of the bundle with this digest, always from storage and always checked.
    pub async fn get_archive(&self, digest: &BundleDigest) -> Result<BundleArchive, StoreError> {
        let failed = |source| match source {
            object_store::Error::NotFound { .. } => StoreError::NotFound { digest: *digest },
            source => StoreError::ObjectStore {
                digest: *digest,
                source,
            },
        };
        let damaged = |reason: String| StoreError::Damaged {
            digest: *digest,
            reason,
        };
        let found = self.objects.store().get(&self.path(digest)).await.map_err(failed)?;
        if found.meta.size > self.limits.archive_bytes {
            let reason = format!("{} bytes, the limit is {}", found.meta.size, self.limits.archive_bytes);
            return Err(damaged(reason));
        }
        let bytes = found.bytes().await.map_err(failed)?;
        let archive = BundleArchive::from_bytes(&bytes, self.limits).map_err(|e| damaged(e.to_string()))?;
        if archive.digest() != *digest {
            return Err(damaged(what_differs(&archive)));
        }
        Ok(archive)
    }

    fn path(&self, digest: &BundleDigest) -> Path {
        self.objects.path("bundles").join(format!("{digest}.tar"))
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, BTreeMap<BundleDigest, Arc<Bundle>>> {
        // A panic while it was locked can't have left a half-made map: insert and remove are its only uses.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In words, why an archive doesn't have the digest it is stored under.
fn what_differs(archive: &BundleArchive) -> String {
    let found = format!("its files digest to {}", archive.digest());
    match Manifest::from_json(archive.manifest_json()) {
        Ok(manifest) => match check_files(archive, &manifest) {
            Err((file, reason)) => format!("{found}; {file} {reason}"),
            Ok(()) => format!("{found}; the files agree with the manifest, so the manifest differs"),
        },
        Err(e) => format!("{found}; {e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use url::Url;

    fn overwrite(folder: &std::path::Path, digest: &BundleDigest, bytes: &[u8]) {
        std::fs::write(folder.join("bundles").join(format!("{digest}.tar")), bytes).unwrap();
    }

    #[tokio::test]
    async fn a_bundle_is_found_again_by_its_digest_in_every_kind_of_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plain").display().to_string();
        let url = Url::from_file_path(folder.path().join("by url")).unwrap().to_string();
        for address in ["memory://", &path, &url] {
            let store = BundleStore::open(address).unwrap();
            let archive = fixture::archive();
            let digest = store.put(&archive).await.unwrap();
            assert_eq!(
                store.put(&archive).await.unwrap(),
                digest,
                "a second time changes nothing"
            );
            assert_eq!(store.get(&digest).await.unwrap().archive(), &archive);
            assert_eq!(store.clone().get_archive(&digest).await.unwrap(), archive);
        }
    }

    #[tokio::test]
    async fn a_damaged_bundle_is_refused_with_its_digest_and_the_file_that_differs() {
        let folder = tempfile::tempdir().unwrap();
        let store = BundleStore::open(&folder.path().display().to_string()).unwrap();
        let archive = fixture::archive();
        let digest = store.put(&archive).await.unwrap();

        let mut bytes = archive.to_bytes();
        let place = bytes
            .windows(8)
            .position(|w| w == b"MatMul\x1a\x08" || w.starts_with(b"MatMul"))
            .unwrap();
        bytes[place] = b'N';
        overwrite(folder.path(), &digest, &bytes);
        let error = store.get(&digest).await.unwrap_err().to_string();
        assert!(
            error.contains(&digest.to_string()) && error.contains("autoencoder.onnx differs"),
            "{error}"
        );

        let mut parts = fixture::parts();
        parts.manifest.lineage.seed += 1;
        overwrite(folder.path(), &digest, &parts.pack().to_bytes());
        let error = store.get(&digest).await.unwrap_err().to_string();
        assert!(error.contains("so the manifest differs"), "{error}");

        overwrite(folder.path(), &digest, b"no tar");
        assert!(matches!(store.get(&digest).await, Err(StoreError::Damaged { .. })));
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_to_be_not_there() {
        let store = BundleStore::open("memory://").unwrap();
        let digest = fixture::archive().digest();
        assert!(matches!(store.get(&digest).await, Err(StoreError::NotFound { digest: asked }) if asked == digest));
    }
}
