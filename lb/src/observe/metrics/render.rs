//! Metrics as Prometheus' text format has them.
//!
//! The families are put together here and written out by the `prometheus` crate's encoder, which knows how labels are escaped. Families
//! and series come in a fixed order, so that two scrapes can be compared by eye.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::TextEncoder;
use prometheus::proto;

use super::{CacheOutcome, Handles, METHODS, Metrics, MirrorOutcome, Snapshot, UpstreamMetrics};
use crate::observe::{REVISION, VERSION};

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What others know, at the moment of a scrape.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    /// All upstreams, each once.
    pub upstreams: Vec<UpstreamGauges>,
    /// The servers of all upstreams. Of two with the same names the first counts.
    pub servers: Vec<ServerGauges>,
    /// Bytes in the cache.
    pub cache_bytes: u64,
    /// Objects in the cache.
    pub cache_objects: u64,
    /// Purges of the cache by this process, and by others that share it.
    pub cache_purges: [u64; 2],
    /// Commands and connections to the cache's Redis that failed.
    pub cache_redis_errors: u64,
    /// Client connections.
    pub connections: u64,
}

/// What is known of one server, at the moment of a scrape.
#[derive(Debug, Clone)]
pub struct ServerGauges {
    /// Its upstream.
    pub upstream: Arc<str>,
    /// Its own name.
    pub server: Arc<str>,
    /// Requests under way.
    pub active: u64,
    /// Whether it gets traffic as far as checks and ejection go.
    pub healthy: bool,
    /// How often it was ejected.
    pub ejections: u64,
    /// The requests at once that it was found to take; `None`: nobody looks.
    pub concurrency_limit: Option<u64>,
}

/// What is known of one upstream, at the moment of a scrape.
#[derive(Debug, Clone)]
pub struct UpstreamGauges {
    /// Its name.
    pub upstream: Arc<str>,
    /// Requests that wait for a server.
    pub queued: u64,
    /// Whether its circuit is open or half-open.
    pub circuit_open: bool,
    /// How often it has begun to use ejected servers because too few others were healthy.
    pub panics: u64,
}

impl Metrics {
    /// Everything as text, of the type [`CONTENT_TYPE`].
    pub fn render(&self, gauges: &Gauges) -> String {
        let mut page = Page::default();
        {
            let handles = self.handles();
            routes(&handles, &mut page);
            upstreams(&handles, &mut page);
        }
        admission(&gauges.upstreams, &mut page);
        servers(&gauges.servers, &mut page);
        let panics = gauges.upstreams.iter();
        page.counter(
            "lb_upstream_panic_total",
            "Times that an upstream began to use ejected servers because too few others were healthy.",
            panics.map(|state| (labels([("upstream", &state.upstream)]), state.panics)),
        );
        self.process(gauges, &mut page);
        page.encode()
    }

    fn process(&self, gauges: &Gauges, page: &mut Page) {
        let one = |value| [(labels([]), value)];
        page.gauge("lb_cache_bytes", "Bytes that stored responses take.", one(gauges.cache_bytes));
        page.gauge("lb_cache_objects", "Stored responses.", one(gauges.cache_objects));
        let [here, others] = gauges.cache_purges;
        let purges = [("here", here), ("others", others)].map(|(from, count)| (labels([("from", from)]), count));
        page.counter("lb_cache_purges_total", "Purges of the cache, by whose they were.", purges);
        page.counter(
            "lb_cache_redis_errors_total",
            "Commands and connections to the cache's Redis that failed.",
            one(gauges.cache_redis_errors),
        );
        page.gauge("lb_connections", "Client connections.", one(gauges.connections));
        let limited = (labels([("limit", "max_connections_per_ip")]), self.connections_limited.get());
        page.counter(
            "lb_rate_limited_total",
            "What was refused because of a limit on clients.",
            [limited],
        );
        let reloads = [("ok", &self.reloads_ok), ("error", &self.reloads_failed)];
        let reloads = reloads.map(|(result, counter)| (labels([("result", result)]), counter.get()));
        page.counter("lb_config_reloads_total", "Reloads of the configuration.", reloads);
        let dropped = one(self.access_log_dropped.get());
        page.counter(
            "lb_access_log_dropped_total",
            "Lines of the access log that were lost as it could not be written.",
            dropped,
        );
        let build = labels([("version", VERSION), ("revision", REVISION)]);
        page.gauge("lb_build_info", "Which program this is; always 1.", [(build, 1)]);
    }
}

