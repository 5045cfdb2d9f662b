//! Fleets of simulated machining spindles: what their sensors would measure, healthy and failing.
//!
//! A [`Fleet`] is a set of CNC machines that each run a part program over and over. The amplitude spectrum of a sensor
//! is put together in the frequency domain from its sources: shaft harmonics, the cutter's tooth-pass lines, broadband
//! noise shaped by the structure's resonances. Every machine has its own speeds, strengths and transfer path; load,
//! time of day and season move them a little; averaging noise and a sensor floor come last. A [`Schedule`] of
//! [`Fault`]s adds what a damaged bearing, a loose foot or a dry spindle would.
//!
//! The [`harbor`] is the other fleet: hundreds of pumps, fans and hoists under the same physics, streamed a machine at a
//! time for benchmarks and drift experiments. What a sensor hears is worked out in one place for both (`scene`).
//!
//! **Invariant:** [`Fleet::reading`] is a pure function of fleet, schedule, sensor and time. Readings may be made in any
//! order, by any number of threads, and again after a restart, and are the same bits on one host.

mod channel;
mod construction;
mod draws;
mod fault;
mod fleet;
pub mod harbor;
mod lines;
mod program;
mod scatter;
mod scene;
mod schedule;
mod spectrum;
mod training;

pub use fault::{Fault, FaultKind};
pub use fleet::{Fleet, FleetConfig, Machine, Sensor};
pub use program::OperatingPoint;
pub use schedule::Schedule;
pub use spectrum::SimulatedReading;
pub use training::{Split, TrainingRow, training_rows};

#[cfg(test)]
mod detection_tests;
