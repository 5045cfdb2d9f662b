//! The lines of one stream's machines: a machine has one batch at work, and its others wait behind it in the order they
//! came. A batch of several machines stands in all their lines, and its turn comes when it is first in each.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};

use tocsin_domain::Slug;

/// Who is at work, and who waits. For one stream, by its driver.
#[derive(Debug)]
pub(crate) struct Window<T> {
    /// The numbers of each machine's batches, the one whose turn it is or will be next in front.
    lines: HashMap<Slug, VecDeque<u64>>,
    waiting: HashMap<u64, Waiting<T>>,
    joined: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    /// Lines it isn't first in.
    behind: usize,
    machines: HashSet<Slug>,
    batch: T,
}

/// The machines of a batch at work. They are given back by [`Window::leave`].
#[derive(Debug)]
pub(crate) struct Turn(HashSet<Slug>);

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self {
            lines: HashMap::new(),
            waiting: HashMap::new(),
            joined: 0,
        }
    }
}

impl<T> Window<T> {
    /// Lines a batch up; gives it back when it is its turn at once.
    pub(crate) fn join(&mut self, machines: HashSet<Slug>, batch: T) -> Option<(Turn, T)> {
        self.joined += 1;
        let mut behind = 0;
        for machine in &machines {
            let line = self.lines.entry(machine.clone()).or_default();
            behind += usize::from(!line.is_empty());
            line.push_back(self.joined);
        }
        if behind == 0 {
            return Some((Turn(machines), batch));
        }
        let waiting = Waiting {
            behind,
            machines,
            batch,
        };
        self.waiting.insert(self.joined, waiting);
        None
    }

    /// Takes a batch that is done out of its lines; gives those whose turn it is now, in the order they came.
    pub(crate) fn leave(&mut self, turn: Turn) -> Vec<(Turn, T)> {
        let mut next: Vec<(u64, Waiting<T>)> = Vec::new();
        for machine in turn.0 {
            let Entry::Occupied(mut line) = self.lines.entry(machine) else {
                continue;
            };
            line.get_mut().pop_front();
            let Some(first) = line.get().front().copied() else {
                line.remove();
                continue;
            };
            if let Entry::Occupied(mut waiting) = self.waiting.entry(first) {
                waiting.get_mut().behind -= 1;
                if waiting.get().behind == 0 {
                    next.push(waiting.remove_entry());
                }
            }
        }
        next.sort_by_key(|(number, _)| *number);
        let turn = |(_, waiting): (u64, Waiting<T>)| (Turn(waiting.machines), waiting.batch);
        next.into_iter().map(turn).collect()
    }

    /// Batches that wait. They do so for one at work.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machines(names: &[&str]) -> HashSet<Slug> {
        names
            .iter()
            .map(|name| Slug::parse("machine", name).expect("a name"))
            .collect()
    }

    fn batches(turns: &[(Turn, u32)]) -> Vec<u32> {
        turns.iter().map(|(_, batch)| *batch).collect()
    }

    #[test]
    fn a_machines_batches_keep_their_order_and_others_do_not_wait_for_it() {
        let mut window = Window::default();
        let (first, _) = window.join(machines(&["a"]), 1).expect("nobody is before it");
        assert!(window.join(machines(&["a"]), 2).is_none());
        assert!(window.join(machines(&["a"]), 3).is_none());
        assert!(window.join(machines(&["b"]), 4).is_some());
        assert_eq!(window.waiting(), 2);
        let mut turns = window.leave(first);
        assert_eq!(batches(&turns), [2]);
        let turns = window.leave(turns.remove(0).0);
        assert_eq!((batches(&turns), window.waiting()), (vec![3], 0));
    }

    #[test]
    fn a_batch_of_several_machines_waits_for_all_and_is_not_overtaken() {
        let mut window = Window::default();
        let (a, _) = window.join(machines(&["a"]), 1).expect("free");
        let (b, _) = window.join(machines(&["b"]), 2).expect("free");
        assert!(window.join(machines(&["a", "b", "c"]), 3).is_none());
        assert!(window.join(machines(&["c"]), 4).is_none(), "its machine is spoken for");
        assert!(window.join(machines(&["a"]), 5).is_none());
        assert!(window.leave(a).is_empty());
        let mut both = window.leave(b);
        assert_eq!(batches(&both), [3]);
        assert_eq!(batches(&window.leave(both.remove(0).0)), [4, 5]);
    }

    #[test]
    fn nothing_is_kept_of_machines_without_batches() {
        let mut window = Window::default();
        let (turn, _) = window.join(machines(&["a", "b"]), 1).expect("free");
        window.leave(turn);
        assert!(window.lines.is_empty());
    }
}
