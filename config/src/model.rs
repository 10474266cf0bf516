//! What the program may assume: every value here has been checked, has its unit in its type, and refers only to things that exist.
//!
//! [`crate::load`] is the only maker of a [`Config`]. A part of the file that is absent has its default already; a part that is off is
//! `None`.

mod discovery;
mod redis;
mod sticky;
mod traffic;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;

mod hedge;

pub use discovery::DnsName;
pub use hedge::{Hedge, HedgeAfter};

use crate::check::is_host_name;
use crate::mentions::Mentions;
pub use traffic::{Fault, Mirror, Share, Split};

mod overload;

pub use overload::{CircuitBreaker, Queue};
pub use redis::{Coherence, Redis, RedisKind};
pub use sticky::Sticky;

/// A whole configuration: the file and all that it includes.
#[derive(Debug, Clone)]
pub struct Config {
    /// The files that were read: the named one first, then the included ones in the order of their names.
    pub sources: Vec<PathBuf>,
    /// `[server]`.
    pub server: Server,
    /// `[limits]`.
    pub limits: Limits,
    /// `[upstreams.*]`, in the order of their names.
    pub upstreams: Vec<Upstream>,
    /// `[[routes]]` in file order. A file without routes and with one upstream gets one route that matches everything.
    pub routes: Vec<Route>,
    /// `[cache]`.
    pub cache: Cache,
    /// Where the files that it names stand in it.
    pub mentions: Mentions,
}

/// `[server]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Where clients are accepted without TLS; none twice. Empty only where there is TLS.
    pub listen: Vec<SocketAddr>,
    /// `[[server.tls]]` in file order. Entries with one address share a listener, which is none of [`Server::listen`].
    pub tls: Vec<ServerTls>,
    /// The admin address; `None` when it is `"off"`.
    pub admin: Option<Admin>,
    /// Worker threads; `None` is `"auto"`: one for each core that the process may run on.
    pub threads: Option<NonZeroUsize>,
    /// How long requests under way may take at shutdown.
    pub grace_period: Duration,
    /// The access log; `None` when it is `"off"`.
    pub access_log: Option<AccessLog>,
    /// The least severe message of `lb`'s own log that is written.
    pub log_level: LogLevel,
    /// The clients whose `X-Forwarded-*` and `X-Request-ID` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What moves the bytes of HTTP/1.1.
    pub engine: Engine,
}

/// One of `[[server.tls]]`. That the files are there and fit each other is for whoever reads them to find out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// Where clients are accepted.
    pub listen: SocketAddr,
    /// A certificate and its intermediates; no other entry with this address has the same file.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// Whom every client's certificate must be signed by; `None`: clients need none.
    pub client_ca: Option<PathBuf>,
}

/// `engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// `lb`'s own, on raw bytes.
    #[default]
    Relay,
    /// pingora, as a way back.
    Pingora,
}

/// Where the admin API listens, and who may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// A loopback address unless there is a token.
    pub listen: SocketAddr,
    /// The bearer token that every path but `/healthz` and `/readyz` asks for.
    pub token: Option<Secret>,
}

/// A string that never shows in a debug print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// `access_log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Where the lines go.
    pub path: LogPath,
    /// How a line looks.
    pub format: LogFormat,
}

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPath {
    /// Standard output.
    Stdout,
    /// A file, opened for appending and again at SIGUSR1.
    File(PathBuf),
}

/// How an access log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// The combined log format of Apache and nginx.
    Combined,
}

/// `log_level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what failed.
    Error,
    /// And what is suspicious.
    Warn,
    /// And what an operator wants to know.
    Info,
    /// And what a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// For a whole request head, from its first byte: 408 beyond.
    pub header_timeout: Duration,
    /// Between two reads of a request body: 408 beyond.
    pub body_timeout: Duration,
    /// Of a client connection between two requests.
    pub idle_timeout: Duration,
    /// Bytes of a request body: 413 beyond.
    pub max_body: u64,
    /// Bytes of a request head: 431 beyond; 414 where the target alone is beyond.
    pub max_header_bytes: usize,
    /// Header fields of a request: 431 beyond.
    pub max_headers: usize,
    /// Client connections at once, all listeners together.
    pub max_connections: NonZeroUsize,
    /// Client connections at once from one address; `None`: no limit.
    pub max_connections_per_ip: Option<NonZeroUsize>,
}

