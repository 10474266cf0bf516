//! What Prometheus asks for.
//!
//! Every label has a bounded number of values: routes by their template, methods that the API does not know as `other`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::Method;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use prometheus::core::Collector;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TEXT_FORMAT, TextEncoder,
};

use super::App;
use crate::error::Problem;
use crate::store::{PoolStatus, ServerStatus};

/// Seconds; most answers take less than a millisecond.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The metrics that are counted request by request. Those of the database are read when asked for.
pub(super) struct Metrics {
    requests: IntCounterVec,
    durations: HistogramVec,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let requests = Opts::new("backend_http_requests_total", "Requests answered.");
        let durations = HistogramOpts::new("backend_http_request_duration_seconds", "From a request's head to its answer's.");
        #[expect(
            clippy::expect_used,
            reason = "fails only for malformed names, and these are constants that every test uses"
        )]
        Self {
            requests: IntCounterVec::new(requests, &["method", "route", "status"]).expect("the names are well formed"),
            durations: HistogramVec::new(durations.buckets(BUCKETS.to_vec()), &["method", "route"]).expect("the names are well formed"),
        }
    }

    /// Counts one request.
    pub(super) fn request(&self, method: &Method, route: Option<&str>, status: u16, duration: Duration) {
        let method = match method.as_str() {
            known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
            _ => "other",
        };
        let route = route.unwrap_or("none");
        let mut digits = itoa::Buffer::new();
        self.requests.with_label_values(&[method, route, digits.format(status)]).inc();
        self.durations.with_label_values(&[method, route]).observe(duration.as_secs_f64());
    }

    fn render(&self, pool: PoolStatus, servers: &[ServerStatus], log_dropped: u64) -> prometheus::Result<Vec<u8>> {
        let registry = Registry::new();
        registry.register(Box::new(self.requests.clone()))?;
        registry.register(Box::new(self.durations.clone()))?;
        let used = pool.open.saturating_sub(pool.idle);
        registry.register(gauge(
            "backend_db_connections_max",
            "Most connections to the database at once.",
            pool.max,
        )?)?;
        registry.register(gauge(
            "backend_db_connections_idle",
            "Connections to the database that wait for work.",
            pool.idle,
        )?)?;
        registry.register(gauge("backend_db_connections_used", "Connections to the database at work.", used)?)?;
        registry.register(counter(
            "backend_db_queries_total",
            "Statements sent to the database.",
            pool.statements,
        )?)?;
        registry.register(counter(
            "backend_log_lines_dropped_total",
            "Lines of the log that could not be written.",
            log_dropped,
        )?)?;
        if !servers.is_empty() {
            for collector in of_servers(servers)? {
                registry.register(collector)?;
            }
        }
        let mut text = Vec::with_capacity(4096);
        TextEncoder::new().encode(&registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// What is told of each server of the database, where there are several.
fn of_servers(servers: &[ServerStatus]) -> prometheus::Result<Vec<Box<dyn Collector>>> {
    let gauges = |name: &str, help: &str, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
    let connections = gauges("backend_db_server_connections", "Connections to a server.", &["server", "state"])?;
    let healthy = gauges("backend_db_server_healthy", "1 for a server that is used.", &["server"])?;
    let primary = gauges("backend_db_server_primary", "1 for the server that is written to.", &["server"])?;
    let lag = gauges(
        "backend_db_server_lag_bytes",
        "How much of the log a server has not replayed.",
        &["server"],
    )?;
    let queries = IntCounterVec::new(
        Opts::new("backend_db_server_queries_total", "Statements sent to a server."),
        &["server"],
    )?;
    for server in servers {
        let (name, pool) = (server.name.as_str(), server.pool);
        connections.with_label_values(&[name, "idle"]).set(pool.idle.into());
        let used = pool.open.saturating_sub(pool.idle);
        connections.with_label_values(&[name, "used"]).set(used.into());
        healthy.with_label_values(&[name]).set(server.healthy.into());
        primary.with_label_values(&[name]).set(server.primary.into());
        lag.with_label_values(&[name]).set(i64::try_from(server.lag).unwrap_or(i64::MAX));
        queries.with_label_values(&[name]).inc_by(pool.statements);
    }
    Ok(vec![
        Box::new(connections),
        Box::new(healthy),
        Box::new(primary),
        Box::new(lag),
        Box::new(queries),
    ])
}

fn gauge(name: &str, help: &str, value: u32) -> prometheus::Result<Box<dyn Collector>> {
    let gauge = IntGauge::new(name, help)?;
    gauge.set(value.into());
    Ok(Box::new(gauge))
}

fn counter(name: &str, help: &str, value: u64) -> prometheus::Result<Box<dyn Collector>> {
    let counter = IntCounter::new(name, help)?;
    counter.inc_by(value);
    Ok(Box::new(counter))
}

/// For Prometheus
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let text = app
        .metrics
        .render(app.store.pool(), &app.store.servers(), app.log.dropped())
        .map_err(|e| Problem::internal(e.to_string()))?;
    Ok(([(CONTENT_TYPE, TEXT_FORMAT), (CACHE_CONTROL, "no-store")], text).into_response())
}