fn routes(handles: &Handles, page: &mut Page) {
    let mut requests = Vec::new();
    for (route, metrics) in &handles.routes {
        for (method, codes) in METHODS.iter().zip(&metrics.requests) {
            codes.each(|code, count| requests.push((labels([("route", route), ("method", method), ("code", &code.to_string())]), count)));
        }
    }
    page.counter("lb_requests_total", "Requests of clients.", requests);
    let durations = handles
        .routes
        .iter()
        .map(|(route, metrics)| (labels([("route", route)]), metrics.duration.snapshot()));
    page.histogram(
        "lb_request_duration_seconds",
        "From a request's first byte to its response's end.",
        durations,
    );
    let cached = handles
        .routes
        .iter()
        .filter(|(_, metrics)| metrics.cache.iter().any(|counter| counter.get() > 0));
    let outcomes = cached.flat_map(|(route, metrics)| {
        let outcomes = CacheOutcome::ALL.iter().zip(&metrics.cache);
        outcomes.map(|(outcome, counter)| (labels([("route", route), ("status", outcome.name())]), counter.get()))
    });
    page.counter(
        "lb_cache_requests_total",
        "Requests on cached routes, by what the cache did.",
        outcomes,
    );
    let mirrored = handles
        .routes
        .iter()
        .map(|(route, metrics)| (route, &metrics.mirrored.outcomes))
        .filter(|(_, outcomes)| outcomes.iter().any(|counter| counter.get() > 0));
    let mirrored = mirrored.flat_map(|(route, outcomes)| {
        let outcomes = MirrorOutcome::ALL.iter().zip(outcomes);
        outcomes.map(|(outcome, counter)| (labels([("route", route), ("result", outcome.name())]), counter.get()))
    });
    page.counter("lb_mirrored_total", "Copies of requests, by what became of them.", mirrored);
}

fn upstreams(handles: &Handles, page: &mut Page) {
    let mut requests = Vec::new();
    for ((upstream, server), metrics) in &handles.servers {
        metrics.each_code(|code, count| {
            requests.push((
                labels([("upstream", upstream), ("server", server), ("code", &code.to_string())]),
                count,
            ));
        });
    }
    page.counter("lb_upstream_requests_total", "Tries of requests on servers.", requests);
    let latencies = handles
        .upstreams
        .iter()
        .map(|(upstream, metrics)| (labels([("upstream", upstream)]), metrics.latency()));
    page.histogram(
        "lb_upstream_latency_seconds",
        "From a try's begin to the end of the response's head.",
        latencies,
    );
    let retries = handles
        .upstreams
        .iter()
        .map(|(upstream, metrics)| (labels([("upstream", upstream)]), metrics.retries()));
    page.counter("lb_retries_total", "Tries after one that failed.", retries);
    let hedges = handles
        .upstreams
        .iter()
        .map(|(upstream, metrics)| (labels([("upstream", upstream)]), metrics.hedges()));
    page.counter("lb_hedges_total", "Second servers asked because the first one was slow.", hedges);
    let each = |value: fn(&UpstreamMetrics) -> u64| {
        let upstreams = handles.upstreams.iter();
        upstreams.map(move |(upstream, metrics)| (labels([("upstream", upstream)]), value(metrics)))
    };
    page.counter(
        "lb_queue_overflows_total",
        "Requests that found the queue for a server full.",
        each(|metrics| metrics.queue_overflows.get()),
    );
    page.counter(
        "lb_queue_timeouts_total",
        "Requests that waited for a server in vain.",
        each(|metrics| metrics.queue_timeouts.get()),
    );
    page.counter(
        "lb_discovery_failures_total",
        "Looks for servers (dns://, file://) that failed.",
        each(UpstreamMetrics::discovery_failures),
    );
}

