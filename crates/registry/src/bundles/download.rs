//! A bundle on its way out: its archive, or one file of it.

use tocsin_contracts::registry::v1::DownloadBundleResponse;
use tonic::Status;

use super::Bundles;
use crate::Error;

/// Bytes of a piece.
const PIECE: usize = 64 << 10;

/// A file in pieces.
pub(super) type Pieces = tokio_stream::Iter<std::vec::IntoIter<Piece>>;
type Piece = Result<DownloadBundleResponse, Status>;

impl Bundles {
    /// A bundle's file of this name, or its whole archive where the name is empty. What is handed out has been checked
    /// against the bundle's digest.
    pub(super) async fn download(&self, bundle: &str, file: &str) -> Result<Vec<Piece>, Error> {
        let row = self.context.store.bundle_find(None, bundle).await?;
        let archive = self.blobs.get_archive(&row.digest).await?;
        let bytes = if file.is_empty() {
            archive.to_bytes()
        } else {
            let found = archive.named(file);
            let absent = || tocsin_store::Error::NotFound {
                what: format!("file {file:?} of bundle {}", row.id),
            };
            found.ok_or_else(absent)?.to_vec()
        };
        let piece = |bytes: &[u8]| Ok(DownloadBundleResponse { bytes: bytes.to_vec() });
        Ok(bytes.chunks(PIECE).map(piece).collect())
    }
}
