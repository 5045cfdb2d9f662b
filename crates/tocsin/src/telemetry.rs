//! Logs, traces and metrics. Every crate speaks to `tracing` and to OpenTelemetry's global meter; here, and only on
//! main's word, exporters are installed.
//!
//! - Logs go to standard error, for people or as JSON.
//! - Metrics are always collected, for the Prometheus scrape; and pushed over OTLP when a collector is configured.
//! - Traces go over OTLP when a collector is configured. The W3C trace context rides in each call's headers (see
//!   `propagation`), so that one trace runs from publish to commit through any number of processes.

mod propagation;
mod scrape;

pub(crate) use propagation::{inject, take_parent};
pub(crate) use scrape::{Scrape, router};

use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// What is told, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is logged: a level, or directives such as `info,tocsin_ingest=debug`.
    pub log: String,
    /// How it is written.
    pub log_format: LogFormat,
    /// An OpenTelemetry collector's OTLP/gRPC endpoint, such as `http://127.0.0.1:4317`; none, nothing is pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,
    /// How often metrics are pushed to it, in milliseconds.
    pub otlp_metrics_interval_ms: u64,
    /// Where Prometheus scrapes `/metrics` without a credential: a loopback address, or `off`. With a credential it is
    /// on the server's own address as well.
    #[serde(with = "off")]
    pub metrics_listen: Option<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            log: "info".to_owned(),
            log_format: LogFormat::default(),
            otlp_endpoint: None,
            otlp_metrics_interval_ms: 15_000,
            metrics_listen: Some((Ipv4Addr::LOCALHOST, 7702).into()),
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// The exporters at work. Keep it until the end, and [`shut_down`](Self::shut_down) to send what is left.
#[derive(Debug)]
pub struct Telemetry {
    metrics: prometheus::Registry,
    meters: SdkMeterProvider,
    tracers: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Installs logs, metrics and traces for the whole process: once, by main, within the tokio runtime. `roles` tells
    /// processes apart.
    ///
    /// # Errors
    /// If a setting is no good, or it was called before.
    pub fn install(config: &Config, roles: &str) -> Result<Self> {
        let resource = Resource::builder()
            .with_service_name("tocsin")
            .with_attribute(KeyValue::new("tocsin.roles", roles.to_owned()))
            .build();
        let metrics = prometheus::Registry::new();
        let meters = meters(config, &metrics, resource.clone())?;
        global::set_meter_provider(meters.clone());
        global::set_text_map_propagator(TraceContextPropagator::new());

        let tracers = config
            .otlp_endpoint
            .as_deref()
            .map(|endpoint| tracers(endpoint, resource))
            .transpose()?;
        let traces = tracers.as_ref().map(|provider| {
            // Spans of ours alone: those of the HTTP stack below would double them.
            let ours = Targets::new().with_target("tocsin", LevelFilter::DEBUG);
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("tocsin"))
                .with_filter(ours)
        });
        install(tracing_subscriber::registry().with(logs(config)?).with(traces))?;
        Ok(Self {
            metrics,
            meters,
            tracers,
        })
    }

    /// What a Prometheus scrape reads.
    pub fn metrics(&self) -> &prometheus::Registry {
        &self.metrics
    }

    /// Sends what is left. Blocks for a few seconds when the collector doesn't answer.
    pub fn shut_down(self) {
        if let Some(tracers) = self.tracers
            && let Err(error) = tracers.shutdown()
        {
            tracing::warn!(%error, "the last traces may be lost");
        }
        if let Err(error) = self.meters.shutdown() {
            tracing::warn!(%error, "the last metrics may be lost");
        }
    }
}

/// Logs alone, for commands that talk to a running Tocsin: warnings, or what `TOCSIN_LOG` says.
pub fn install_logs() -> Result<()> {
    let config = Config {
        log: std::env::var("TOCSIN_LOG").unwrap_or_else(|_| "warn".to_owned()),
        ..Config::default()
    };
    install(tracing_subscriber::registry().with(logs(&config)?))
}

/// Not by `try_init`, which takes the records of the `log` crate as well: whoever asks `log_enabled!` there and is told no
/// leaves that answer behind in the filters of these layers, and the thread's next event or span is lost. The database
/// driver asks at each statement.
fn install(subscriber: impl tracing::Subscriber + Send + Sync) -> Result<()> {
    tracing::subscriber::set_global_default(subscriber).context("installing logs")
}

fn logs(config: &Config) -> Result<Box<dyn Layer<Registry> + Send + Sync>> {
    let filter: EnvFilter = config
        .log
        .parse()
        .with_context(|| format!("telemetry.log: {:?} is not a level or a list of directives", config.log))?;
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    Ok(match config.log_format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    })
}

fn meters(config: &Config, scrape: &prometheus::Registry, resource: Resource) -> Result<SdkMeterProvider> {
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(scrape.clone())
        .build()
        .context("preparing the Prometheus scrape")?;
    let provider = SdkMeterProvider::builder()
        .with_resource(resource)
        .with_reader(exporter);
    let Some(endpoint) = &config.otlp_endpoint else {
        return Ok(provider.build());
    };
    let exporter = opentelemetry_otlp::MetricExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .with_context(|| format!("telemetry.otlp_endpoint: {endpoint:?} can't be used"))?;
    let push = PeriodicReader::builder(exporter)
        .with_interval(Duration::from_millis(config.otlp_metrics_interval_ms.max(1)))
        .build();
    Ok(provider.with_reader(push).build())
}

fn tracers(endpoint: &str, resource: Resource) -> Result<SdkTracerProvider> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .with_context(|| format!("telemetry.otlp_endpoint: {endpoint:?} can't be used"))?;
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(exporter)
        .build())
}

/// An address, or the word `off`.
mod off {
    use std::net::SocketAddr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(address: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
        match address {
            Some(address) => serializer.collect_str(address),
            None => serializer.serialize_str("off"),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(None);
        }
        let refuse = |_| D::Error::custom(format!("{text:?} is neither an address with a port nor \"off\""));
        text.parse().map(Some).map_err(refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scrape_can_be_moved_and_switched_off_and_nonsense_is_named() {
        let listen = |text: &str| {
            toml::from_str::<Config>(&format!("metrics_listen = {text:?}")).map(|config| config.metrics_listen)
        };
        assert_eq!(listen("off").expect("off"), None);
        assert_eq!(
            listen("127.0.0.1:9").expect("an address"),
            Some(([127, 0, 0, 1], 9).into())
        );
        assert!(
            listen("localhost")
                .expect_err("no port")
                .to_string()
                .contains("localhost")
        );
    }

    #[test]
    fn a_log_directive_that_cannot_be_read_is_named() {
        let config = Config {
            log: "tocsin=loud".to_owned(),
            ..Config::default()
        };
        let error = logs(&config).err().expect("loud is not a level");
        assert!(error.to_string().contains("tocsin=loud"), "{error}");
    }
}
