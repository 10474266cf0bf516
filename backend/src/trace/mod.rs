//! Traces, by OpenTelemetry: what a request was, and how long it was with the database, for a collector that puts it beside what others tell.
//!
//! A request belongs to the trace that its `traceparent` names ([`parent`]), which is in its line in the log in any case. Spans are made only where
//! a collector is named. They are handed over on a thread of its own, through a bounded queue: a request never waits for a collector, and
//! what finds no room is dropped.

mod collector;
mod context;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use opentelemetry::trace::{Span as _, SpanContext, SpanKind, Status, TraceContextExt, Tracer as _, TracerProvider};
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider, Span};

pub use context::{Parent, parent};
pub use opentelemetry::trace::{FutureExt, TraceId};

use crate::settings::TraceSettings;
use crate::store::StoreError;

/// How long the end of the process waits until the collector has the last spans.
const FINISH: Duration = Duration::from_secs(5);

/// What `OTEL_SERVICE_NAME` says by default.
const SERVICE: &str = "backend";

/// The traces of the process.
pub struct Traces {
    provider: SdkTracerProvider,
}

/// Begins spans.
#[derive(Clone)]
pub struct Tracer(SdkTracer);

impl Traces {
    /// Starts the thread that hands spans over. What is not in the settings the SDK reads from the environment: `OTEL_TRACES_SAMPLER`,
    /// `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_BSP_…`. Must be called within a runtime.
    ///
    /// # Errors
    /// When an exporter cannot be made of the settings.
    pub fn start(settings: &TraceSettings) -> anyhow::Result<Self> {
        let exporter = collector::exporter(settings).context("cannot export traces")?;
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).build())
            .with_resource(resource())
            .build();
        Ok(Self { provider })
    }

    /// What begins spans.
    pub fn tracer(&self) -> Tracer {
        Tracer(self.provider.tracer(SERVICE))
    }

    /// Hands over what is left, for a few seconds at most. Spans that end later are lost.
    pub async fn finish(self) {
        let finished = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(FINISH));
        match finished.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!("the last spans may be lost: {e}"),
            Err(e) => tracing::warn!("the last spans may be lost: {e}"),
        }
    }
}

/// Who tells: by the environment, and by default under this program's name.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let named = Resource::builder().build();
    let name = named.get(&Key::from_static_str("service.name"));
    let is_given = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let builder = Resource::builder().with_attribute(version);
    if is_given { builder } else { builder.with_service_name(SERVICE) }.build()
}

/// The span of one request.
pub struct RequestSpan(Context);

impl RequestSpan {
    /// Begins it, within the trace that the request names, if it names one.
    pub fn begin<B>(tracer: &Tracer, parent: Option<Parent>, request: &Request<B>, route: Option<&str>, client: IpAddr) -> Self {
        let (name, attributes) = described(request, route, client);
        let above = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent.span_context(request.headers())),
            None => Context::new(),
        };
        let builder = tracer.0.span_builder(name).with_kind(SpanKind::Server).with_attributes(attributes);
        let span = tracer.0.build_with_context(builder, &above);
        Self(Context::new().with_span(span).with_value(tracer.clone()))
    }

    /// Its trace.
    pub fn trace_id(&self) -> TraceId {
        self.0.span().span_context().trace_id()
    }

    /// What the work for the request is to be done in.
    pub fn context(&self) -> Context {
        self.0.clone()
    }

    /// The answer is there, or nobody waits for it any longer. `error`: why the server could not do it.
    pub fn end(&self, status: u16, error: Option<&str>) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        // What is the client's mistake is no error of a server's span.
        if StatusCode::from_u16(status).is_ok_and(|status| status.is_server_error()) {
            span.set_attribute(KeyValue::new("error.type", status.to_string()));
            span.set_status(Status::error(error.unwrap_or_default().to_owned()));
        }
        span.end();
    }
}

/// Name and attributes, by the semantic conventions for HTTP servers. The query is left out, as in the log.
fn described<B>(request: &Request<B>, route: Option<&str>, client: IpAddr) -> (String, Vec<KeyValue>) {
    let is_known = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE | Method::OPTIONS
    );
    let method = if is_known { request.method().as_str() } else { "_OTHER" };
    let mut attributes = Vec::with_capacity(8);
    attributes.push(KeyValue::new("http.request.method", method.to_owned()));
    if !is_known {
        attributes.push(KeyValue::new("http.request.method_original", request.method().as_str().to_owned()));
    }
    attributes.push(KeyValue::new("url.path", request.uri().path().to_owned()));
    attributes.push(KeyValue::new("url.scheme", "http"));
    attributes.push(KeyValue::new("client.address", client.to_string()));
    let version = match request.version() {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    };
    attributes.push(KeyValue::new("network.protocol.version", version));
    if let Some(agent) = text(request.headers(), http::header::USER_AGENT) {
        attributes.push(KeyValue::new("user_agent.original", agent.to_owned()));
    }
    let method = if is_known { method } else { "HTTP" };
    let Some(route) = route else {
        return (method.to_owned(), attributes);
    };
    attributes.push(KeyValue::new("http.route", route.to_owned()));
    (format!("{method} {route}"), attributes)
}

fn text(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The span of a statement in the database, with the wait for a connection.
pub struct StatementSpan(Span);

impl StatementSpan {
    /// Begins it, where it is done for a request that is recorded.
    pub fn begin(database: &str) -> Option<Self> {
        Context::map_current(|context| {
            let tracer = context.get::<Tracer>().filter(|_| context.span().is_recording())?;
            let system = if database == "PostgreSQL" { "postgresql" } else { "sqlite" };
            let builder = tracer.0.span_builder(system).with_kind(SpanKind::Client);
            let builder = builder.with_attributes([KeyValue::new("db.system.name", system)]);
            Some(Self(tracer.0.build_with_context(builder, context)))
        })
    }

    /// It is done.
    pub fn end<T>(mut self, outcome: &Result<T, StoreError>) {
        let kind = match outcome {
            // That an address is taken is an answer.
            Ok(_) | Err(StoreError::EmailTaken) => return,
            Err(StoreError::Unavailable(_)) => "unavailable",
            Err(StoreError::Broken(_)) => "broken",
        };
        self.0.set_attribute(KeyValue::new("error.type", kind));
        self.0.set_status(Status::error(kind));
    }
}

impl Parent {
    /// As the SDK has it.
    fn span_context(self, headers: &HeaderMap) -> SpanContext {
        SpanContext::new(self.trace, self.span, self.flags, true, context::state(headers))
    }
}
