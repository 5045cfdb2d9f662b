//! What the scorer measures.

use std::sync::Arc;

use opentelemetry::metrics::{Counter, Histogram, ObservableGauge};

use crate::queue::Queue;

/// Instruments of the global meter.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// Rows scored.
    pub(crate) rows: Counter<u64>,
    /// Batches scored.
    pub(crate) batches: Counter<u64>,
    /// Rows in a batch.
    pub(crate) batch_rows: Histogram<u64>,
    /// Seconds a batch took, without waiting.
    pub(crate) batch_duration: Histogram<f64>,
    /// Held so that it goes on being observed.
    _waiting: ObservableGauge<u64>,
}

impl Metrics {
    pub(crate) fn new(queue: &Arc<Queue>) -> Self {
        let meter = opentelemetry::global::meter("tocsin-scorer");
        let queue = Arc::downgrade(queue);
        let sizes = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
        let durations = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5];
        Self {
            rows: meter
                .u64_counter("tocsin.scorer.rows")
                .with_description("rows scored")
                .build(),
            batches: meter
                .u64_counter("tocsin.scorer.batches")
                .with_description("batches scored")
                .build(),
            batch_rows: meter
                .u64_histogram("tocsin.scorer.batch_rows")
                .with_description("rows scored together")
                .with_boundaries(sizes.to_vec())
                .build(),
            batch_duration: meter
                .f64_histogram("tocsin.scorer.batch_duration")
                .with_unit("s")
                .with_description("time to score a batch, without waiting")
                .with_boundaries(durations.to_vec())
                .build(),
            _waiting: meter
                .u64_observable_gauge("tocsin.scorer.waiting_rows")
                .with_description("rows waiting to be scored")
                .with_callback(move |observer| {
                    if let Some(queue) = queue.upgrade() {
                        observer.observe(queue.waiting() as u64, &[]);
                    }
                })
                .build(),
        }
    }
}
