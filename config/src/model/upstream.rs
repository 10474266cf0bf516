//! `[upstreams.*]`: servers, how one is chosen, and when one is well.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderName, HeaderValue};

use super::{CircuitBreaker, DnsName, Hedge, Queue, Sticky};
use crate::check::is_host_name;

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
