//! An object as a Parquet file: its parts are fetched as they are asked for.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

/// Fetched with the file's end, so that most ends need one call.
const END_BYTES: usize = 64 * 1024;

type Fetch<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// One object, of known size.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) path: Path,
    pub(super) bytes: u64,
}

impl AsyncFileReader for Object {
    fn get_bytes(&mut self, range: Range<u64>) -> Fetch<'_, Bytes> {
        Box::pin(async move { self.store.get_range(&self.path, range).await.map_err(failed) })
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> Fetch<'_, Vec<Bytes>> {
        Box::pin(async move { self.store.get_ranges(&self.path, &ranges).await.map_err(failed) })
    }

    fn get_metadata<'a>(&'a mut self, _: Option<&'a ArrowReaderOptions>) -> Fetch<'a, Arc<ParquetMetaData>> {
        Box::pin(async move {
            let bytes = self.bytes;
            let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(END_BYTES));
            Ok(Arc::new(reader.load_and_finish(self, bytes).await?))
        })
    }
}

fn failed(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
