//! Counters, gauges and histograms for Prometheus.
//!
//! A metric family has a name and labels; each combination of label values is a series of its own. Finding a series by its labels costs a
//! hash and a lock, which no request should pay. So the builder of a snapshot asks [`Metrics`] for **handles** by name, once: a route's,
//! an upstream's, a server's. Within a handle everything is found by index, and a request costs a few relaxed atomic additions.
//! Names and labels become text only when somebody scrapes ([`render`](Metrics::render)).
//!
//! What others count already (requests in flight, health, stored bytes) is not counted again here: the caller of `render` hands it over
//! as [`Gauges`].
//!
//! Handles are kept by name, so that a reload finds the same numbers again; [`Metrics::retain`] forgets those that no snapshot names any
//! more. A request that still holds such a handle adds to numbers that nobody sees.
//!
//! Conventions: `code` is the status as a number, 499 for a client that left before its response began. A request that matched no route
//! counts for the route `-` ([`NO_ROUTE`]). A method that HTTP does not define is `other`. A try that got no response from its server
//! counts as nginx would show it in `$upstream_status`: 502, after a timeout 504.

mod codes;
mod counter;
mod histogram;
mod render;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};

use codes::Codes;
pub use counter::Counter;
pub use histogram::{Histogram, Snapshot};
pub use render::{CONTENT_TYPE, Gauges, ServerGauges, UpstreamGauges};

/// The `route` of requests that matched none.
pub const NO_ROUTE: &str = "-";

/// All metrics of the process.
#[derive(Default)]
pub struct Metrics {
    handles: Mutex<Handles>,
    reloads_ok: Counter,
    reloads_failed: Counter,
    access_log_dropped: Arc<Counter>,
    connections_limited: Counter,
}

/// By name, in the order in which they are shown.
#[derive(Default)]
struct Handles {
    routes: BTreeMap<Arc<str>, Arc<RouteMetrics>>,
    upstreams: BTreeMap<Arc<str>, Arc<UpstreamMetrics>>,
    servers: BTreeMap<(Arc<str>, Arc<str>), Arc<ServerMetrics>>,
}

impl Metrics {
    /// With no series but those of the process itself.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The handle of a route.
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        Arc::clone(self.handles().routes.entry(name.into()).or_default())
    }

    /// The handle of an upstream.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        Arc::clone(self.handles().upstreams.entry(name.into()).or_default())
    }

    /// The handle of a server in an upstream.
    pub fn server(&self, upstream: &str, server: &str) -> Arc<ServerMetrics> {
        Arc::clone(self.handles().servers.entry((upstream.into(), server.into())).or_default())
    }

    /// Forgets every route, upstream, and server (upstream, server) that the caller does not name, but for [`NO_ROUTE`].
    pub fn retain(&self, route: impl Fn(&str) -> bool, upstream: impl Fn(&str) -> bool, server: impl Fn(&str, &str) -> bool) {
        let mut handles = self.handles();
        handles.routes.retain(|name, _| **name == *NO_ROUTE || route(name));
        handles.upstreams.retain(|name, _| upstream(name));
        handles.servers.retain(|(of, name), _| server(of, name));
    }

    /// Reloads that worked, and those that did not.
    pub fn reloads(&self) -> (u64, u64) {
        (self.reloads_ok.get(), self.reloads_failed.get())
    }

    /// Counts a reload.
    pub fn reloaded(&self, ok: bool) {
        if ok { &self.reloads_ok } else { &self.reloads_failed }.add(1);
    }

    /// Counts a connection that was refused because its client has `max_connections_per_ip`.
    pub fn connection_limited(&self) {
        self.connections_limited.add(1);
    }

    /// Where the access log counts the lines that it lost.
    pub fn access_log_dropped(&self) -> Arc<Counter> {
        Arc::clone(&self.access_log_dropped)
    }

    fn handles(&self) -> MutexGuard<'_, Handles> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner) // a map is whole whatever its user did
    }
}

/// What the cache did for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheOutcome {
    /// Served from the store, fresh.
    Hit,
    /// Not in the store.
    Miss,
    /// Served from the store, though no longer fresh.
    Stale,
    /// Served from the store after the server had said that it is still right.
    Revalidated,
    /// The cache was not asked.
    Bypass,
}

impl CacheOutcome {
    const ALL: [Self; 5] = [Self::Hit, Self::Miss, Self::Stale, Self::Revalidated, Self::Bypass];

    /// As it stands in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Bypass => "bypass",
        }
    }
}

/// The methods that have a label of their own; the last stands for all others.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "other",
];

fn method_index(method: Option<&Method>) -> usize {
    match method {
        Some(&Method::GET) => 0,
        Some(&Method::HEAD) => 1,
        Some(&Method::POST) => 2,
        Some(&Method::PUT) => 3,
        Some(&Method::PATCH) => 4,
        Some(&Method::DELETE) => 5,
        Some(&Method::OPTIONS) => 6,
        Some(&Method::CONNECT) => 7,
        Some(&Method::TRACE) => 8,
        _ => 9,
    }
}

/// The numbers of one route.
#[derive(Default)]
pub struct RouteMetrics {
    requests: [Codes; METHODS.len()],
    duration: Histogram,
    cache: [Counter; CacheOutcome::ALL.len()],
}

impl RouteMetrics {
    /// Counts a request that is over. No method: its head could not be read.
    pub fn done<'a>(&self, method: impl Into<Option<&'a Method>>, status: StatusCode, duration: Duration) {
        self.requests[method_index(method.into())].add(status);
        self.duration.observe(duration);
    }

    /// Counts what the cache did for a request.
    pub fn cache(&self, outcome: CacheOutcome) {
        self.cache[outcome as usize].add(1);
    }

    /// Requests so far, by status.
    pub fn each_code(&self, mut each: impl FnMut(u16, u64)) {
        self.requests.iter().for_each(|codes| codes.each(&mut each));
    }

    /// How long requests took.
    pub fn duration(&self) -> Snapshot {
        self.duration.snapshot()
    }
}

/// The numbers of one upstream.
#[derive(Default)]
pub struct UpstreamMetrics {
    latency: Histogram,
    retries: Counter,
    queue_overflows: Counter,
    queue_timeouts: Counter,
}

impl UpstreamMetrics {
    /// Takes note of how long a server took, to the end of its response's head.
    pub fn answered(&self, latency: Duration) {
        self.latency.observe(latency);
    }

    /// Counts a try that is not a request's first.
    pub fn retried(&self) {
        self.retries.add(1);
    }

    /// Retries so far.
    pub fn retries(&self) -> u64 {
        self.retries.get()
    }

    /// Counts a request that found the queue full.
    pub fn queue_overflowed(&self) {
        self.queue_overflows.add(1);
    }

    /// Counts a request that has waited for too long.
    pub fn queue_timed_out(&self) {
        self.queue_timeouts.add(1);
    }

    /// How long servers took.
    pub fn latency(&self) -> Snapshot {
        self.latency.snapshot()
    }
}

/// The numbers of one server.
#[derive(Default)]
pub struct ServerMetrics {
    requests: Codes,
}

impl ServerMetrics {
    /// Counts a try by its response; by 502, 504 or 499 where there was none.
    pub fn done(&self, status: StatusCode) {
        self.requests.add(status);
    }

    /// Tries so far, by status.
    pub fn each_code(&self, each: impl FnMut(u16, u64)) {
        self.requests.each(each);
    }
}

#[cfg(test)]
mod tests;
