//! Stories: the real platform on a real Postgres, one module each.

mod access;
mod bad_input;
mod degraded;
mod demo;
mod femto;
mod incident;
mod kill;
mod publish;
mod race;