/// One `[upstreams.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its name in routes, metrics and logs.
    pub name: Arc<str>,
    /// How a server is chosen.
    pub balance: Balance,
    /// The servers in file order; at least one has a weight above 0, or will be found.
    pub servers: Vec<UpstreamServer>,
    /// What is spoken with them.
    pub protocol: Protocol,
    /// `tls`; only with [`Protocol::Https`], which may also do without it.
    pub tls: Option<UpstreamTls>,
    /// The `Host` sent to servers; `None`: as received.
    pub host: Option<HeaderValue>,
    /// Active checks; `None`: every server counts as healthy.
    pub health_check: Option<HealthCheck>,
    /// Passive ejection; `None` when it is `"off"`.
    pub passive_health: Option<PassiveHealth>,
    /// Below that share of healthy servers, ejected ones are used again: 0 (never) to 100.
    pub panic_percent: u8,
    /// Timeouts towards servers.
    pub timeouts: Timeouts,
    /// Retries; `None` when they are `"off"`.
    pub retry: Option<Retry>,
    /// Where requests wait while every server is at its limit; `None`: they do not.
    pub queue: Option<Queue>,
    /// Refuses requests while most fail; `None`: never.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Whether the number of requests that each server gets at once is learned from how it does.
    pub adaptive_concurrency: bool,
    /// Lets clients stay with their server; `None`: off.
    pub sticky: Option<Sticky>,
    /// A second server for what is slow; `None`: never.
    pub hedge: Option<Hedge>,
    /// For how long the weight of a server that comes back grows, above 0; `None`: it has all at once.
    pub slow_start: Option<Duration>,
    /// Idle connections kept for each server; 0 keeps none.
    pub keepalive: usize,
}

/// `protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
}

/// `tls` of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamTls {
    /// The name, or IP address, that servers' certificates must bear.
    pub sni: Option<Arc<str>>,
    /// Whom servers' certificates must be signed by; `None`: one that the system trusts.
    pub ca: Option<PathBuf>,
    /// The certificate to show to servers that ask for one, and its private key.
    pub client: Option<ClientCertificate>,
}

/// A certificate and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate and its intermediates.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

impl Upstream {
    /// The name that the certificate of a server at this address must bear; `None` where TLS is not spoken.
    pub fn tls_name(&self, address: &Address) -> Option<Arc<str>> {
        match self.protocol {
            Protocol::Http => None,
            Protocol::Https => tls_name(self.tls.as_ref(), self.host.as_ref(), address),
        }
    }
}

/// What to verify a server by: `sni`, else its host name in the file, else the `host` that it gets where that is a name, else its IP
/// address. A server on a Unix socket may have none of them, which [`crate::load`] refuses: nobody is trusted for want of a name.
pub(crate) fn tls_name(tls: Option<&UpstreamTls>, host: Option<&HeaderValue>, address: &Address) -> Option<Arc<str>> {
    if let Some(sni) = tls.and_then(|tls| tls.sni.clone()) {
        return Some(sni);
    }
    match address {
        Address::Host(name, _) => return Some(name.clone()),
        Address::Dns(name) => return Some(name.host().into()),
        Address::Ip(_) | Address::Unix(_) | Address::File(_) => {}
    }
    let authority: Option<Authority> = host.and_then(|host| host.to_str().ok()?.parse().ok());
    match (authority, address) {
        (Some(authority), _) if is_host_name(authority.host()) => Some(authority.host().to_ascii_lowercase().into()),
        (_, Address::Ip(address)) => Some(address.ip().to_string().into()),
        _ => None,
    }
}

/// One server of an upstream, as the file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamServer {
    /// Where it is.
    pub address: Address,
    /// Its share; 0 gets no new request.
    pub weight: u32,
    /// Requests at once; `None`: no limit.
    pub max_connections: Option<NonZeroU32>,
    /// Used only while no other server is eligible.
    pub backup: bool,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A host name and port, resolved at start and reload: one server for each address.
    Host(Arc<str>, u16),
    /// A Unix socket.
    Unix(PathBuf),
    /// A name that is looked up again and again: one server for each address that it has at the time.
    Dns(DnsName),
    /// A file with servers, read again when it changes: [`crate::parse_servers`].
    File(PathBuf),
}

