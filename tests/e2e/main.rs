//! Stories: the real platform on a real Postgres, one module each.

mod access;
mod alertmanager;
mod bad_input;
mod commissioning;
mod degraded;
mod demo;
mod femto;
mod femto_units;
mod incident;
mod kill;
mod limits;
mod limits_story;
mod methods;
mod onnx;
mod otlp;
mod publish;
mod race;
mod retraining;
mod roles;
mod s3;
mod second_fault;
mod startup;
mod thresholds;
mod units;
mod wall_clock;
mod zones;
