//! How well the alarms and pages of a period treat people: the figures of ANSI/ISA-18.2-2016, clause 16 (monitoring and
//! assessment), and EEMUA 191 for the alert list, and a budget of its own for what was told to each destination.
//!
//! ```text
//! incidents ──AlarmFigures::of──┐
//!                               ├──Report::marks──> each figure with its target and whether it keeps to it
//! pages told ──PageFigures::of──┘
//! ```
//!
//! An **alarm** is an opened incident. An **operator position** is a site. A **person** is a destination of pages: whoever
//! stands behind it is told of everything that it is sent.
//!
//! **Invariant:** a figure that says "within" was measured; where too little is known the mark is [`Standing::Unjudged`].

mod alarms;
mod marks;
mod pages;

use std::time::Duration;

use tocsin_domain::{MachineId, Severity, SiteId, Timestamp};

pub use alarms::{AlarmFigures, Day, Position, Stale};
pub use marks::{Mark, Standing};
pub use pages::{Budget, Destination, FalsePages, PageFigures, ToldPage, Truth};

/// From a time up to but without a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Its first moment.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

impl Period {
    /// How long it is; zero when it ends before it begins.
    pub fn length(self) -> Duration {
        self.to.since(self.from)
    }

    /// Whether a time lies in it.
    pub fn holds(self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }

    /// Whole and begun intervals of `length` in it.
    fn intervals(self, length: Duration) -> u64 {
        self.length().as_micros().div_ceil(length.as_micros().max(1)) as u64
    }

    /// In which of them a time of the period lies.
    fn interval(self, at: Timestamp, length: Duration) -> u64 {
        (at.since(self.from).as_micros() / length.as_micros().max(1)) as u64
    }
}

/// An incident that was active at some time of the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    /// The operator position it is shown at.
    pub site: SiteId,
    /// The machine.
    pub machine: MachineId,
    /// One machine step of its class.
    pub step: Duration,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When it cleared; none while it is active.
    pub closed_at: Option<Timestamp>,
    /// The worst it was.
    pub severity: Severity,
    /// From its first page, or its opening where none came before, to its first acknowledgement; none where there was none, or
    /// where its clock is not that of people (a replay).
    pub acknowledged_after: Option<Duration>,
}

/// Everything that a report says.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The alert list.
    pub alarms: AlarmFigures,
    /// What people were told.
    pub pages: PageFigures,
}
