//! `/api/status`: the state of the process as JSON, for the `status` command and for scripts.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cache::Standing;
use crate::observe::{Gauges, ServerGauges, ServerMetrics, UpstreamGauges};
use crate::proxy::Proxy;
use crate::snapshot::{RouteState, UpstreamState};
use crate::upstream::{CircuitState, Server, SourceStatus, State};

/// The state of the process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// The version of `lb`.
    pub version: String,
    /// Seconds since it began to serve.
    pub uptime_seconds: u64,
    /// The configuration in force.
    pub config: ConfigStatus,
    /// Client connections.
    pub connections: usize,
    /// Whether it is about to end.
    pub draining: bool,
    /// By name.
    pub upstreams: Vec<UpstreamStatus>,
    /// In file order.
    pub routes: Vec<RouteStatus>,
    /// Stored responses.
    pub cache: CacheStatus,
    /// The access log.
    pub access_log: LogStatus,
}

/// The configuration in force.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// The file.
    pub file: String,
    /// When it was loaded (RFC 3339).
    pub loaded_at: String,
    /// Reloads that worked.
    pub reloads_ok: u64,
    /// Reloads that changed nothing because something was wrong.
    pub reloads_failed: u64,
}

/// An upstream.
#[derive(Debug, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: String,
    /// Its algorithm.
    pub balance: String,
    /// Requests that wait for a server; `None`: it has no queue.
    pub queued: Option<usize>,
    /// What the circuit does: `closed`, `open` or `half-open`; `None`: it has none.
    #[serde(default)]
    pub circuit: Option<String>,
    /// Whether ejected servers are used because too few others are healthy.
    pub panic: bool,
    /// Its servers.
    pub servers: Vec<ServerStatus>,
    /// Its entries that stand for servers which come and go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discovery: Vec<DiscoveryStatus>,
}

/// An entry of `servers` that stands for servers which come and go.
#[derive(Debug, Serialize, Deserialize)]
pub struct DiscoveryStatus {
    /// As the configuration has it: `dns://users.internal:3000`, `file:///etc/lb/servers.toml`.
    pub source: String,
    /// When a look last went well (RFC 3339).
    pub refreshed_at: Option<String>,
    /// What was wrong with the last look.
    pub error: Option<String>,
}

/// A server.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Where it is.
    pub address: String,
    /// Its share: an operator's word, else the file's.
    pub weight: u32,
    /// Whether it waits for the others to fail.
    pub backup: bool,
    /// `healthy`, `unhealthy`, `unchecked`, `ejected`, `draining` or `down`.
    pub state: String,
    /// What an operator wants of it: `ready`, `drain` or `down`.
    pub ordered: String,
    /// Requests that it is working on.
    pub in_flight: u32,
    /// The most that it may work on.
    pub max_connections: Option<u32>,
    /// The most that may wait for its answers, as was learned; `None`: nothing is.
    #[serde(default)]
    pub concurrency_limit: Option<u32>,
    /// Answers that it gave.
    pub requests: u64,
    /// How often it was ejected.
    pub ejections: u64,
    /// What the last check found, if there was one.
    pub last_check: Option<String>,
}

/// A route.
#[derive(Debug, Serialize, Deserialize)]
pub struct RouteStatus {
    /// Its name.
    pub name: String,
    /// Requests that it took.
    pub requests: u64,
    /// Of these, answers with a 5xx.
    pub errors: u64,
}

/// The cache.
#[derive(Debug, Serialize, Deserialize)]
pub struct CacheStatus {
    /// Bytes in use.
    pub bytes: u64,
    /// Objects stored.
    pub objects: u64,
    /// Bytes allowed.
    pub memory: u64,
    /// The Redis that it is shared through; `None`: it is not shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisStatus>,
}

/// The Redis that the cache is shared through.
#[derive(Debug, Serialize, Deserialize)]
pub struct RedisStatus {
    /// Where it is, without the password.
    pub address: String,
    /// Whether it answers.
    pub connected: bool,
    /// With `coherence = "strict"`: `held`, or `lapsed` while nothing with a tag is served from the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
}

/// The access log.
#[derive(Debug, Serialize, Deserialize)]
pub struct LogStatus {
    /// Lines that were lost.
    pub dropped: u64,
}

