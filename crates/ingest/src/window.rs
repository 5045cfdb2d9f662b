//! The machines of one stream that have a batch in flight: one each.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tocsin_domain::Slug;
use tokio::sync::Notify;

/// Which machines are busy. For one stream, whose driver is the only one to claim.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    busy: Mutex<HashSet<Slug>>,
    freed: Notify,
}

/// Machines that are this batch's until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    window: Window,
    machines: HashSet<Slug>,
}

impl Window {
    /// Claims all of `machines`, after every batch that holds one of them is done. Nothing is claimed before all are free,
    /// so dropping the future is free.
    pub(crate) async fn claim(&self, machines: &HashSet<Slug>) -> Claim {
        loop {
            // A release between the look and the wait leaves its mark in the notify.
            if let Some(claim) = self.try_claim(machines) {
                return claim;
            }
            self.0.freed.notified().await;
        }
    }

    fn try_claim(&self, machines: &HashSet<Slug>) -> Option<Claim> {
        let mut busy = self.busy();
        if !busy.is_disjoint(machines) {
            return None;
        }
        busy.extend(machines.iter().cloned());
        Some(Claim {
            window: self.clone(),
            machines: machines.clone(),
        })
    }

    fn busy(&self) -> MutexGuard<'_, HashSet<Slug>> {
        self.0.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.window.busy().retain(|machine| !self.machines.contains(machine));
        self.window.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn machines(names: &[&str]) -> HashSet<Slug> {
        names
            .iter()
            .map(|name| Slug::parse("machine", name).expect("a name"))
            .collect()
    }

    #[test]
    fn a_machine_is_claimed_once_and_others_do_not_wait_for_it() {
        let window = Window::default();
        let first = window.try_claim(&machines(&["a", "b"])).expect("all free");
        assert!(window.try_claim(&machines(&["b", "c"])).is_none());
        let other = window
            .try_claim(&machines(&["c"]))
            .expect("the refused claim took nothing");
        drop(first);
        assert!(window.try_claim(&machines(&["a", "b"])).is_some());
        assert!(window.try_claim(&machines(&["c"])).is_none());
        drop(other);
    }

    #[test]
    fn who_waits_gets_the_machine_when_it_is_free() {
        let window = Window::default();
        let first = window.try_claim(&machines(&["a"])).expect("free");
        let wanted = machines(&["a"]);
        let mut waiting = Box::pin(window.claim(&wanted));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        drop(first);
        assert!(matches!(waiting.as_mut().poll(&mut context), Poll::Ready(_)));
    }
}
