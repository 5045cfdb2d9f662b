//! From scores to a page: level, verdict, machine step, incident. Pure, so that the ensemble, `evaluate`, the
//! recalibrator and the review all decide by the same code.
//!
//! ```text
//! scores ──ThresholdSet::judge──> levels, verdict          one reading
//!            └──steps──> level per machine step            several sensors, one interval
//!                 └──MachineFold::arrive──> transition     k of the last n steps
//! ```
//!
//! **Invariant:** a verdict is a function of the scores, the threshold set and the condition alone, and a transition of
//! the readings that had arrived by then; how readings were cut into batches changes neither.

pub mod budget;
pub mod compare;
pub mod course;
pub mod expected;
pub mod explanation;
pub mod fleet_replay;
pub mod flood;
pub mod fold;
pub mod journal;
pub mod judgement;
mod kth_of_n;
pub mod labelled_lines;
pub mod machine_replay;
pub mod order_statistics;
pub mod page;
pub mod performance;
pub mod persistence;
mod quiet_lines;
pub mod re_alarm;
pub mod replay;
pub mod signal;
pub mod silence;
pub mod step;
pub mod threshold_set;
pub mod vigil;

pub use budget::PageBudget;
pub use expected::{Expected, Tally};
pub use fleet_replay::FleetReplay;
pub use fold::{Arrival, MachineFold, Transition};
pub use judgement::{Judgement, MemberLevel};
pub use kth_of_n::LargestKthOfN;
pub use labelled_lines::{LabelledLines, OperatingPoint};
pub use machine_replay::MachineReplay;
pub use order_statistics::LinePercentiles;
pub use page::{PagePayload, PageReason, TopBin};
pub use persistence::Persistence;
pub use re_alarm::ReAlarm;
pub use signal::Heard;
pub use silence::WatchedSensor;
pub use step::{JudgedReading, Step};
pub use threshold_set::{Member, Role, ThresholdSet};
pub use vigil::Vigil;
