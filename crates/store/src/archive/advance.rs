//! From state to state, up to the last.

use tocsin_domain::Timestamp;

use super::{File, Part, taken_over};
use crate::row::time;
use crate::{Result, Store};

impl Store {
    /// Notes the files that were written.
    ///
    /// # Errors
    /// [`Error::Conflict`] when another has taken the part over.
    pub async fn archive_written(&self, part: &Part, files: &[File], digest: &[u8], now: Timestamp) -> Result<Part> {
        let sum = |of: fn(&File) -> u64| files.iter().map(of).sum::<u64>() as i64;
        let mut transaction = self.begin().await?;
        let done = sqlx::query!(
            "update archive_part set state = 'written', rows = $4, spectra = $5, bytes = $6, digest = $7, error = '',
                 updated_at = $8
             where day = $1 and part = $2 and attempt = $3 and state = 'writing'",
            part.day.date(),
            part.part,
            part.attempt,
            sum(|file| file.rows),
            sum(|file| file.spectra),
            sum(|file| file.bytes),
            digest,
            time(now),
        )
        .execute(&mut *transaction)
        .await?;
        taken_over(part, done.rows_affected())?;
        sqlx::query!(
            "delete from archive_file where day = $1 and part = $2",
            part.day.date(),
            part.part
        )
        .execute(&mut *transaction)
        .await?;
        for file in files {
            sqlx::query!(
                "insert into archive_file (path, day, part, site_id, rows, spectra, bytes, digest)
                 values ($1, $2, $3, $4, $5, $6, $7, $8)",
                file.path,
                part.day.date(),
                part.part,
                file.site.0,
                file.rows as i64,
                file.spectra as i64,
                file.bytes as i64,
                file.digest,
            )
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        self.archive_part(part.day, part.part).await
    }

    /// Notes that the files were read back and hold what was written.
    ///
    /// # Errors
    /// [`Error::Conflict`] when another has taken the part over.
    pub async fn archive_verified(&self, part: &Part, now: Timestamp) -> Result<Part> {
        let done = sqlx::query!(
            "update archive_part set state = 'verified', updated_at = $4
             where day = $1 and part = $2 and attempt = $3 and state = 'written'",
            part.day.date(),
            part.part,
            part.attempt,
            time(now),
        )
        .execute(&self.pool)
        .await?;
        taken_over(part, done.rows_affected())?;
        self.archive_part(part.day, part.part).await
    }

    /// Begins a part anew, and says why; gives it back when the lease is to run out.
    ///
    /// # Errors
    /// [`Error::Conflict`] when another has taken the part over.
    pub async fn archive_again(&self, part: &Part, reason: &str, now: Timestamp) -> Result<Part> {
        let mut transaction = self.begin().await?;
        let done = sqlx::query!(
            "update archive_part set state = 'writing', error = $4, updated_at = $5
             where day = $1 and part = $2 and attempt = $3 and state in ('writing', 'written', 'verified', 'keyed')",
            part.day.date(),
            part.part,
            part.attempt,
            reason,
            time(now),
        )
        .execute(&mut *transaction)
        .await?;
        taken_over(part, done.rows_affected())?;
        sqlx::query!(
            "delete from archived_key where day = $1 and part = $2",
            part.day.date(),
            part.part
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.archive_part(part.day, part.part).await
    }

    /// Gives a part back, so that the next round goes on with it.
    pub async fn archive_release(&self, part: &Part, error: &str) -> Result<()> {
        sqlx::query!(
            "update archive_part set leased_until = null, error = $4 where day = $1 and part = $2 and attempt = $3",
            part.day.date(),
            part.part,
            part.attempt,
            error,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
