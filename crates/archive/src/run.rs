//! Rounds: what is due is archived, what is to go by policy goes.

use tocsin_store::archive::{Part, PartState};
use tokio_util::sync::CancellationToken;

use crate::{Archiver, Error};

/// What a round did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// Parts that were archived.
    pub archived: Vec<Part>,
    /// Parts that were given back, each with the reason.
    pub put_off: Vec<Part>,
    /// Parts whose files were deleted by policy.
    pub expired: Vec<Part>,
}

impl Archiver {
    /// Archives every day that is due, and lets go what is kept no longer.
    ///
    /// # Errors
    /// If the database or the object storage fails; what was done stays done.
    pub async fn round(&self) -> Result<Round, Error> {
        let mut round = Round::default();
        while let Some(part) = self.take().await? {
            let part = match self.finish(part.clone()).await {
                Ok(part) => part,
                Err(error) => {
                    self.store.archive_release(&part, &error.to_string()).await?;
                    return Err(error);
                }
            };
            if part.state == PartState::Archived {
                round.archived.push(part);
            } else {
                self.store.archive_release(&part, &part.error).await?;
                round.put_off.push(part);
                break;
            }
        }
        round.expired = self.expire().await?;
        Ok(round)
    }

    /// Goes on with a part until it is archived, or has to be begun anew: that is for another round.
    async fn finish(&self, mut part: Part) -> Result<Part, Error> {
        while let Some(next) = self.advance(&part).await? {
            if next.state <= part.state {
                return Ok(next);
            }
            part = next;
        }
        Ok(part)
    }

    /// Deletes the files of days that are kept no longer.
    async fn expire(&self) -> Result<Vec<Part>, Error> {
        let Some(keep) = self.config.keep() else {
            return Ok(Vec::new());
        };
        let now = self.clock.now();
        let parts = self.store.archive_expiring(now - keep).await?;
        for part in &parts {
            for file in self.store.archive_files(part).await? {
                self.delete(&self.objects.path(&file.path)).await?;
            }
            self.store.archive_expired(part, &self.actor, now).await?;
            tracing::info!(day = %part.day, part = part.part, "an archived day has expired");
        }
        Ok(parts)
    }
}

/// Rounds, one after the other.
#[derive(Debug)]
pub struct Background(Archiver);

impl Background {
    /// None when the archive is not to run by itself.
    pub fn new(archiver: Archiver) -> Option<Self> {
        archiver.config.enabled.then_some(Self(archiver))
    }

    /// Runs until `shutdown`; a step under way is not waited for.
    pub async fn run(self, shutdown: CancellationToken) {
        let rounds = async {
            loop {
                if let Err(error) = self.0.round().await {
                    tracing::warn!(%error, "the archive can't go on for now");
                }
                tokio::time::sleep(self.0.config.round()).await;
            }
        };
        shutdown.run_until_cancelled(rounds).await;
    }
}
