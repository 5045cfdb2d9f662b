//! What is counted.

use opentelemetry::metrics::{Counter, Gauge};
use opentelemetry::{KeyValue, global};

use crate::circuit::Circuit;

/// Instruments of the pager role.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    attempts: Counter<u64>,
    circuit_open: Gauge<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("tocsin.pager");
        Self {
            attempts: meter
                .u64_counter("tocsin.pager.attempts")
                .with_description("attempts to deliver pages, by destination and outcome")
                .build(),
            circuit_open: meter
                .u64_gauge("tocsin.pager.circuit_open")
                .with_description("1 while a destination does not answer and its pages wait")
                .build(),
        }
    }

    pub(crate) fn attempt(&self, destination: &str, outcome: &'static str) {
        let of = [
            KeyValue::new("destination", destination.to_owned()),
            KeyValue::new("outcome", outcome),
        ];
        self.attempts.add(1, &of);
    }

    pub(crate) fn circuit(&self, destination: &str, circuit: &Circuit) {
        let of = [KeyValue::new("destination", destination.to_owned())];
        self.circuit_open.record(u64::from(circuit.is_open()), &of);
    }
}