fn admission(upstreams: &[UpstreamGauges], page: &mut Page) {
    let each = |value: fn(&UpstreamGauges) -> u64| {
        let upstreams = upstreams.iter();
        upstreams.map(move |upstream| (labels([("upstream", &*upstream.upstream)]), value(upstream)))
    };
    page.gauge(
        "lb_queue_requests",
        "Requests that wait for a server.",
        each(|upstream| upstream.queued),
    );
    page.gauge(
        "lb_circuit_open",
        "1 where requests are refused because too many have failed, else 0.",
        each(|upstream| upstream.circuit_open.into()),
    );
}

fn servers(servers: &[ServerGauges], page: &mut Page) {
    let mut sorted = BTreeMap::new();
    for server in servers {
        sorted.entry((&*server.upstream, &*server.server)).or_insert(server);
    }
    let each = |value: fn(&ServerGauges) -> u64| {
        sorted
            .iter()
            .map(move |(&(upstream, name), server)| (labels([("upstream", upstream), ("server", name)]), value(server)))
    };
    page.gauge(
        "lb_upstream_active_requests",
        "Requests under way on a server.",
        each(|server| server.active),
    );
    page.gauge(
        "lb_upstream_healthy",
        "1 where a server is healthy, else 0.",
        each(|server| server.healthy.into()),
    );
    let limits = sorted.iter().filter_map(|(&(upstream, name), server)| {
        let limit = server.concurrency_limit?;
        Some((labels([("upstream", upstream), ("server", name)]), limit))
    });
    page.gauge(
        "lb_upstream_concurrency_limit",
        "Requests that may wait for a server's answers at once, as was learned.",
        limits,
    );
    page.counter(
        "lb_upstream_ejections_total",
        "Ejections of a server.",
        each(|server| server.ejections),
    );
}

type Labels = Vec<proto::LabelPair>;

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    let pair = |(name, value): (&str, &str)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    pairs.map(pair).into()
}

/// Families in the making.
#[derive(Default)]
struct Page(Vec<proto::MetricFamily>);

impl Page {
    fn counter(&mut self, name: &str, help: &str, series: impl IntoIterator<Item = (Labels, u64)>) {
        self.family(name, help, proto::MetricType::COUNTER, series, |metric, value| {
            let mut counter = proto::Counter::default();
            counter.set_value(value as f64);
            metric.set_counter(counter);
        });
    }

    fn gauge(&mut self, name: &str, help: &str, series: impl IntoIterator<Item = (Labels, u64)>) {
        self.family(name, help, proto::MetricType::GAUGE, series, |metric, value| {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value as f64);
            metric.set_gauge(gauge);
        });
    }

    fn histogram(&mut self, name: &str, help: &str, series: impl IntoIterator<Item = (Labels, Snapshot)>) {
        self.family(name, help, proto::MetricType::HISTOGRAM, series, |metric, snapshot| {
            let mut histogram = proto::Histogram::default();
            let buckets = snapshot.cumulative().map(|(bound, count)| {
                let mut bucket = proto::Bucket::default();
                bucket.set_upper_bound(bound);
                bucket.set_cumulative_count(count);
                bucket
            });
            histogram.set_bucket(buckets.collect()); // the encoder adds the infinite one
            histogram.set_sample_count(snapshot.count());
            histogram.set_sample_sum(snapshot.sum.as_secs_f64());
            metric.set_histogram(histogram);
        });
    }

    fn family<V>(
        &mut self,
        name: &str,
        help: &str,
        kind: proto::MetricType,
        series: impl IntoIterator<Item = (Labels, V)>,
        set: impl Fn(&mut proto::Metric, V),
    ) {
        let metrics: Vec<_> = series
            .into_iter()
            .map(|(labels, value)| {
                let mut metric = proto::Metric::from_label(labels);
                set(&mut metric, value);
                metric
            })
            .collect();
        if metrics.is_empty() {
            return; // the encoder takes a family without series for a mistake
        }
        let mut family = proto::MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }

    fn encode(self) -> String {
        let mut text = String::new();
        // It fails only for a family without a name or series, of which there is none here.
        if let Err(error) = TextEncoder::new().encode_utf8(&self.0, &mut text) {
            tracing::error!(%error, "metrics cannot be shown");
        }
        text
    }
}
