//! What is counted.

use opentelemetry::metrics::{Counter, Gauge};
use opentelemetry::{KeyValue, global};
use tocsin_domain::{OpenSensorAlarm, SensorAlarmKind};

use crate::circuit::Circuit;

/// Instruments of the pager role.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    attempts: Counter<u64>,
    circuit_open: Gauge<u64>,
    sensor_alarms: Gauge<u64>,
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
            sensor_alarms: meter
                .u64_gauge("tocsin.pager.sensor_alarms")
                .with_description("active alarms about instruments, by kind")
                .build(),
        }
    }

    /// Takes note of the alarms about instruments that are active.
    pub(crate) fn sensor_alarms(&self, open: &[OpenSensorAlarm]) {
        for kind in SensorAlarmKind::ALL {
            let active = open.iter().filter(|alarm| alarm.returned_at.is_none());
            let of_kind = active.filter(|alarm| alarm.subject.kind() == kind).count() as u64;
            self.sensor_alarms
                .record(of_kind, &[KeyValue::new("kind", kind.as_str())]);
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