/// How a server is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// The lowest in flight ÷ weight; ties by smooth weighted round robin.
    LeastConn,
    /// Smooth weighted round robin.
    RoundRobin,
    /// Weighted random.
    Random,
    /// The less loaded of two random servers.
    P2c,
    /// The one of two random servers that is likely to answer sooner, by latency and load.
    Ewma,
    /// A hash ring over what [`HashOn`] names.
    Hash(HashOn),
    /// Maglev's look-up table over what [`HashOn`] names.
    Maglev(HashOn),
}

/// What `balance = "hash"` and `"maglev"` hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address (the one that `trusted_proxies` lets be believed).
    ClientIp,
    /// The request's path.
    Path,
    /// A request header's value.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(Arc<str>),
}

/// `health_check`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// What is asked.
    pub kind: CheckKind,
    /// The port that is checked; `None`: the server's own.
    pub port: Option<u16>,
    /// Between two checks of one server.
    pub interval: Duration,
    /// For one whole check, connecting included.
    pub timeout: Duration,
    /// Consecutive passes that make a server healthy.
    pub rise: NonZeroU32,
    /// Consecutive failures that make a server unhealthy.
    pub fall: NonZeroU32,
}

/// What an active check asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// A connection.
    Tcp,
    /// A `GET` that must answer with a status in the range.
    Http {
        /// The path and query.
        path: Arc<str>,
        /// The `Host`; `None`: the upstream's `host`, else the server's address.
        host: Option<HeaderValue>,
        /// The statuses that pass, for example 200 to 299.
        expect: RangeInclusive<u16>,
    },
    /// `grpc.health.v1.Health/Check`, which must answer SERVING.
    Grpc {
        /// The service that is asked about; empty: the server as a whole.
        service: Arc<str>,
        /// The `:authority`; `None`: the upstream's `host`, else the server's address.
        host: Option<HeaderValue>,
    },
}

/// `passive_health`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassiveHealth {
    /// So many failures …
    pub failures: NonZeroU32,
    /// … within this time …
    pub window: Duration,
    /// … take the server out for so long.
    pub eject: Duration,
    /// Of an upstream's servers, rounded down: 0 to 100.
    pub max_ejected_percent: u8,
}

/// `timeouts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to a server.
    pub connect: Duration,
    /// Between two reads from a server.
    pub read: Duration,
    /// Between two writes to a server.
    pub write: Duration,
    /// Of a kept connection that nobody uses.
    pub idle: Duration,
    /// From a request's head to the head of its answer, all tries and waits together; `None`: no limit.
    pub request: Option<Duration>,
}

/// `retry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, the first included.
    pub attempts: NonZeroU32,
    /// What is retried.
    pub on: RetryOn,
    /// Retries as a share of the last 10 s' requests: 0 to 100.
    pub budget_percent: u8,
}

/// What is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryOn {
    /// No connection.
    pub connect: bool,
    /// Closed before a whole response head.
    pub reset: bool,
    /// Connect or read timeout.
    pub timeout: bool,
    /// A malformed answer.
    pub invalid: bool,
    /// 502 from the server.
    pub status_502: bool,
    /// 503 from the server.
    pub status_503: bool,
    /// 504 from the server.
    pub status_504: bool,
}

/// One of `[[routes]]`.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its label in metrics and logs: `name`, else host and path as written.
    pub name: Arc<str>,
    /// Which hosts it takes.
    pub host: HostMatch,
    /// Which paths it takes.
    pub path: PathMatch,
    /// Which methods; empty: every one.
    pub methods: Vec<Method>,
    /// Headers that must have exactly this value.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What is done.
    pub action: Action,
    /// Copies of requests to another upstream; only with [`Action::Forward`].
    pub mirror: Option<Mirror>,
    /// Delays and errors on purpose.
    pub fault: Option<Fault>,
    /// Edits of the request.
    pub request_headers: HeaderEdits,
    /// Edits of the response.
    pub response_headers: HeaderEdits,
    /// Caching; `None`: off.
    pub cache: Option<RouteCache>,
    /// A POST or PATCH with an `Idempotency-Key` may be tried again.
    pub retry_idempotency_key: bool,
    /// Bytes of a request body here; `None`: as in [`Limits`].
    pub max_body: Option<u64>,
    /// Who may come; empty: everybody.
    pub allow: Vec<IpNet>,
    /// Who may not; it wins over `allow`.
    pub deny: Vec<IpNet>,
}

/// Which hosts a route takes. Names are in lower case and without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostMatch {
    /// Every one.
    Any,
    /// This one.
    Exact(Box<str>),
    /// `*.example.com`, held as `.example.com`: any name that ends so and has something before it.
    Wildcard(Box<str>),
}

