//! `tocsin import`: readings from a CSV file, by the same rules and with the same ack as any gateway's.

mod csv_readings;

use std::fs::File;
use std::io::{BufReader, IsTerminal};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tocsin_contracts::ingest::StreamProperties;
use tocsin_contracts::ingest::v1::Reading;

use self::csv_readings::{Problem, Row};
use super::Ask;
use crate::client::explain_sending;
use crate::output::{Format, document};
use crate::publish::Publisher;

/// Readings in a batch, unless more of them have the same capture time.
const BATCH: usize = 500;
/// The contract's limit.
const LARGEST_BATCH: usize = 5_000;
/// Problems that are told one by one.
const TOLD: usize = 20;

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file
    #[arg(long, value_name = "FILE")]
    csv: PathBuf,
    /// The bins are decibels over this reference, in the specification's unit
    #[arg(long, value_name = "REFERENCE")]
    db_reference: Option<f64>,
    /// "Now" is each machine's newest capture time; needs a token that may replay
    #[arg(long)]
    capture_clock: bool,
    /// Judge and store, but never page; needs a token that may send history
    #[arg(long)]
    historical: bool,
    #[command(flatten)]
    ask: Ask,
}

/// What became of the file.
#[derive(Debug, Default)]
struct Tally {
    sent: u64,
    stored: u64,
    duplicates: u64,
    problems: Vec<Problem>,
}

impl Import {
    pub(super) async fn run(self) -> Result<()> {
        let file = File::open(&self.csv).with_context(|| format!("opening {}", self.csv.display()))?;
        let in_file = || format!("in {}", self.csv.display());
        let (rows, problems) = csv_readings::read(BufReader::new(file), self.db_reference).with_context(in_file)?;
        let properties = StreamProperties {
            clock_is_capture: self.capture_clock,
            historical: self.historical,
        };
        let mut publisher = Publisher::new(self.ask.target.channel()?, properties);
        let mut tally = Tally {
            problems,
            ..Tally::default()
        };

        let progress = progress(rows.len() as u64);
        for batch in batches(rows) {
            let (lines, readings): (Vec<u64>, Vec<Reading>) =
                batch.into_iter().map(|row| (row.line, row.reading)).unzip();
            tally.sent += readings.len() as u64;
            let ack = publisher.publish(readings).await;
            let ack = ack.map_err(|status| {
                let then = "run the same import again: what is stored stays single";
                let error = explain_sending("publishing", &status, then);
                anyhow!("{error} ({} readings were stored before)", tally.stored)
            })?;
            tally.stored += u64::from(ack.stored);
            tally.duplicates += u64::from(ack.duplicates);
            for rejection in ack.rejections {
                let line = lines.get(rejection.index as usize).copied().unwrap_or_default();
                tally.problems.push(Problem {
                    line,
                    field: rejection.field,
                    reason: rejection.reason,
                });
            }
            progress.inc(lines.len() as u64);
        }
        progress.finish_and_clear();
        tally.tell(self.ask.output.format)
    }
}

impl Tally {
    fn tell(mut self, format: Format) -> Result<()> {
        self.problems.sort_by_key(|problem| problem.line);
        for problem in self.problems.iter().take(TOLD) {
            eprintln!("{problem}");
        }
        let untold = self.problems.len().saturating_sub(TOLD);
        if untold > 0 {
            eprintln!("and {untold} more");
        }
        let acked = self.stored + self.duplicates;
        let rejected = self.problems.len();
        match format {
            Format::Json => document(&json!({
                "sent": self.sent,
                "acked": acked,
                "duplicates": self.duplicates,
                "rejected": rejected,
                "problems": self.problems,
            }))?,
            Format::Table => println!(
                "{} readings stored, {} were stored before, {rejected} rejected",
                self.stored, self.duplicates
            ),
        }
        if rejected > 0 {
            bail!(
                "{rejected} of {} readings were not taken: mend the lines named above and import again",
                acked + rejected as u64
            );
        }
        Ok(())
    }
}

/// In capture order; readings of the same capture time stay together.
fn batches(mut rows: Vec<Row>) -> Vec<Vec<Row>> {
    rows.sort_by_key(|row| row.captured_at);
    let mut batches: Vec<Vec<Row>> = Vec::new();
    for row in rows {
        match batches.last_mut() {
            Some(batch)
                if batch.len() < BATCH
                    || (batch.len() < LARGEST_BATCH
                        && batch.last().is_some_and(|last| last.captured_at == row.captured_at)) =>
            {
                batch.push(row);
            }
            _ => batches.push(vec![row]),
        }
    }
    batches
}

fn progress(readings: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} readings, {per_sec}, {eta} left");
    ProgressBar::new(readings).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use tocsin_domain::Timestamp;

    use super::*;

    #[test]
    fn readings_go_in_capture_order_and_those_of_one_time_stay_together() {
        let row = |line: u64, second: i64| Row {
            line,
            captured_at: Timestamp::from_micros(second * 1_000_000),
            reading: Reading::default(),
        };
        // Sensor by sensor, as exports often are: the second sensor's times come again.
        let rows: Vec<Row> = (0..400)
            .map(|i| row(i, i as i64))
            .chain((0..400).map(|i| row(400 + i, i as i64)))
            .collect();
        let batches = batches(rows);
        let times: Vec<Timestamp> = batches.iter().flatten().map(|row| row.captured_at).collect();
        assert!(times.is_sorted());
        assert_eq!(times.len(), 800);
        for pair in batches.windows(2) {
            assert_ne!(
                pair[0].last().map(|row| row.captured_at),
                pair[1].first().map(|row| row.captured_at)
            );
        }
    }
}
