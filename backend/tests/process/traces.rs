//! What a collector of traces gets, and what is in the log about them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;

use crate::common::{Database, Kind, PATIENCE, Process};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A collector that takes spans over HTTP.
#[derive(Clone)]
struct Collector {
    addr: SocketAddr,
    got: Arc<Mutex<Got>>,
}

#[derive(Default)]
struct Got {
    /// Whoever sent them, once for each request.
    resources: Vec<Vec<KeyValue>>,
    spans: Vec<Span>,
    api_keys: Vec<String>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let collector = Self {
            addr: listener.local_addr().expect("it is bound"),
            got: Arc::default(),
        };
        let router = Router::new().fallback(take).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        collector
    }

    fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Ends the server, and gives what it said of its requests: the collector has all of it then.
    async fn spans_of(&self, server: &mut Process) -> Vec<Span> {
        server.signal("TERM");
        assert_eq!(server.end().await, Some(0));
        std::mem::take(&mut self.got.lock().expect("no panic elsewhere").spans)
    }
}

async fn take(State(collector): State<Collector>, uri: Uri, headers: HeaderMap, body: Bytes) {
    assert_eq!(
        (uri.path(), &headers["content-type"]),
        ("/v1/traces", &"application/x-protobuf".parse().expect("a value"))
    );
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP as protobuf");
    let mut got = collector.got.lock().expect("no panic elsewhere");
    got.api_keys
        .extend(headers.get("x-api-key").and_then(|key| key.to_str().ok()).map(str::to_owned));
    for resource in request.resource_spans {
        got.resources.push(resource.resource.unwrap_or_default().attributes);
        got.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
    }
}

/// An attribute as text; nothing when it is not there.
fn attribute(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        None => String::new(),
        Some(other) => panic!("{name} is {other:?}"),
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let all: Vec<_> = spans.iter().map(|span| &span.name).collect();
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {all:?}");
    found[0]
}

/// The trace of the one line about this path.
async fn logged(server: &mut Process, path: &str) -> serde_json::Value {
    let lines = server.log().await;
    let line = lines.into_iter().find(|line| line["path"] == path);
    line.expect("it is logged")["trace_id"].take()
}

#[tokio::test]
async fn a_request_is_a_span_below_the_one_that_it_names_and_above_those_of_its_statements() {
    let collector = Collector::start().await;
    let database = Database::new(Kind::Sqlite).await;
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=a-key".into()),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test".into()),
    ];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut server = Process::start(&database.url, &environment).await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    // The first one that waits for the schema would see none yet.
    server.until_ready().await;
    let ask = server
        .get("/users/7?secret=1")
        .header("traceparent", &parent)
        .header("user-agent", "tester/1.0");
    assert_eq!(ask.header("tracestate", "vendor=noted").await.status, 404);
    let spans = collector.spans_of(&mut server).await;
    let spans: Vec<Span> = spans.into_iter().filter(|span| hex(&span.trace_id) == TRACE).collect();

    let request = named(&spans, "GET /users/{id}");
    assert_eq!(hex(&request.parent_span_id), "00f067aa0ba902b7");
    assert_eq!((request.kind, request.trace_state.as_str()), (2, "vendor=noted"));
    assert!(request.end_time_unix_nano >= request.start_time_unix_nano && request.start_time_unix_nano > 0);
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/users/{id}"),
        ("http.response.status_code", "404"),
        ("url.path", "/users/7"),
        ("url.scheme", "http"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "tester/1.0"),
        ("error.type", ""),
    ] {
        assert_eq!(attribute(&request.attributes, name), value, "{name}");
    }
    assert!(
        request
            .attributes
            .iter()
            .all(|attribute| !format!("{attribute:?}").contains("secret"))
    );

    let statement = named(&spans, "sqlite");
    assert_eq!((&statement.parent_span_id, statement.kind), (&request.span_id, 3));
    assert_eq!(attribute(&statement.attributes, "db.system.name"), "sqlite");
    assert_eq!(spans.len(), 2);

    let got = std::mem::take(&mut *collector.got.lock().expect("no panic elsewhere"));
    for (name, value) in [
        ("service.name", "backend"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("deployment.environment.name", "test"),
    ] {
        assert_eq!(attribute(&got.resources[0], name), value, "{name}");
    }
    assert!(!got.api_keys.is_empty() && got.api_keys.iter().all(|key| key == "a-key"));
    assert_eq!(logged(&mut server, "/users/7").await, TRACE);
}

