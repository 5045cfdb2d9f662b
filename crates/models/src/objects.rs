//! Object storage: one address and one set of settings for bundles and archive alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use url::Url;

use crate::error::StoreError;

/// Object storage, below a prefix. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Objects {
    /// Opens it by its address: a folder (a path or `file://`, made if it is not there), `s3://bucket/prefix`, or
    /// `memory://` for tests. S3 takes endpoint and credentials from the `AWS_*` environment variables.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, &BTreeMap::new())
    }

    /// Opens it, with settings that go before the environment: `aws_endpoint`, `aws_region`, `aws_access_key_id`,
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

    /// The client.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Where `below` lies, a path of parts between slashes.
    pub fn path(&self, below: &str) -> Path {
        below.split('/').fold(self.prefix.clone(), Path::join)
    }

    fn open_folder(folder: &std::path::Path, refuse: impl Fn(String) -> StoreError) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(|e| refuse(e.to_string()))?;
        let objects = LocalFileSystem::new_with_prefix(folder)
            .map_err(|e| refuse(e.to_string()))?
            .with_fsync(true);
        Ok(Self::over(Arc::new(objects), Path::default()))
    }

    fn over(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self { store, prefix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_of_the_kinds_is_refused() {
        for address in ["http://example.org/x", "s3://", "gs://bucket"] {
            assert!(
                matches!(Objects::open(address), Err(StoreError::Address { .. })),
                "{address}"
            );
        }
        let settings = [("aws_colour".to_owned(), "red".to_owned())].into();
        let error = Objects::open_with("s3://bucket/prefix", &settings)
            .unwrap_err()
            .to_string();
        assert!(error.contains("\"aws_colour\" is not a setting"), "{error}");
    }
}
