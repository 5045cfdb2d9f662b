//! The recalibrator: threshold sets (on screen: alarm limits) are computed here from healthy scores, tried over the
//! scores there are, approved by a person, activated and rolled back.
//!
//! ```text
//! propose ──> proposed ──test──> tested ──approve──> approved ──activate──> active ──> retired
//!                                                                             └──rollback──┘
//! ```
//!
//! The lines are the guide's percentiles, read off ([`ThresholdSet::from_order_statistics`]) or fitted
//! ([`ThresholdSet::from_healthy_percentiles`]), from the scores a bundle brings
//! along or from those logged in a period, without machines that had an incident in it. A test replays the set over the
//! same scores by the code that judges live ([`tocsin_judge::replay`]) and puts on record what it would have opened.
//!
//! Lines against each sensor's own baseline are multiples of what the fleet reached ([`tocsin_judge::fleet_replay`]), chosen
//! by a factor or by how many pages people are willing to take ([`tocsin_judge::budget`]). The baselines come from here
//! too: in the background, sensors that have been seen enough are commissioned, and once a day each baseline follows its
//! sensor as far as it may without a person ([`tocsin_detect::drift`]).
//!
//! A class that its model no longer fits is fitted anew: training jobs are queued here, by a person or by what drift says,
//! and what comes of them is compared with the champion ([`Training`]).
//!
//! Before anybody agrees to limits they can be tried over what was stored, beside those in force ([`Service`]'s `WhatIf`);
//! so can another bundle, and other baselines, over the spectra that are kept. Whoever sees a sensor can ask why it is
//! judged as it is (`Explain`).
//!
//! On a schedule a set is proposed for every class that has one in force, tested, and activated where the policy allows it
//! ([`Policy`]); otherwise it waits for a person and says why. One whose test fails ends as rejected.
//!
//! **Invariant:** the numbers of a set never change. Its provenance says where they came from, and grows by what was
//! done with it.
//!
//! [`ThresholdSet::from_order_statistics`]: tocsin_judge::ThresholdSet::from_order_statistics
//! [`ThresholdSet::from_healthy_percentiles`]: tocsin_judge::ThresholdSet::from_healthy_percentiles

mod commission;
mod config;
mod drift;
mod error;
mod explain;
mod fleet_limits;
mod follow;
mod labelled;
mod lending;
mod policy;
mod progress;
mod propose;
mod provenance;
mod reached;
mod replay;
mod rescore;
mod scores;
mod service;
mod steps;
mod stored_set;
mod training;
mod trial;
mod what_if;
mod wire;
mod zone_check;

pub use config::Config;
pub use error::Error;
pub use fleet_limits::ExpectedPages;
pub use lending::{Borrowed, Lender};
pub use policy::{MemberMove, Policy, PolicyDecision, ReplayedPages, SensorMove, SensorMoves};
pub use provenance::{Approval, DetectorSource, MethodKind, Provenance, Rejection, Source};
pub use service::{Parts, Recalibrator, Service, build};
pub use training::{RetrainRule, Training, training};
pub use trial::Trial;
