//! What ingest measures.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, ObservableGauge};

use crate::door::Door;

/// Instruments of the global meter.
#[derive(Debug)]
pub(crate) struct Metrics {
    readings: Counter<u64>,
    /// Seconds from a batch's arrival to its answer.
    pub(crate) batch_duration: Histogram<f64>,
    /// Held so that it goes on being observed.
    _in_flight: ObservableGauge<u64>,
}

impl Metrics {
    pub(crate) fn new(door: &Door) -> Self {
        let meter = opentelemetry::global::meter("tocsin-ingest");
        let door = door.clone();
        let durations = [
            0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
        ];
        Self {
            readings: meter
                .u64_counter("tocsin.ingest.readings")
                .with_description("readings answered, by what became of them")
                .build(),
            batch_duration: meter
                .f64_histogram("tocsin.ingest.batch_duration")
                .with_unit("s")
                .with_description("time from a batch's arrival to its answer")
                .with_boundaries(durations.to_vec())
                .build(),
            _in_flight: meter
                .u64_observable_gauge("tocsin.ingest.in_flight_readings")
                .with_description("readings between their arrival and their answer")
                .with_callback(move |observer| observer.observe(door.in_flight() as u64, &[]))
                .build(),
        }
    }

    /// Counts readings that met the same end.
    pub(crate) fn count(&self, outcome: &'static str, readings: usize) {
        if readings > 0 {
            self.readings.add(readings as u64, &[KeyValue::new("outcome", outcome)]);
        }
    }
}
