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
use crate::auth::Auth;
use crate::cache::Cache;
use crate::count::Count;
use crate::error::Problem;
use crate::store::ServerStatus;

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

    fn render(&self, app: &App) -> prometheus::Result<Vec<u8>> {
        let (pool, log_dropped) = (app.store.pool(), app.log.dropped());
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
        let servers = app.store.servers();
        if !servers.is_empty() {
            for collector in of_servers(&servers)? {
                registry.register(collector)?;
            }
        }
        if let Some(cache) = &app.cache {
            register_cache(&registry, cache)?;
        }
        if let Some(auth) = &app.auth {
            register_auth(&registry, auth)?;
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

fn register_cache(registry: &Registry, cache: &Cache) -> prometheus::Result<()> {
    let (counts, status) = (cache.counts(), cache.status());
    let results: [(&str, &Count); 4] = [
        ("hit", &counts.hits),
        ("miss", &counts.misses),
        ("shared", &counts.shared),
        ("unused", &counts.unused),
    ];
    let help = "Reads, by what the cache did for them.";
    registry.register(counters("backend_cache_reads_total", help, "result", &results)?)?;
    let results: [(&str, &Count); 2] = [("stored", &counts.fills), ("refused", &counts.refused)];
    let help = "Fetches brought to the cache. Refused: a write came in between.";
    registry.register(counters("backend_cache_fills_total", help, "result", &results)?)?;
    let results: [(&str, &Count); 3] = [("write", &counts.told), ("outbox", &counts.told_later), ("none", &counts.untold)];
    let help = "Writes of which Redis was told, by whoever made them or found their notes; none: answered without.";
    registry.register(counters("backend_cache_invalidations_total", help, "by", &results)?)?;
    let help = "Calls of Redis for the cache that failed.";
    registry.register(counter("backend_cache_errors_total", help, counts.errors.get())?)?;
    let help = "Whether what is in the cache may be used: 1 or 0.";
    registry.register(gauge("backend_cache_trusted", help, status.holds.into())?)?;
    let help = "Whether the cache has a connection to Redis: 1 or 0.";
    registry.register(gauge("backend_cache_connected", help, status.connected.into())?)?;
    let help = "Notes of writes that lay in the outbox at the last look.";
    registry.register(gauge(
        "backend_cache_outbox_notes",
        help,
        u32::try_from(status.notes).unwrap_or(u32::MAX),
    )?)
}

fn register_auth(registry: &Registry, auth: &Auth) -> prometheus::Result<()> {
    let counts = auth.counts();
    let results: [(&str, &Count); 3] = [
        ("ok", &counts.logins),
        ("failed", &counts.logins_failed),
        ("limited", &counts.logins_limited),
    ];
    registry.register(counters("backend_auth_logins_total", "Logins.", "result", &results)?)?;
    let results: [(&str, &Count); 2] = [("ok", &counts.refreshes), ("refused", &counts.refreshes_refused)];
    registry.register(counters("backend_auth_refreshes_total", "Refreshes.", "result", &results)?)?;
    let help = "Refresh tokens that came a second time, and ended their sessions.";
    registry.register(counter("backend_auth_reuses_total", help, counts.reuses.get())?)
}

fn counters(name: &str, help: &str, label: &str, values: &[(&str, &Count)]) -> prometheus::Result<Box<dyn Collector>> {
    let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
    for (value, count) in values {
        counters.with_label_values(&[value]).inc_by(count.get());
    }
    Ok(Box::new(counters))
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
    let text = app.metrics.render(&app).map_err(|e| Problem::internal(e.to_string()))?;
    Ok(([(CONTENT_TYPE, TEXT_FORMAT), (CACHE_CONTROL, "no-store")], text).into_response())
}