/// Which paths a route takes.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// This path and what is below it, by whole segments. `/` is everything. Without a trailing slash but for `/` itself.
    Prefix(Box<str>),
    /// Exactly this path.
    Exact(Box<str>),
    /// Paths that the expression finds something in.
    Regex(regex::bytes::Regex),
}

/// What a route does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Forwards to a server.
    Forward {
        /// Whose servers: `upstream`, or `split`.
        split: Split,
        /// How the path is changed.
        rewrite: Rewrite,
    },
    /// Sends the client elsewhere.
    Redirect {
        /// The `Location`.
        to: Template,
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
    },
    /// Answers itself.
    Respond {
        /// The status.
        status: StatusCode,
        /// The body.
        body: Arc<str>,
        /// The `Content-Type`.
        content_type: HeaderValue,
    },
}

/// `rewrite`: first the one, then the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rewrite {
    /// Taken off the path where it starts with it, by whole segments; what is left starts with `/`.
    pub strip_prefix: Option<Box<str>>,
    /// Put before the path; starts with `/`, ends without one.
    pub add_prefix: Option<Box<str>>,
}

/// `request_headers` and `response_headers`: removed first, then set, then added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderEdits {
    /// Replaces what is there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Comes beside what is there.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Is taken away.
    pub remove: Vec<HeaderName>,
}

impl HeaderEdits {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// `cache` of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteCache {
    /// The freshness of a response of [`RouteCache::statuses`] that says nothing itself; 0: only what the origin makes fresh. `None`: what can be
    /// guessed from when it was modified.
    pub ttl: Option<Duration>,
    /// The statuses that get [`RouteCache::ttl`].
    pub statuses: Vec<StatusCode>,
    /// Requests for a key from which on its responses are stored: 1 to 1000.
    pub min_uses: u32,
    /// The key. The upstream is always part of it, the method never.
    pub key: Template,
    /// Request fields that answers depend on, whatever their `Vary` says.
    pub vary_on: Vec<HeaderName>,
    /// What makes a request go past the cache.
    pub bypass_on: Vec<BypassOn>,
    /// For how long a response is served after its freshness while it is fetched anew, where the origin says nothing of that.
    pub stale_while_revalidate: Duration,
    /// The same, where the origin gives no good answer.
    pub stale_if_error: Duration,
}

/// What a request has that goes past the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BypassOn {
    /// A header of that name.
    Header(HeaderName),
    /// A cookie of that name.
    Cookie(Box<str>),
}

/// A string with `{scheme}`, `{host}`, `{path}` and `{query}` in it. `{query}` is empty or starts with `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub Vec<Part>);

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Literal(Box<str>),
    /// `http` or `https`.
    Scheme,
    /// The request's host, in lower case, with its port where it has one.
    Host,
    /// The request's path as received.
    Path,
    /// The query with its `?`, or nothing.
    Query,
}

/// `[cache]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Bytes that stored responses may take, with what they cost beside their bodies.
    pub memory: u64,
    /// Bytes of the largest body that is stored.
    pub max_object: u64,
    /// Where it is kept over a restart; `None`: it is not.
    pub file: Option<PathBuf>,
    /// What several `lb` share it by; `None`: each has its own.
    pub redis: Option<Redis>,
    /// How they agree; means nothing without [`Cache::redis`].
    pub coherence: Coherence,
}

impl Balance {
    /// As the file names it.
    pub fn name(&self) -> &'static str {
        match self {
            Balance::LeastConn => "least_conn",
            Balance::RoundRobin => "round_robin",
            Balance::Random => "random",
            Balance::P2c => "p2c",
            Balance::Ewma => "ewma",
            Balance::Hash(_) => "hash",
            Balance::Maglev(_) => "maglev",
        }
    }

    /// What it hashes, if it does.
    pub fn hash_on(&self) -> Option<&HashOn> {
        match self {
            Balance::Hash(on) | Balance::Maglev(on) => Some(on),
            _ => None,
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Ip(address) => write!(f, "{address}"),
            Address::Host(name, port) => write!(f, "{name}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Dns(name) => write!(f, "{name}"),
            Address::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

impl Template {
    /// The URL as the client asked for it: the default cache key.
    pub fn url() -> Template {
        let literal = |text: &str| Part::Literal(text.into());
        Template(vec![Part::Scheme, literal("://"), Part::Host, Part::Path, Part::Query])
    }
}
