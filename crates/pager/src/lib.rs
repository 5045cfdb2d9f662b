//! The pager: takes pages from the outbox to their receivers, and serves incidents to people.
//!
//! ```text
//! ensemble ──commit──> outbox ──fan out──> delivery ──lease──> attempt ──> webhook, Alertmanager,
//!                                             │                          PagerDuty, Slack, mail
//!                                             └── waiting, delivered, dead; every attempt on record
//! ```
//!
//! A page is owed to each destination by a row of its own. A worker per destination leases what is due, sends it and
//! records the answer; a receiver that is slow or gone holds up nobody else. Most are told of edges: once per page and
//! action. Alertmanager is told of levels: it forgets what it does not hear of, so open incidents are posted
//! again and again, from the database, whoever of the two was restarted.
//!
//! **Invariant:** every page reaches its receiver at least once under one stable key, or is dead and says why. It is
//! repeated only after a refusal or an attempt whose outcome is unknown, and the history shows which.
//!
//! **Invariant:** what opened an incident is never dead while the incident is open, and owed however old it is.
//!
//! **Invariant:** an attempt is on record, as unknown, before anything is sent. A process that dies in between leaves
//! the truth behind.
//!
//! Beside that, alarms about the instruments: one pager at a time watches for sensors and gateways that are silent, and for
//! sensors that are stuck. These have a list of their own, and nobody is paged about them.
//!
//! **Invariant:** a receiver hears an incident's pages in the order they were decided; but for a mailbox that a relay put off,
//! while it took the mail for others.

mod acknowledge;
mod attempt;
mod circuit;
mod config;
mod day_shift;
mod deliveries;
pub mod destination;
mod error;
mod fan_out;
mod filters;
mod flood;
mod hook;
mod labels;
mod link;
mod message;
mod metrics;
mod pager;
mod people;
mod picture;
mod routing;
mod secret;
mod sensor_alarms;
mod service;
mod silence;
mod suppression;
mod taking;
mod target;
pub mod watchdog;
mod wire;
mod work_order;
mod worker;

pub use config::Config;
pub use day_shift::DayShift;
pub use destination::Destination;
pub use error::{BuildError, Error};
pub use pager::{Pager, Parts, build};
pub use sensor_alarms::SensorAlarms;
pub use service::Service;
pub use work_order::WorkOrders;
