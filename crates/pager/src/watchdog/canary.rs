//! A canary: publishes a reading every period, as any gateway may.

use std::time::Duration;

use reqwest::header::AUTHORIZATION;
use reqwest::{Certificate, Client, Url};
use serde_json::{Value, json};
use tocsin_domain::{Clock, Invalid, Timestamp};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Canary;
use crate::{BuildError, secret};

/// Bins of the specification `tocsin-canary`.
const BINS: usize = 32;

/// The level that the specification declares, in mm/s: zone A of the class `tocsin-canary`.
const LEVEL: f32 = 0.1;

/// What publishes a canary's readings.
#[derive(Debug)]
pub(super) struct Singer {
    canary: Canary,
    endpoint: Url,
    client: Client,
    period: Duration,
}

impl Singer {
    pub(super) fn new(canary: &Canary, period: Duration) -> Result<Self, BuildError> {
        let mut endpoint = canary.ingest_url.parse()?;
        let mut segments = endpoint.path_segments_mut().expect("an http address has a path");
        segments.pop_if_empty().extend(["v1", "readings"]);
        drop(segments);
        secret::authorization(&canary.token_file).map_err(within)?;
        let mut client = Client::builder()
            .timeout(period / 2)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = &canary.ca_file {
            let invalid = |reason: String| Invalid::new("pager.watchdog.canaries.ca_file", reason);
            let pem = std::fs::read(path).map_err(|error| invalid(format!("{}: {error}", path.display())))?;
            let authority =
                Certificate::from_pem(&pem).map_err(|error| invalid(format!("{}: {error}", path.display())))?;
            client = client.tls_certs_only([authority]);
        }
        Ok(Self {
            canary: canary.clone(),
            endpoint,
            client: client.build().map_err(BuildError::Client)?,
            period,
        })
    }

    pub(super) async fn run(self, clock: Clock, shutdown: CancellationToken) {
        let work = async {
            let mut next = Instant::now();
            loop {
                sleep_until(next).await;
                next = Instant::now() + self.period;
                if let Err(reason) = self.sing(clock.now()).await {
                    tracing::warn!(
                        site = self.canary.site,
                        reason,
                        "a canary's reading was not judged and stored"
                    );
                }
            }
        };
        shutdown.run_until_cancelled(work).await;
    }

    /// Publishes one reading; the error says why it was not judged and stored.
    async fn sing(&self, now: Timestamp) -> Result<(), String> {
        let reading = json!({
            "sensor": self.canary.sensor,
            "captured_at": now,
            "bins": vec![0.01_f32; BINS],
            "overall": {"canary": LEVEL},
        });
        let authorization = secret::authorization(&self.canary.token_file).map_err(|invalid| invalid.to_string())?;
        let request = self
            .client
            .post(self.endpoint.clone())
            .header(AUTHORIZATION, authorization);
        let without_url = |error: reqwest::Error| error.without_url().to_string();
        let answer = request
            .json(&json!({"readings": [reading]}))
            .send()
            .await
            .map_err(without_url)?;
        let status = answer.status();
        let said: Value = answer.json().await.map_err(without_url)?;
        if status.is_success() && is_judged(&said) {
            Ok(())
        } else {
            Err(format!("{status} {said}"))
        }
    }
}

/// Whether the answer says that the one reading was stored, and judged normal.
fn is_judged(answer: &Value) -> bool {
    answer["stored"] == 1 && answer["verdicts"][0]["verdict"] == "normal"
}

/// The same error, of this section.
fn within(invalid: Invalid) -> Invalid {
    let field = invalid.field.replace("pager.destinations.", "pager.watchdog.canaries.");
    Invalid::new(field, invalid.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_stored_and_judged_is_a_round() {
        let answer =
            |stored: u32, verdict: &str| json!({"stored": stored, "verdicts": [{"index": 0, "verdict": verdict}]});
        assert!(is_judged(&answer(1, "normal")));
        assert!(!is_judged(&answer(1, "unjudged")) && !is_judged(&answer(0, "normal")));
        assert!(!is_judged(
            &json!({"stored": 0, "rejections": [{"index": 0}], "verdicts": []})
        ));
    }
}
