//! Rows that wait to be scored: bounded, one lane per bundle, lanes take turns.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tocsin_contracts::scorer::ScoreBatch;
use tocsin_models::Scored;
use tokio::sync::oneshot;

use crate::catalogue::Loaded;
use crate::worker::Failed;

/// Rows of a piece at most. A multiple of the 32 rows the engine computes at a time.
pub(crate) const PIECE_ROWS: usize = 128;

/// Some rows of one request.
#[derive(Debug)]
pub(crate) struct Piece {
    /// What to score them with.
    pub(crate) loaded: Arc<Loaded>,
    /// The whole request.
    pub(crate) batch: Arc<ScoreBatch>,
    /// The rows of it.
    pub(crate) rows: Range<usize>,
    /// Where the scores go.
    pub(crate) answer: oneshot::Sender<Result<Scored, Failed>>,
}

impl Piece {
    /// Those of the request's bin-error rows that are this piece's, counted from its first row, in the order asked.
    pub(crate) fn bin_error_rows(&self) -> impl Iterator<Item = usize> {
        let asked = self.batch.bin_error_rows.iter();
        asked
            .filter(|row| self.rows.contains(row))
            .map(|row| row - self.rows.start)
    }
}

/// Too many rows wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} rows are waiting to be scored")]
pub(crate) struct Full {
    /// How many.
    pub(crate) waiting: usize,
}

/// The rows that wait.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    most_rows: usize,
}

#[derive(Debug, Default)]
struct State {
    lanes: VecDeque<Lane>,
    rows: usize,
    closed: bool,
}

/// Pieces for one network; never empty while it is in the queue.
#[derive(Debug)]
struct Lane {
    loaded: Arc<Loaded>,
    pieces: VecDeque<Piece>,
}

impl Queue {
    pub(crate) fn new(most_rows: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            most_rows,
        }
    }

    /// Adds the pieces of one request, all or none. A request larger than the bound is taken when nothing else waits.
    pub(crate) fn push(&self, pieces: Vec<Piece>) -> Result<(), Full> {
        let rows: usize = pieces.iter().map(|piece| piece.rows.len()).sum();
        let mut state = self.lock();
        if state.rows > 0 && state.rows + rows > self.most_rows {
            return Err(Full { waiting: state.rows });
        }
        state.rows += rows;
        for piece in pieces {
            let lane = state
                .lanes
                .iter()
                .position(|lane| Arc::ptr_eq(&lane.loaded, &piece.loaded));
            if let Some(lane) = lane {
                state.lanes[lane].pieces.push_back(piece);
            } else {
                let loaded = Arc::clone(&piece.loaded);
                let pieces = VecDeque::from([piece]);
                state.lanes.push_back(Lane { loaded, pieces });
            }
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for work, and takes what waits in the first lane, up to `most_rows` (or one piece, if that is more).
    /// `None` when the queue is closed and empty.
    pub(crate) fn take(&self, most_rows: usize) -> Option<Vec<Piece>> {
        let mut state = self.lock();
        let mut lane = loop {
            if let Some(lane) = state.lanes.pop_front() {
                break lane;
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let (mut taken, mut rows) = (Vec::new(), 0);
        while let Some(piece) = lane.pieces.pop_front() {
            if rows > 0 && rows + piece.rows.len() > most_rows {
                lane.pieces.push_front(piece);
                break;
            }
            rows += piece.rows.len();
            taken.push(piece);
        }
        state.rows -= rows;
        if !lane.pieces.is_empty() {
            state.lanes.push_back(lane);
        }
        Some(taken)
    }

    /// No more will come; those who take end when nothing is left.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Rows waiting now.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().rows
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while it is locked, but arithmetic; the state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
