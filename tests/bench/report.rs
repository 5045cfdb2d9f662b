//! What a benchmark prints.

use anyhow::{Context, Result};
use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// How a report is printed.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Format {
    /// A line per figure.
    #[default]
    Text,
    /// One document.
    Json,
}

/// Named figures, in the order they were noted.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<(String, Value)>);

impl Report {
    /// Adds a figure.
    pub(crate) fn note(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.0.push((name.into(), value.into()));
    }

    /// A figure that was noted.
    ///
    /// # Panics
    /// If there is none of that name.
    #[cfg(test)]
    pub(crate) fn value(&self, name: &str) -> &Value {
        let found = self.0.iter().find(|(noted, _)| noted == name);
        &found.unwrap_or_else(|| panic!("no figure {name} in {:?}", self.0)).1
    }

    /// Adds a figure, rounded to three significant decimals.
    pub(crate) fn figure(&mut self, name: impl Into<String>, value: f64) {
        self.note(name, (value * 1e3).round() / 1e3);
    }

    /// Adds what the times to an ack were, in milliseconds.
    pub(crate) fn latencies(&mut self, name: &str, latencies: &Histogram<u64>) {
        let ms = |micros: u64| micros as f64 / 1e3;
        self.note(
            name,
            json!({
                "acks": latencies.len(),
                "p50_ms": ms(latencies.value_at_quantile(0.5)),
                "p99_ms": ms(latencies.value_at_quantile(0.99)),
                "p999_ms": ms(latencies.value_at_quantile(0.999)),
                "max_ms": ms(latencies.max()),
            }),
        );
    }

    /// Prints it to standard output.
    pub(crate) fn print(self, format: Format) -> Result<()> {
        match format {
            Format::Json => {
                let document: Map<String, Value> = self.0.into_iter().collect();
                println!("{}", serde_json::to_string_pretty(&document).context("the report")?);
            }
            Format::Text => {
                for (name, value) in self.0 {
                    println!("{name:<34} {}", plain(&value));
                }
            }
        }
        Ok(())
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name} {}", plain(value)))
            .collect::<Vec<_>>()
            .join("  "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Times in microseconds, up to ten minutes.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("these bounds are valid")
}
