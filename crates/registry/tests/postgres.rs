//! The services against a real Postgres, called over the wire in process: set `TOCSIN_TEST_DATABASE_URL` to a server on
//! which databases may be created.

#[path = "postgres/stage.rs"]
mod stage;

#[path = "postgres/access.rs"]
mod access;
#[path = "postgres/bundles.rs"]
mod bundles;
#[path = "postgres/fleet.rs"]
mod fleet;
#[path = "postgres/lineup.rs"]
mod lineup;
