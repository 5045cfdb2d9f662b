//! What is counted.

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};
use tocsin_contracts::ensemble::ReadingOutcome;
use tocsin_domain::ReadingFlags;

use crate::assess::Assessed;

/// Instruments of the ensemble role.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    verdicts: Counter<u64>,
    outcomes: Counter<u64>,
    degraded: Counter<u64>,
    insufficient_history: Counter<u64>,
    group_readings: Histogram<u64>,
    shadowed: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("tocsin.ensemble");
        Self {
            verdicts: meter
                .u64_counter("tocsin.ensemble.verdicts")
                .with_description("readings judged")
                .build(),
            outcomes: meter
                .u64_counter("tocsin.ensemble.outcomes")
                .with_description("readings answered")
                .build(),
            degraded: meter
                .u64_counter("tocsin.ensemble.degraded")
                .with_description("readings judged without the network")
                .build(),
            insufficient_history: meter
                .u64_counter("tocsin.ensemble.insufficient_history")
                .with_description("readings that a temporal bundle judged by one spectrum, for want of a window")
                .build(),
            group_readings: meter
                .u64_histogram("tocsin.ensemble.group_readings")
                .with_description("readings assessed and committed together")
                .build(),
            shadowed: meter
                .u64_counter("tocsin.ensemble.shadowed")
                .with_description("readings chosen for a challenger, by what became of its scores")
                .build(),
        }
    }

    pub(crate) fn assessed(&self, group: &[Assessed]) {
        self.group_readings.record(group.len() as u64, &[]);
        for verdict in ["normal", "alert", "page", "unjudged"] {
            let count = group.iter().filter(|a| a.row.verdict.as_str() == verdict).count() as u64;
            if count > 0 {
                self.verdicts.add(count, &[KeyValue::new("verdict", verdict)]);
            }
        }
        let of = |holds: &dyn Fn(&&Assessed) -> bool| group.iter().filter(holds).count() as u64;
        self.degraded
            .add(of(&|a| a.row.flags.contains(ReadingFlags::DEGRADED)), &[]);
        self.insufficient_history.add(of(&|a| a.lacks_history()), &[]);
    }

    /// `stored` or `dropped`.
    pub(crate) fn shadowed(&self, outcome: &'static str, count: usize) {
        self.shadowed.add(count as u64, &[KeyValue::new("outcome", outcome)]);
    }

    pub(crate) fn answered(&self, outcomes: &[ReadingOutcome]) {
        for name in ["stored", "duplicate", "conflict", "not_stored"] {
            let count = outcomes.iter().filter(|outcome| outcome_name(outcome) == name).count() as u64;
            if count > 0 {
                self.outcomes.add(count, &[KeyValue::new("outcome", name)]);
            }
        }
    }
}

fn outcome_name(outcome: &ReadingOutcome) -> &'static str {
    match outcome {
        ReadingOutcome::Stored { .. } => "stored",
        ReadingOutcome::Duplicate => "duplicate",
        ReadingOutcome::Conflict => "conflict",
        ReadingOutcome::NotStored { .. } => "not_stored",
    }
}
