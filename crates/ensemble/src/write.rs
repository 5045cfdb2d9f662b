//! Two ways to write readings: all at once, supposing that none is there yet, and carefully, telling resends from
//! conflicts. The quick way is tried first, but not while resends come in: after one the careful way is taken until a
//! group has none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tocsin_store::reading::{InsertOutcome, NewReading, readings_copy, readings_insert};
use tocsin_store::{Error, Result, Transaction};

/// How a transaction writes its readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Supposing that all are new; fails if one is not.
    AllNew,
    /// Looking for each.
    Careful,
}

impl Way {
    /// Writes readings; their outcomes, in order.
    pub(crate) async fn write(self, tx: &mut Transaction, rows: &[&NewReading]) -> Result<Vec<InsertOutcome>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        match self {
            Self::AllNew => {
                readings_copy(tx, rows).await?;
                Ok(vec![InsertOutcome::Stored; rows.len()])
            }
            Self::Careful => readings_insert(tx, rows).await,
        }
    }
}

/// Chooses the way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writer {
    resends: Arc<AtomicBool>,
}

impl Writer {
    /// The way that most likely works.
    pub(crate) fn likely(&self) -> Way {
        if self.resends.load(Ordering::Relaxed) {
            Way::Careful
        } else {
            Way::AllNew
        }
    }

    /// Whether a transaction that failed is worth another try the careful way.
    pub(crate) fn is_resend(&self, way: Way, error: &Error) -> bool {
        let resend = way == Way::AllNew && matches!(error, Error::AlreadyExists { .. });
        if resend {
            self.resends.store(true, Ordering::Relaxed);
        }
        resend
    }

    /// Takes note of what a careful transaction found.
    pub(crate) fn note(&self, way: Way, outcomes: &[InsertOutcome]) {
        if way == Way::Careful && outcomes.iter().all(|outcome| *outcome == InsertOutcome::Stored) {
            self.resends.store(false, Ordering::Relaxed);
        }
    }
}