#[tokio::test]
async fn a_request_without_a_trace_begins_one_and_who_does_not_sample_gets_none() {
    let collector = Collector::start().await;
    let database = Database::new(Kind::Sqlite).await;
    let url = collector.url();
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_SERVICE_NAME", "users-api")];
    let mut server = Process::start(&database.url, &environment).await;
    server.until_ready().await;
    assert_eq!(server.get("/begins").await.status, 404);
    let unsampled = format!("00-{TRACE}-00f067aa0ba902b7-00");
    assert_eq!(server.get("/not-sampled").header("traceparent", &unsampled).await.status, 404);
    let malformed = format!("00-{TRACE}-0000000000000000-01");
    assert_eq!(server.ask("BREW", "/malformed").header("traceparent", &malformed).await.status, 404);
    let spans = collector.spans_of(&mut server).await;
    let of = |path| spans.iter().find(|span| attribute(&span.attributes, "url.path") == path);
    assert!(of("/not-sampled").is_none());
    let (begun, malformed) = (of("/begins").expect("a span"), of("/malformed").expect("a span"));
    assert_eq!((begun.name.as_str(), begun.parent_span_id.len()), ("GET", 0));
    assert_eq!((malformed.name.as_str(), malformed.parent_span_id.len()), ("HTTP", 0));
    assert_eq!(attribute(&malformed.attributes, "http.request.method"), "_OTHER");
    assert_ne!(hex(&malformed.trace_id), TRACE);
    let name = attribute(&collector.got.lock().expect("no panic elsewhere").resources[0], "service.name");
    assert_eq!(name, "users-api");
    let lines = server.log().await;
    let logged = |path: &str| lines.iter().find(|line| line["path"] == path).expect("it is logged")["trace_id"].clone();
    assert_eq!(logged("/begins"), hex(&begun.trace_id));
    assert_eq!(logged("/not-sampled"), TRACE);
}

#[tokio::test]
async fn a_server_that_fails_says_so_in_its_span() {
    let collector = Collector::start().await;
    let mut server = Process::start("postgres://u@127.0.0.1:1/d", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())]).await;
    assert_eq!(server.get("/users/7").await.status, 503);
    let spans = collector.spans_of(&mut server).await;
    let request = named(&spans, "GET /users/{id}");
    assert_eq!(attribute(&request.attributes, "error.type"), "503");
    assert_eq!(request.status.as_ref().map(|status| status.code), Some(2));
    let statement = named(&spans, "postgresql");
    assert_eq!(attribute(&statement.attributes, "error.type"), "unavailable");
    assert_eq!(statement.status.as_ref().map(|status| status.code), Some(2));
}

#[tokio::test]
async fn without_a_collector_the_log_names_the_trace_that_a_request_names() {
    let database = Database::new(Kind::Sqlite).await;
    let mut server = Process::start(&database.url, &[]).await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-00");
    server.get("/with").header("traceparent", &parent).await;
    server.get("/without").await;
    server.signal("TERM");
    assert_eq!(server.end().await, Some(0));
    let lines = server.log().await;
    let of = |path: &str| lines.iter().find(|line| line["path"] == path).expect("it is logged");
    assert_eq!(of("/with")["trace_id"], TRACE);
    assert!(of("/without").get("trace_id").is_none());
}

/// Serves a few requests, and ends in time all the same. What it said about the collector.
async fn with_collector_at(addr: &str) -> Vec<String> {
    let database = Database::new(Kind::Sqlite).await;
    let url = format!("http://{addr}");
    let mut server = Process::start(&database.url, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]).await;
    server.until_ready().await;
    for _ in 0..50 {
        assert_eq!(server.get("/users").await.status, 200);
    }
    let asked = Instant::now();
    server.signal("TERM");
    assert_eq!(server.end().await, Some(0));
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    let lines = server.log().await.into_iter();
    lines
        .filter_map(|line| line["message"].as_str().map(str::to_owned))
        .filter(|message| message.contains("span"))
        .collect()
}

#[tokio::test]
async fn a_collector_that_is_away_costs_a_line_in_the_log() {
    let mut lines = with_collector_at("127.0.0.1:1").await;
    lines.retain(|line| line.starts_with("the collector"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("the collector of traces took none of ") && lines[0].contains("refused"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_collector_that_hangs_is_not_waited_for() {
    // It accepts connections (the kernel does), and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let lines = with_collector_at(&silent.local_addr().expect("it is bound").to_string()).await;
    assert!(lines.iter().any(|line| line.starts_with("the last spans may be lost")), "{lines:?}");
}

#[tokio::test]
async fn a_protocol_that_it_does_not_speak_is_refused_at_the_start() {
    let environment = [
        ("AUTH", "off"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ];
    let output = crate::common::run(&["serve"], &environment).await;
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf"), "{said}");
}
