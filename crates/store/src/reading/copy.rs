//! The hot path when nothing of a batch is there yet, which is nearly always: rows go in by `COPY … FROM STDIN`, which
//! writes many at a time where `INSERT … ON CONFLICT` looks for each one first.
//!
//! A key that is there already ends the transaction; the caller begins again with [`super::readings_insert`], which
//! tells resends from conflicts.

use std::borrow::Borrow;

use sqlx::encode::IsNull;
use sqlx::postgres::PgArgumentBuffer;
use sqlx::{Encode, PgConnection, Postgres};

use super::NewReading;
use super::insert::{Row, in_key_order, next_commit_seq};
use crate::{Error, Result};

/// Not checked at compile time: the macros don't know COPY. The columns are in the order of [`Row::fields`].
const STATEMENT: &str = "copy reading (captured_at, received_at, content_hash, commit_seq, predecessors_from, sensor_id,
     threshold_set_id, bundle_id, baseline_id, scorer_build_id, residual, overall_level, isolation, growth, shift, narrowband, pca,
     mahalanobis, severity, rpm, load, flags, verdict, condition_cell, detector_mask, predecessor_count, overall, latent, spectrum)
     from stdin (format binary)";

/// Signature, flags and the length of a header extension (`PostgreSQL` manual, COPY, Binary Format).
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// A field count of -1 ends the data.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// A length of -1 is a null.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// Stores a batch of readings none of which is there yet, each key once. The partitions must exist
/// ([`crate::Store::partitions_ensure`]).
///
/// # Errors
/// [`Error::AlreadyExists`] if a key is there already, or twice in the batch: the transaction of `conn` is over, and
/// nothing of it is stored.
pub async fn readings_copy<R>(conn: &mut PgConnection, readings: &[R]) -> Result<()>
where
    R: Borrow<NewReading> + Sync,
{
    let order = in_key_order(readings);
    let already = || "a reading of the batch".to_owned();
    if order.len() < readings.len() {
        return Err(Error::AlreadyExists { what: already() });
    }
    let commit_seq = next_commit_seq(conn).await?;
    let mut rows = Rows::with_capacity(readings.len());
    for place in order {
        rows.push(&Row::new(readings[place].borrow(), commit_seq))?;
    }
    let copy = async {
        let mut copy = conn.copy_in_raw(STATEMENT).await?;
        copy.send(rows.finish()).await?;
        copy.finish().await
    };
    copy.await.map_err(Error::exists(already))?;
    Ok(())
}

/// Rows in the binary form.
struct Rows {
    buffer: PgArgumentBuffer,
}

impl Rows {
    fn with_capacity(rows: usize) -> Self {
        let mut buffer = PgArgumentBuffer::default();
        buffer.reserve(HEADER.len() + rows * 320);
        buffer.extend_from_slice(HEADER);
        Self { buffer }
    }

    fn push(&mut self, row: &Row<'_>) -> Result<()> {
        let fields = row.fields();
        self.buffer.extend_from_slice(&(fields.len() as i16).to_be_bytes());
        for field in fields {
            self.field(field)?;
        }
        Ok(())
    }

    /// A value after its length in bytes.
    fn field(&mut self, value: &dyn Field) -> Result<()> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&NULL);
        let is_null = value
            .write(&mut self.buffer)
            .map_err(|error| Error::from(sqlx::Error::Encode(error)))?;
        if let IsNull::No = is_null {
            let length = (self.buffer.len() - start - NULL.len()) as i32;
            self.buffer[start..start + NULL.len()].copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }

    fn finish(mut self) -> Vec<u8> {
        self.buffer.extend_from_slice(&TRAILER);
        std::mem::take(&mut *self.buffer)
    }
}

/// A column's value, whatever its type.
pub(super) trait Field {
    fn write(&self, buffer: &mut PgArgumentBuffer) -> std::result::Result<IsNull, sqlx::error::BoxDynError>;
}

impl<'q, T: Encode<'q, Postgres>> Field for T {
    fn write(&self, buffer: &mut PgArgumentBuffer) -> std::result::Result<IsNull, sqlx::error::BoxDynError> {
        self.encode_by_ref(buffer)
    }
}
