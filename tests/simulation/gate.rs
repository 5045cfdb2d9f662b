//! The gate that every statement of the replicas waits at: one is let through at a time, and what a transaction has done
//! is known when it has committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

/// In place of a replica: who is beside them. Its statements pass as soon as nobody else's is under way, and nothing
/// happens to them.
pub(crate) const BYSTANDER: usize = usize::MAX;

/// What becomes of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// It is run and answered.
    Through,
    /// Its connection is cut before it reaches the database.
    CutBefore,
    /// It is run, and its connection is cut before the answer is passed on.
    CutAfter,
}

/// What tells statements apart: which connection of its pool a replica takes for one is nobody's choice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Statement {
    pub(crate) replica: usize,
    pub(crate) text: String,
    pub(crate) parameters: Vec<u8>,
}

/// A statement at the gate.
#[derive(Debug)]
struct Waiting {
    connection: u64,
    statement: Statement,
    go: oneshot::Sender<Passage>,
}

/// A statement that the database has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnderWay {
    pub(crate) statement: Statement,
    /// The process that works on it, once that is known.
    pub(crate) process: Option<i32>,
}

/// What one transaction did, as far as the simulation wants to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Deeds {
    /// Machines whose rows it locked.
    pub(crate) locked: BTreeSet<i32>,
    /// The number its readings bear.
    pub(crate) commit_seq: Option<i64>,
    /// What it wrote to a journal, as it went over the line; empty when it wrote to none.
    pub(crate) journal: Vec<u8>,
}

impl Deeds {
    /// Whether an entry of its journal says this.
    pub(crate) fn says(&self, what: &str) -> bool {
        self.journal.windows(what.len()).any(|text| text == what.as_bytes())
    }
}

/// A transaction that is in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) replica: usize,
    pub(crate) deeds: Deeds,
}

/// Processes of the database that nobody is connected to any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Departed {
    /// Those that still wait for a lock: nothing may be freed before they are gone, or they would go on.
    pub(crate) at_work: Vec<i32>,
    pub(crate) idle: Vec<i32>,
}

#[derive(Debug, Default)]
struct Inner {
    connections: u64,
    waiting: Vec<Waiting>,
    /// Connections whose statement the database has.
    under_way: BTreeMap<u64, Statement>,
    processes: BTreeMap<u64, i32>,
    /// Processes of the database whose connections are gone: those that were still at a statement, and the others.
    departed: Departed,
    commits: Vec<Commit>,
    moved: u64,
    /// Statements that were answered, or whose connection has gone.
    answers: u64,
    /// Nobody watches yet: all passes.
    is_open: bool,
}

/// The gate. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    inner: Arc<Mutex<Inner>>,
    answered: Arc<Notify>,
}

impl Gate {
    fn peek(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.peek();
        inner.moved += 1;
        inner
    }

    /// Goes up with everything that happens here; others may count their own doings.
    pub(crate) fn moved(&self) -> u64 {
        self.peek().moved
    }

    /// How often the database has answered, or can't any more.
    pub(crate) fn answers(&self) -> u64 {
        self.peek().answers
    }

    /// Something happened elsewhere.
    pub(crate) fn stir(&self) {
        drop(self.inner());
    }

    /// Lets everything through from now on, or not any more.
    pub(crate) fn stand_open(&self, is_open: bool) {
        self.inner().is_open = is_open;
    }

    /// A connection begins: its number.
    pub(crate) fn open(&self) -> u64 {
        let mut inner = self.inner();
        inner.connections += 1;
        inner.connections
    }

    /// The process of the database that serves a connection.
    pub(crate) fn served_by(&self, connection: u64, process: i32) {
        self.inner().processes.insert(connection, process);
    }

