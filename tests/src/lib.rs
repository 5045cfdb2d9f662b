//! The stage that the stories in `e2e/` play on: the real platform in this process on a real Postgres, an HTTP receiver
//! that counts pages, a small simulated plant, and the built binary for stories that kill processes.

pub mod binary;
pub mod data;
pub mod plant;
pub mod postgres;
pub mod receiver;
pub mod stage;

pub use plant::Plant;
pub use postgres::Postgres;
pub use receiver::Receiver;
pub use stage::Stage;
