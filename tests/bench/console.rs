//! The console over a large fleet: how long each page takes, from the request to its last byte, on loopback.
//!
//! A week of readings is in the store, the newest of them now, in daily partitions as a plant's would be.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use reqwest::Client;
use reqwest::header::{COOKIE, HeaderMap, ORIGIN, SET_COOKIE};
use reqwest::redirect::Policy;
use tocsin_domain::Clock;

use crate::fill::{self, Filling};
use crate::platform::Platform;
use crate::report::Report;

/// Time between readings.
const INTERVAL: Duration = Duration::from_mins(10);
const STEPS_OF_A_DAY: u64 = 144;

const PAGES: [&str; 7] = [
    "/",
    "/sites/site-0/machines/m0",
    "/incidents",
    "/incidents/performance",
    "/sensors",
    "/models",
    "/limits",
];

/// Settings.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Options {
    /// Sensors, four on each machine
    #[arg(long, default_value_t = 2_400)]
    sensors: usize,
    /// Days of a reading every ten minutes
    #[arg(long, default_value_t = 7)]
    days: u64,
    /// Requests of each page
    #[arg(long, default_value_t = 50)]
    requests: u64,
}

/// Runs it.
pub(crate) async fn run(options: Options) -> Result<Report> {
    ensure!(options.requests > 0, "--requests: at least one is needed");
    fill::check_sensors(options.sensors)?;
    let platform = Platform::alone().await?;
    let mut report = Report::default();
    report.note("sensors", options.sensors);
    report.note("readings", filled(&platform, options).await?);
    let client = signed_in(&platform).await?;
    for path in PAGES {
        let url = platform.console()? + path;
        let (latencies, bytes) = asked(&client, &url, options.requests).await?;
        report.note(
            path,
            serde_json::json!({
                "p50_ms": latencies.value_at_quantile(0.5) as f64 / 1e3,
                "p99_ms": latencies.value_at_quantile(0.99) as f64 / 1e3,
                "kilobytes": bytes / 1_000,
            }),
        );
    }
    platform.stop()?;
    Ok(report)
}

/// Puts the readings in; how many there are.
async fn filled(platform: &Platform, options: Options) -> Result<u64> {
    let fleet = fill::declare(platform, options.sensors).await?;
    let steps = options.days * STEPS_OF_A_DAY;
    let store = platform.store().await?;
    let filling = Filling {
        sensors: options.sensors,
        of_machine: fill::OF_MACHINE,
        failing: 0,
        steps,
        interval: INTERVAL,
        from: Clock::system().now() - INTERVAL * steps as u32,
    };
    fill::fill(&store, &fleet, filling).await?;
    store.close().await;
    Ok(steps * options.sensors as u64)
}

/// A browser with a session.
async fn signed_in(platform: &Platform) -> Result<Client> {
    let console = platform.console()?;
    let builder = || Client::builder().redirect(Policy::none());
    let form = format!("name=admin&password={}", platform.password()?);
    let answer = builder()
        .build()?
        .post(format!("{console}/login"))
        .header(ORIGIN, &console)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await?;
    let cookie = answer.headers().get(SET_COOKIE).context("signing in gave no session")?;
    let cookie = cookie.to_str()?.split(';').next().unwrap_or_default();
    let headers = HeaderMap::from_iter([(COOKIE, cookie.parse()?)]);
    Ok(builder().default_headers(headers).build()?)
}

/// Times of a page in microseconds, and its size.
async fn asked(client: &Client, url: &str, requests: u64) -> Result<(Histogram<u64>, usize)> {
    let mut latencies = Histogram::new(3).context("a histogram")?;
    let mut bytes = 0;
    for _ in 0..=requests {
        let started = Instant::now();
        let answer = client.get(url).send().await?;
        ensure!(answer.status() == 200, "{url} is answered {}", answer.status());
        bytes = answer.bytes().await?.len();
        latencies.record(started.elapsed().as_micros() as u64)?;
    }
    Ok((latencies, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_page_of_a_small_fleet_is_timed() {
        let options = Options {
            sensors: 8,
            days: 1,
            requests: 1,
        };
        let report = run(options).await.unwrap();
        assert_eq!(report.value("readings"), 1_152);
        for path in PAGES {
            assert!(report.value(path)["p50_ms"].as_f64().unwrap() > 0.0, "{path}");
        }
    }
}
