//! How long the heartbeat outlives what it vouches for: ingest, the ensemble, the pager and Postgres are killed in turn,
//! each a second after a heartbeat, while the canary sings at its real period.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::json;
use tocsin_tests::outside::{Outside, Part};

use crate::report::Report;

/// The longest that a heartbeat may come after a kill.
const LIMIT: Duration = Duration::from_mins(2);

/// From a heartbeat to the kill: the later the next is due, the later its absence is noticed.
const AFTER_A_BEAT: Duration = Duration::from_secs(1);

/// Settings.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds between heartbeats.
    #[arg(long, default_value_t = 60)]
    period: u64,
}

/// What was heard of one kill.
struct Outcome {
    part: Part,
    killed_at: Instant,
    last_beat: Instant,
    /// From the restart to the next heartbeat.
    back_after: Duration,
}

/// Runs it.
pub(crate) async fn run(options: Options) -> Result<Report> {
    let period = Duration::from_secs(options.period);
    let outside = Outside::default();
    let mut deployment = outside.watch(period).await?;
    let mut last_beat = outside.beats(2, 3 * period + LIMIT).await.context("at first")?;
    let mut report = Report::default();
    report.note("period_s", options.period);
    for part in Part::ALL {
        tokio::time::sleep(AFTER_A_BEAT.saturating_sub(last_beat.elapsed())).await;
        part.kill(&mut deployment).await?;
        let killed_at = Instant::now();
        eprintln!("{} is killed", part.name());
        // Three periods: a heartbeat that goes on is heard beyond the limit.
        tokio::time::sleep((3 * period).max(LIMIT + period) + AFTER_A_BEAT).await;
        let heard = outside.heartbeats().pop().context("a heartbeat")?;
        part.bring_back(&mut deployment).await?;
        let restarted_at = Instant::now();
        last_beat = outside.beats(1, 3 * period + LIMIT).await.context(part.name())?;
        let outcome = Outcome {
            part,
            killed_at,
            last_beat: heard,
            back_after: last_beat - restarted_at,
        };
        outcome.note(&mut report, period)?;
    }
    Ok(report)
}

impl Outcome {
    /// Seconds from the kill to the last heartbeat (negative before it), to the moment the next would have been due, and
    /// from the restart to the next one.
    fn note(&self, report: &mut Report, period: Duration) -> Result<()> {
        let after_kill = |at: Instant| {
            let (late, early) = (
                at.saturating_duration_since(self.killed_at),
                self.killed_at.saturating_duration_since(at),
            );
            ((late.as_secs_f64() - early.as_secs_f64()) * 10.0).round() / 10.0
        };
        let last_s = after_kill(self.last_beat);
        report.note(
            self.part.name(),
            json!({
                "last_heartbeat_s": last_s,
                "missed_s": after_kill(self.last_beat + period),
                "back_s": (self.back_after.as_secs_f64() * 10.0).round() / 10.0,
            }),
        );
        ensure!(
            last_s <= LIMIT.as_secs_f64(),
            "a heartbeat came {last_s} s after {} was killed",
            self.part.name()
        );
        Ok(())
    }
}
