//! Where load is shed: readings in flight in the process, bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts readings between their arrival and their answer. Clones share the count.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    in_flight: Arc<AtomicUsize>,
    most: usize,
}

/// The place of some readings; given back when dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    door: Door,
    readings: usize,
}

impl Door {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            in_flight: Arc::default(),
            most,
        }
    }

    /// A pass for `readings`, unless too many are inside. The first comer is let in whatever it brings.
    pub(crate) fn enter(&self, readings: usize) -> Option<Pass> {
        let entered = self
            .in_flight
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |inside| {
                (inside == 0 || inside + readings <= self.most).then_some(inside + readings)
            });
        entered.ok().map(|_| Pass {
            door: self.clone(),
            readings,
        })
    }

    /// Readings inside now.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.door.in_flight.fetch_sub(self.readings, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_closes_at_its_bound_and_opens_when_somebody_leaves() {
        let door = Door::new(100);
        let first = door.enter(60).expect("room");
        let second = door.enter(40).expect("room to the brim");
        assert!(door.enter(1).is_none());
        drop(first);
        assert_eq!(door.in_flight(), 40);
        assert!(door.enter(60).is_some());
        drop(second);
        assert_eq!(door.in_flight(), 0);
    }

    #[test]
    fn a_batch_larger_than_the_bound_enters_alone() {
        let door = Door::new(10);
        let large = door.enter(50).expect("nobody else is inside");
        assert!(door.enter(1).is_none());
        drop(large);
        assert!(door.enter(1).is_some());
    }
}
