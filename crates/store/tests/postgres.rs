//! The store against a real Postgres: set `TOCSIN_TEST_DATABASE_URL` to a server on which databases may be created.

#[path = "postgres/stage.rs"]
mod stage;

#[path = "postgres/access.rs"]
mod access;
#[path = "postgres/archive.rs"]
mod archive;
#[path = "postgres/baselines.rs"]
mod baselines;
#[path = "postgres/fleet.rs"]
mod fleet;
#[path = "postgres/following.rs"]
mod following;
#[path = "postgres/incidents.rs"]
mod incidents;
#[path = "postgres/instruments.rs"]
mod instruments;
#[path = "postgres/labels.rs"]
mod labels;
#[path = "postgres/models.rs"]
mod models;
#[path = "postgres/performance.rs"]
mod performance;
#[path = "postgres/readings.rs"]
mod readings;
#[path = "postgres/retraining.rs"]
mod retraining;
#[path = "postgres/second_approval.rs"]
mod second_approval;
#[path = "postgres/zones.rs"]
mod zones;
