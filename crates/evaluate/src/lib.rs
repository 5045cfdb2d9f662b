//! How well do the detectors and the ensemble part failing machines from healthy ones?
//!
//! A corpus says by its `split` column which readings train, which set the lines (`cal`), and which test
//! (`test_healthy` against `end`, and against `incipient`). Everything is scored through the canonical codec and the
//! bundle that would be served, and the ensemble decides by the same code as the services. Training is a closure that
//! the caller wires in, so that nothing here knows how a network is fitted.
//!
//! **Invariant:** no test reading is seen by training or by the lines.

mod following;
mod inject;
mod life;
mod measure;
mod parts;
mod report;
mod rules;
mod run_to_failure;
mod scorer;
mod textbook;
mod trial;
mod variation;

pub use following::{Recalibration, Round, Schedule, Story, judge_following};
pub use inject::{InjectReport, Injection, SlowFailures, inject, inject_slowly};
pub use life::{MachineLife, SensorLife};
pub use measure::{EvaluateError, detectors, measure, score};
pub use parts::{Part, Parts};
pub use report::{Figures, Lines, Report, Row, Run, summarise, summarise_machines};
pub use rules::Rules;
pub use run_to_failure::ablation::{ABLATIONS, Ablated, ablation};
pub use run_to_failure::class_size::{ClassSize, Draw, Draws, class_sizes};
pub use run_to_failure::{Method, Outcome, RunToFailure, Setting, Summary, run_to_failure};
pub use scorer::Scorer;
pub use textbook::{Stretch, Train, TrainingError};
pub use trial::{Asset, Course, Deciding, Incident, Trial, TrialError};
pub use variation::{Against, Lines as LineSource, Variation};