impl Status {
    /// The state right now.
    pub fn of(proxy: &Proxy) -> Status {
        let snapshot = proxy.snapshot();
        let (reloads_ok, reloads_failed) = proxy.metrics.reloads();
        Status {
            version: env!("CARGO_PKG_VERSION").to_string(),
            uptime_seconds: proxy.started.elapsed().as_secs(),
            config: ConfigStatus {
                file: proxy.file().display().to_string(),
                loaded_at: OffsetDateTime::from(proxy.loaded_at()).format(&Rfc3339).unwrap_or_default(),
                reloads_ok,
                reloads_failed,
            },
            connections: proxy.connections.open(),
            draining: proxy.draining(),
            upstreams: snapshot.upstreams.iter().map(upstream).collect(),
            routes: snapshot.routes.iter().map(route).collect(),
            cache: CacheStatus {
                bytes: proxy.cache.bytes(),
                objects: proxy.cache.objects(),
                memory: snapshot.config.cache.memory,
                redis: proxy.cache.standing().map(redis),
            },
            access_log: LogStatus {
                dropped: proxy.metrics.access_log_dropped().get(),
            },
        }
    }
}

fn redis(standing: Standing) -> RedisStatus {
    RedisStatus {
        address: standing.redis,
        connected: standing.connected,
        lease: standing
            .trusted
            .map(|trusted| String::from(if trusted { "held" } else { "lapsed" })),
    }
}

fn upstream(state: &UpstreamState) -> UpstreamStatus {
    let servers = state.upstream.servers().iter().zip(&state.servers);
    UpstreamStatus {
        name: state.upstream.name().to_string(),
        balance: state.upstream.config().balance.name().to_string(),
        queued: state.upstream.queued(),
        circuit: state.upstream.circuit().map(|circuit| circuit.as_str().to_string()),
        panic: state.upstream.panics().0,
        servers: servers.map(|(server, metrics)| ServerStatus::of(server, metrics)).collect(),
        discovery: state.resolved.sources().into_iter().map(discovery).collect(),
    }
}

fn discovery(source: SourceStatus) -> DiscoveryStatus {
    DiscoveryStatus {
        source: source.source,
        refreshed_at: source.refreshed.and_then(|at| OffsetDateTime::from(at).format(&Rfc3339).ok()),
        error: source.error,
    }
}

impl ServerStatus {
    /// Its state right now.
    pub fn of(server: &Server, metrics: &ServerMetrics) -> ServerStatus {
        let now = server.status();
        ServerStatus {
            address: server.name().to_string(),
            weight: now.weight,
            backup: server.backup(),
            state: now.state.as_str().to_string(),
            ordered: now.duty.as_str().to_string(),
            in_flight: now.in_flight,
            max_connections: server.max_connections().map(Into::into),
            concurrency_limit: now.concurrency_limit,
            requests: answers(metrics),
            ejections: now.ejections,
            last_check: now
                .check
                .and_then(|report| report.last)
                .map(|last| last.error.unwrap_or_else(|| String::from("passed"))),
        }
    }
}

fn answers(metrics: &ServerMetrics) -> u64 {
    let mut total = 0;
    metrics.each_code(|_, count| total += count);
    total
}

fn route(state: &RouteState) -> RouteStatus {
    let mut status = RouteStatus {
        name: state.config.name.to_string(),
        requests: 0,
        errors: 0,
    };
    state.metrics.each_code(|code, count| {
        status.requests += count;
        status.errors += if code >= 500 { count } else { 0 };
    });
    status
}

/// What is counted elsewhere, for the metrics.
pub(super) fn gauges(proxy: &Proxy) -> Gauges {
    let (mut upstreams, mut servers) = (Vec::new(), Vec::new());
    for state in &proxy.snapshot().upstreams {
        upstreams.push(UpstreamGauges {
            upstream: state.upstream.name().clone(),
            queued: state.upstream.queued().unwrap_or(0) as u64,
            circuit_open: state.upstream.circuit().is_some_and(|circuit| circuit != CircuitState::Closed),
            panics: state.upstream.panics().1,
        });
        servers.extend(state.upstream.servers().iter().map(|server| {
            let now = server.status();
            ServerGauges {
                upstream: state.upstream.name().clone(),
                server: server.name().clone(),
                active: u64::from(now.in_flight),
                healthy: now.state == State::Healthy,
                ejections: now.ejections,
                concurrency_limit: now.concurrency_limit.map(u64::from),
            }
        }));
    }
    let counts = proxy.cache.shared_counts();
    Gauges {
        upstreams,
        servers,
        cache_bytes: proxy.cache.bytes(),
        cache_objects: proxy.cache.objects(),
        cache_purges: [counts.purges.get(), counts.purges_heard.get()],
        cache_redis_errors: counts.errors.get(),
        connections: proxy.connections.open() as u64,
    }
}
