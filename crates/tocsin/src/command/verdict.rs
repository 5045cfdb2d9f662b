//! `tocsin verdict`: stored verdicts explained, and made again.

mod explain;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tocsin_contracts::review::v1::review_service_client::ReviewServiceClient;
use tocsin_contracts::review::v1::{
    ExplainVerdictRequest, VerdictMismatch, VerifyVerdictsRequest, VerifyVerdictsResponse,
};
use tocsin_contracts::time;
use tocsin_domain::Timestamp;
use tocsin_transport::Channel;

use super::Ask;
use super::corpora::bar;
use crate::client;
use crate::output::{Format, document};

#[derive(Debug, Args)]
pub(super) struct VerdictCommand {
    #[command(flatten)]
    ask: Ask,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show all that one verdict was made from, and what comes out when it is made again
    Explain {
        /// The sensor: `site/machine/sensor`
        sensor: String,
        /// The reading captured at this time (RFC 3339), or the newest one before it; the newest of all when not given
        time: Option<String>,
    },
    /// Make every verdict of a period again, and count those that come out differently
    ///
    /// Decisions are made again from the stored scores and must be the same. Scores are made again from the stored spectra
    /// and must be within 1e-5. What differs is told on standard error.
    Verify {
        /// Only this site
        #[arg(long, default_value = "", hide_default_value = true)]
        site: String,
        /// Only readings captured at or after this time (RFC 3339)
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Only readings captured before this time
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
    },
}

impl VerdictCommand {
    pub(super) async fn run(self) -> Result<()> {
        let parse = |name: &str, text: Option<String>| text.map(|text| Timestamp::parse(name, &text)).transpose();
        let client = ReviewServiceClient::new(self.ask.target.channel()?);
        match self.what {
            What::Explain { sensor, time } => {
                let mut parts = sensor.splitn(3, '/').map(str::to_owned);
                let (Some(site), Some(machine), Some(sensor)) = (parts.next(), parts.next(), parts.next()) else {
                    anyhow::bail!("SENSOR: {sensor:?} is not site/machine/sensor");
                };
                let request = ExplainVerdictRequest {
                    site,
                    machine,
                    sensor,
                    at: parse("TIME", time)?.map(time::to_wire),
                };
                explain::run(&self.ask, client, request).await
            }
            What::Verify { site, from, to } => {
                let request = VerifyVerdictsRequest {
                    site,
                    from: parse("--from", from)?.map(time::to_wire),
                    to: parse("--to", to)?.map(time::to_wire),
                };
                verify(&self.ask, client, request).await
            }
        }
    }
}

async fn verify(ask: &Ask, mut client: ReviewServiceClient<Channel>, request: VerifyVerdictsRequest) -> Result<()> {
    let failed = |status: tonic::Status| client::explain("verifying verdicts", &status);
    let mut answers = client.verify_verdicts(request).await.map_err(failed)?.into_inner();
    let bar = bar(0, "{pos} of {len} sensors, {msg}");
    while let Some(answer) = answers.message().await.map_err(failed)? {
        for mismatch in &answer.mismatches {
            bar.suspend(|| told(mismatch))?;
        }
        bar.set_length(answer.sensors.into());
        bar.set_position(answer.sensors_done.into());
        bar.set_message(format!("{} verdicts", answer.verdicts));
        if answer.done {
            bar.finish_and_clear();
            return print(ask, &answer);
        }
    }
    anyhow::bail!("verifying verdicts: the answer ended before its end")
}

/// Says what differs where people look, beside the document.
fn told(mismatch: &VerdictMismatch) -> Result<()> {
    let at = time::optional("captured_at", mismatch.captured_at).context("the answer")?;
    let at = at.map(|at| at.to_string()).unwrap_or_default();
    let VerdictMismatch {
        site, machine, sensor, ..
    } = mismatch;
    for difference in &mismatch.differences {
        eprintln!("{site}/{machine}/{sensor} {at}: {difference}");
    }
    Ok(())
}

fn print(ask: &Ask, answer: &VerifyVerdictsResponse) -> Result<()> {
    let counted = json!({
        "verdicts": answer.verdicts,
        "decision_mismatches": answer.decision_mismatches,
        "score_mismatches": answer.score_mismatches,
        "without_spectrum": answer.without_spectrum,
    });
    match ask.output.format {
        Format::Json => document(&counted),
        Format::Table => ask.output.item("verified", counted),
    }
}

/// A number of an answer that may be missing.
fn number(value: Option<f32>) -> Value {
    // By its shortest decimal form: as a double it would show digits that a score does not have.
    value.map_or(Value::Null, |value| {
        value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
    })
}