    /// Waits until a statement may pass, or what has no text: a greeting, a ping, a statement that is only prepared.
    pub(crate) async fn pass(&self, connection: u64, replica: usize, text: &str, parameters: &[u8]) -> Passage {
        let (go, may) = oneshot::channel();
        let waiting = Waiting {
            connection,
            statement: Statement {
                replica,
                text: if replica == BYSTANDER {
                    String::new()
                } else {
                    text.to_owned()
                },
                parameters: parameters.to_vec(),
            },
            go,
        };
        self.inner().waiting.push(waiting);
        if self.peek().is_open {
            self.let_go(connection, Passage::Through);
        }
        may.await.unwrap_or(Passage::CutBefore)
    }

    /// The database has answered.
    pub(crate) fn answered(&self, connection: u64) {
        let mut inner = self.inner();
        inner.under_way.remove(&connection);
        inner.answers += 1;
        drop(inner);
        self.answered.notify_one();
    }

    /// A transaction is in the database.
    pub(crate) fn committed(&self, replica: usize, deeds: Deeds) {
        self.inner().commits.push(Commit { replica, deeds });
    }

    /// A connection is gone.
    pub(crate) fn close(&self, connection: u64) {
        let mut inner = self.inner();
        inner.answers += 1;
        let is_at_work = inner.under_way.remove(&connection).is_some();
        inner.waiting.retain(|waiting| waiting.connection != connection);
        if let Some(process) = inner.processes.remove(&connection) {
            let departed = &mut inner.departed;
            let of_its_kind = if is_at_work {
                &mut departed.at_work
            } else {
                &mut departed.idle
            };
            of_its_kind.push(process);
        }
        drop(inner);
        self.answered.notify_one();
    }

    /// Lets the first of those without a text go, that change nothing and that nothing depends on; whether there was one.
    pub(crate) fn let_idle_go(&self) -> bool {
        let idle = |waiting: &&Waiting| waiting.statement.text.is_empty();
        let first = self.peek().waiting.iter().find(idle).map(|waiting| waiting.connection);
        if let Some(connection) = first {
            self.let_go(connection, Passage::Through);
        }
        first.is_some()
    }

    /// What waits, in an order that depends on nothing but what it says and, where that is the same, when it came.
    pub(crate) fn waiting(&self) -> Vec<(u64, Statement)> {
        let inner = self.peek();
        let of_replicas = inner
            .waiting
            .iter()
            .filter(|waiting| waiting.statement.replica != BYSTANDER);
        let mut all: Vec<&Waiting> = of_replicas.collect();
        all.sort_by(|one, other| one.statement.cmp(&other.statement));
        all.iter()
            .map(|waiting| (waiting.connection, waiting.statement.clone()))
            .collect()
    }

    /// Lets a statement of this connection go.
    pub(crate) fn let_go(&self, connection: u64, passage: Passage) {
        let mut inner = self.inner();
        let Some(place) = inner
            .waiting
            .iter()
            .position(|waiting| waiting.connection == connection)
        else {
            return;
        };
        let waiting = inner.waiting.remove(place);
        if passage != Passage::CutBefore {
            inner.under_way.insert(connection, waiting.statement);
        }
        let _ = waiting.go.send(passage);
    }

    /// What the database has, by connection.
    pub(crate) fn under_way(&self) -> BTreeMap<u64, UnderWay> {
        let inner = self.peek();
        let with_process = |(connection, statement): (&u64, &Statement)| {
            let under_way = UnderWay {
                statement: statement.clone(),
                process: inner.processes.get(connection).copied(),
            };
            (*connection, under_way)
        };
        inner.under_way.iter().map(with_process).collect()
    }

    /// The database's processes that serve somebody.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let inner = self.peek();
        inner.processes.values().copied().collect()
    }

    /// Returns when the database has answered something.
    pub(crate) async fn answer(&self) {
        self.answered.notified().await;
    }

    /// Processes whose connections have gone since this was last asked.
    pub(crate) fn departed(&self) -> Departed {
        std::mem::take(&mut self.peek().departed)
    }

    /// What was committed since this was last asked.
    pub(crate) fn commits(&self) -> Vec<Commit> {
        std::mem::take(&mut self.peek().commits)
    }
}
