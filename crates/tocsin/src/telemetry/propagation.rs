//! W3C trace context (`traceparent`) in the headers of calls: written by the caller, read by the server.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::global;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::TraceContextExt;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// For [`Channel::on_request`](tocsin_transport::Channel::on_request): the current span becomes the call's parent.
pub(crate) fn inject(headers: &mut HeaderMap) {
    let context = Span::current().context();
    if context.span().span_context().is_valid() {
        global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut Outgoing(headers)));
    }
}

/// For [`Server::on_request`](tocsin_transport::Server::on_request): the caller's span becomes the parent of `span`.
pub(crate) fn take_parent(headers: &HeaderMap, span: &Span) {
    if !headers.contains_key("traceparent") {
        return;
    }
    let context = global::get_text_map_propagator(|propagator| propagator.extract(&Incoming(headers)));
    if context.span().span_context().is_valid() {
        // Refused when nobody exports traces: then there is nothing to join.
        let _ = span.set_parent(context);
    }
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanId, TraceId, TracerProvider};
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn ids(span: &Span) -> (TraceId, SpanId) {
        let context = span.context();
        let context = context.span().span_context().clone();
        (context.trace_id(), context.span_id())
    }

    #[test]
    fn a_trace_goes_on_in_the_process_that_is_called() {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let mut headers = HeaderMap::new();
            let caller = tracing::info_span!("caller");
            caller.in_scope(|| inject(&mut headers));
            let called = tracing::info_span!(parent: None, "called");
            take_parent(&headers, &called);
            let ((trace, id), (called_trace, called_id)) = (ids(&caller), ids(&called));
            assert_eq!(called_trace, trace);
            assert_ne!(called_id, id);
        });
    }

    #[test]
    fn a_call_outside_any_trace_carries_none() {
        let mut headers = HeaderMap::new();
        inject(&mut headers);
        assert!(headers.is_empty());
    }
}
