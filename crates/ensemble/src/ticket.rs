//! A batch's claim to an answer: its readings settle one by one, in whatever transactions they end up, and the last one
//! sends the answer.

use std::sync::{Arc, Mutex, PoisonError};

use tocsin_contracts::ensemble::ReadingOutcome;
use tokio::sync::oneshot;
use tracing::Span;

use crate::error::Failure;

/// The outcomes of a batch, or why there are none.
pub(crate) type Answer = Result<Vec<ReadingOutcome>, Failure>;

/// One batch's outstanding answer. Clones are the same ticket.
#[derive(Debug, Clone)]
pub(crate) struct Ticket(Arc<Batch>);

#[derive(Debug)]
struct Batch {
    state: Mutex<State>,
    /// What the batch came in by: what is done for it belongs to that trace.
    span: Span,
}

#[derive(Debug)]
struct State {
    outcomes: Vec<Option<ReadingOutcome>>,
    outstanding: usize,
    answer: Option<oneshot::Sender<Answer>>,
}

/// Where a reading's outcome belongs.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    ticket: Ticket,
    index: usize,
}

impl Ticket {
    /// A ticket for `readings` outcomes; an empty batch is answered at once.
    pub(crate) fn new(readings: usize, answer: oneshot::Sender<Answer>) -> Self {
        let state = State {
            outcomes: vec![None; readings],
            outstanding: readings,
            answer: Some(answer),
        };
        let ticket = Self(Arc::new(Batch {
            state: Mutex::new(state),
            span: Span::current(),
        }));
        ticket.answer_if_done();
        ticket
    }

    /// The span that was current when the ticket was made.
    pub(crate) fn span(&self) -> &Span {
        &self.0.span
    }

    /// The place of reading `index`.
    pub(crate) fn place(&self, index: usize) -> Place {
        Place {
            ticket: self.clone(),
            index,
        }
    }

    /// Fails the whole batch, unless it was answered already.
    pub(crate) fn fail(&self, failure: Failure) {
        if let Some(answer) = self.lock().answer.take() {
            // Nobody listens when the caller has gone; its readings are settled all the same.
            let _ = answer.send(Err(failure));
        }
    }

    fn answer_if_done(&self) {
        let mut state = self.lock();
        if state.outstanding == 0
            && let Some(answer) = state.answer.take()
        {
            let outcomes = std::mem::take(&mut state.outcomes);
            let outcomes = outcomes
                .into_iter()
                .map(|o| o.expect("every reading has settled"))
                .collect();
            let _ = answer.send(Ok(outcomes));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Settles the reading.
    pub(crate) fn settle(&self, outcome: ReadingOutcome) {
        {
            let mut state = self.ticket.lock();
            if state.answer.is_some() && state.outcomes[self.index].replace(outcome).is_none() {
                state.outstanding -= 1;
            }
        }
        self.ticket.answer_if_done();
    }

    /// Fails the whole batch the reading belongs to.
    pub(crate) fn fail_batch(&self, failure: Failure) {
        self.ticket.fail(failure);
    }

    /// Whether two readings belong to the same batch.
    pub(crate) fn same_batch(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.ticket.0, &other.ticket.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_answered_once_when_its_last_reading_settles() {
        let (sender, mut receiver) = oneshot::channel();
        let ticket = Ticket::new(2, sender);
        ticket.place(1).settle(ReadingOutcome::Duplicate);
        ticket.place(1).settle(ReadingOutcome::Conflict);
        assert!(receiver.try_recv().is_err());
        ticket.place(0).settle(ReadingOutcome::Conflict);
        let outcomes = receiver.try_recv().unwrap().unwrap();
        assert_eq!(outcomes[0], ReadingOutcome::Conflict);
        ticket.fail(Failure::Closing);
        ticket.place(0).settle(ReadingOutcome::Duplicate);
    }

    #[test]
    fn a_failed_batch_is_answered_with_its_failure() {
        let (sender, mut receiver) = oneshot::channel();
        let ticket = Ticket::new(2, sender);
        ticket.place(0).settle(ReadingOutcome::Duplicate);
        ticket.place(1).fail_batch(Failure::Closing);
        assert!(matches!(receiver.try_recv().unwrap(), Err(Failure::Closing)));
    }
}
