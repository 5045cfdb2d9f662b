//! Where bundles are kept: object storage, one object each, named by digest and never overwritten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tocsin_domain::BundleDigest;
use url::Url;

use crate::archive::{ArchiveLimits, BundleArchive};
use crate::bundle::{Bundle, check_files};
use crate::error::StoreError;
use crate::manifest::Manifest;

/// Bundles kept in memory after they were loaded.
const CACHED: usize = 16;

/// A store of bundles. Clones share the connection and the cache.
#[derive(Debug, Clone)]
pub struct BundleStore {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    limits: ArchiveLimits,
    cache: Arc<Mutex<BTreeMap<BundleDigest, Arc<Bundle>>>>,
}

impl BundleStore {
    /// Opens a store by its address: a folder (a path or `file://`, made if it is not there), `s3://bucket/prefix`, or
    /// `memory://` for tests. S3 takes endpoint and credentials from the `AWS_*` environment variables.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, &BTreeMap::new())
    }

    /// Opens a store, with settings that go before the environment: `aws_endpoint`, `aws_region`, `aws_access_key_id`,
    /// `aws_secret_access_key`, `aws_allow_http` and the others of the S3 client.
    pub fn open_with(url: &str, settings: &BTreeMap<String, String>) -> Result<Self, StoreError> {
        let refuse = |reason: String| StoreError::Address {
            url: url.to_owned(),
            reason,
        };
        if !url.contains("://") {
            return Self::open_folder(std::path::Path::new(url), refuse);
        }
        let parsed = Url::parse(url).map_err(|e| refuse(e.to_string()))?;
        match parsed.scheme() {
            "file" => {
                let folder = parsed
                    .to_file_path()
                    .map_err(|()| refuse("is not a local folder".to_owned()))?;
                Self::open_folder(&folder, refuse)
            }
            "memory" => Ok(Self::over(Arc::new(InMemory::new()), Path::default())),
            "s3" => {
                let mut builder = AmazonS3Builder::from_env().with_url(format!(
                    "s3://{}",
                    parsed.host_str().ok_or_else(|| refuse("names no bucket".to_owned()))?
                ));
                for (name, value) in settings {
                    let key: AmazonS3ConfigKey = name
                        .parse()
                        .map_err(|_| refuse(format!("{name:?} is not a setting of S3")))?;
                    builder = builder.with_config(key, value);
                }
                let objects = builder.build().map_err(|e| refuse(e.to_string()))?;
                let prefix = Path::from_url_path(parsed.path()).map_err(|e| refuse(e.to_string()))?;
                Ok(Self::over(Arc::new(objects), prefix))
            }
            other => Err(refuse(format!("{other:?} is none of file, s3 and memory"))),
        }
    }

    fn open_folder(folder: &std::path::Path, refuse: impl Fn(String) -> StoreError) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(|e| refuse(e.to_string()))?;
        let objects = LocalFileSystem::new_with_prefix(folder).map_err(|e| refuse(e.to_string()))?;
        Ok(Self::over(Arc::new(objects), Path::default()))
    }

    fn over(objects: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self {
            objects,
            prefix,
            limits: ArchiveLimits::default(),
            cache: Arc::default(),
        }
    }

    /// Keeps an archive; when it is there already, nothing happens.
    pub async fn put(&self, archive: &BundleArchive) -> Result<BundleDigest, StoreError> {
        let digest = archive.digest();
        let options = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from(archive.to_bytes());
        match self.objects.put_opts(&self.path(&digest), payload, options).await {
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
        let found = self.objects.get(&self.path(digest)).await.map_err(failed)?;
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
        self.prefix.clone().join("bundles").join(format!("{digest}.tar"))
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

    #[test]
    fn an_address_that_is_none_of_the_kinds_is_refused() {
        for address in ["http://example.org/x", "s3://", "gs://bucket"] {
            assert!(
                matches!(BundleStore::open(address), Err(StoreError::Address { .. })),
                "{address}"
            );
        }
        let settings = [("aws_colour".to_owned(), "red".to_owned())].into();
        let error = BundleStore::open_with("s3://bucket/prefix", &settings)
            .unwrap_err()
            .to_string();
        assert!(error.contains("\"aws_colour\" is not a setting"), "{error}");
    }
}
