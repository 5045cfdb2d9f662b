//! Telemetry over OTLP: one trace goes from publish to commit, through the processes of ingest, ensemble and scorer; and
//! metrics, pushed and scraped.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tocsin::publish::Publisher;
use tocsin::rollout;
use tocsin_contracts::ingest::StreamProperties;
use tocsin_tests::collector::Collected;
use tocsin_tests::stage::{CLASS, SPEC, declare, make_token, register_sensor};
use tocsin_tests::{Collector, Deployment, Plant};

/// Readings of the one batch.
const READINGS: u64 = 3;

/// Calls of the scorer: one for the scores, one for the bins of readings that stand above a line.
const SCORER_CALLS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_goes_from_publish_to_commit_through_every_process() -> Result<()> {
    let collector = Collector::start().await?;
    let telemetry = format!(
        "otlp_endpoint = \"{}\"\notlp_metrics_interval_ms = 500",
        collector.url()
    );
    let deployment = Deployment::start_with(&telemetry).await?;
    declare(deployment.service_channel()?).await?;
    register_sensor(deployment.service_channel()?, "m1", "h", SPEC).await?;
    let archive = Plant::bundle(CLASS, 1)?;
    rollout::register(&deployment.service_channel()?, CLASS, &archive).await?;
    deployment.judges(CLASS).await?;

    let before = readings_stored(&deployment).await?;
    let token = make_token(deployment.service_channel()?, |_| ()).await?;
    let properties = StreamProperties {
        clock_is_capture: true,
        historical: false,
    };
    let mut publisher = Publisher::new(deployment.channel(&token)?, properties);
    let batch = (0..READINGS)
        .map(|n| Plant::reading("m1/h", n, Plant::failing(n)))
        .collect();
    assert_eq!(publisher.publish(batch).await?.stored, READINGS as u32);
    assert_eq!(readings_stored(&deployment).await? - before, READINGS as f64);

    let trace = trace_of_the_publish(&collector).await?;
    let commit = trace.only("commit", "ensemble", None)?;
    let path = trace.path_to(commit)?;
    assert_eq!(path.first(), Some(&"publish"), "{path:?}");
    assert!(path.contains(&"assess"), "{path:?}");
    for number in 0..SCORER_CALLS {
        let score = trace.only("request", "scorer", Some(number))?;
        assert_eq!(score.attribute("path"), Some("/tocsin.scorer.v1.ScorerService/Score"));
        let path = trace.path_to(score)?;
        assert!(path.starts_with(&["publish", "request"]), "{path:?}");
        assert!(path.contains(&"assess"), "{path:?}");
    }
    for metric in ["tocsin.ingest.readings", "tocsin.scorer.rows"] {
        assert!(collector.metrics().contains(metric), "{:?}", collector.metrics());
    }
    Ok(())
}

/// The spans of one trace by their ids.
struct Trace(HashMap<Vec<u8>, Collected>);

impl Trace {
    /// The span of this name from a process of this role; of several, the one of this number in time.
    fn only(&self, name: &str, roles: &str, number: Option<usize>) -> Result<&Collected> {
        let named = |span: &&Collected| span.span.name == name && span.roles == roles;
        let mut found: Vec<&Collected> = self.0.values().filter(named).collect();
        found.sort_by_key(|span| span.span.start_time_unix_nano);
        match (found.as_slice(), number) {
            ([one], None) => Ok(one),
            (many, Some(number)) if number < many.len() => Ok(many[number]),
            _ => bail!("{} spans {name} of {roles} in {}", found.len(), self.tell()),
        }
    }

    /// The names of a span's ancestors and its own, from the root.
    fn path_to<'a>(&'a self, span: &'a Collected) -> Result<Vec<&'a str>> {
        let mut names = vec![span.span.name.as_str()];
        let mut at = span;
        while !at.span.parent_span_id.is_empty() {
            at = self
                .0
                .get(&at.span.parent_span_id)
                .with_context(|| format!("{} has a parent that never came: {}", at.span.name, self.tell()))?;
            names.push(&at.span.name);
        }
        names.reverse();
        Ok(names)
    }

    fn is_whole(&self) -> bool {
        let count = |name: &str, roles: &str| {
            let spans = self.0.values();
            spans.filter(|s| s.span.name == name && s.roles == roles).count()
        };
        let rooted = || self.0.values().all(|span| self.path_to(span).is_ok());
        count("commit", "ensemble") > 0 && count("request", "scorer") >= SCORER_CALLS && rooted()
    }

    fn tell(&self) -> String {
        let mut told: Vec<String> = self
            .0
            .values()
            .map(|span| {
                let parent = self.0.get(&span.span.parent_span_id).map(|parent| &parent.span.name);
                format!("{} of {} under {parent:?}", span.span.name, span.roles)
            })
            .collect();
        told.sort();
        told.join("; ")
    }
}

/// The trace of the one batch, when its commit, all calls of the scorer and everything above them have arrived: processes
/// send what they have every few seconds.
async fn trace_of_the_publish(collector: &Collector) -> Result<Trace> {
    for _ in 0..300 {
        let spans = collector.spans();
        let publish = spans.iter().find(|span| span.span.name == "publish");
        if let Some(trace_id) = publish.map(|span| &span.span.trace_id) {
            let of_it = |span: &&Collected| &span.span.trace_id == trace_id;
            let by_id = |span: &Collected| (span.span.span_id.clone(), span.clone());
            let trace = Trace(spans.iter().filter(of_it).map(by_id).collect());
            if trace.is_whole() {
                return Ok(trace);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let told: Vec<String> = collector
        .spans()
        .iter()
        .map(|span| format!("{} of {}", span.span.name, span.roles))
        .collect();
    bail!("no trace from publish to commit in {told:?}")
}

/// The counter of stored readings, as Prometheus scrapes it; 0 before the first.
async fn readings_stored(deployment: &Deployment) -> Result<f64> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let page = reqwest::get(deployment.metrics_url("front")?).await?.text().await?;
    let line = page
        .lines()
        .find(|line| line.starts_with("tocsin_ingest_readings_total{") && line.contains("outcome=\"stored\""));
    line.map_or(Ok(0.0), |line| {
        let value = line.rsplit(' ').next().unwrap_or_default();
        value.parse().with_context(|| line.to_owned())
    })
}
