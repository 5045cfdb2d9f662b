//! The stage that the stories in `e2e/` play on: the real platform in this process on a real Postgres, an HTTP receiver
//! that counts pages, a small simulated plant, a fleet at work in it, the built binary for stories that kill processes, alone or as a deployment of
//! several, a collector of traces, an identity provider, a browser, programs of others, and what is heard of a heartbeat.

pub mod binary;
pub mod browser;
pub mod collector;
pub mod data;
pub mod deployment;
pub mod fleet;
pub mod outside;
pub mod plant;
pub mod postgres;
pub mod provider;
pub mod receiver;
pub mod stage;
pub mod tools;

pub use browser::Browser;
pub use collector::Collector;
pub use deployment::Deployment;
pub use fleet::Fleet;
pub use plant::Plant;
pub use postgres::Postgres;
pub use receiver::Receiver;
pub use stage::Stage;
