//! What the program may assume: every value here has been checked, has its unit in its type, and refers only to things that exist.
//!
//! [`crate::load`] is the only maker of a [`Config`]. A part of the file that is absent has its default already; a part that is off is
//! `None`.

mod discovery;
mod hedge;
mod overload;
mod redis;
mod route;
mod server;
mod sticky;
mod traffic;
mod upstream;

use std::path::PathBuf;

use crate::mentions::Mentions;

pub use discovery::DnsName;
pub use hedge::{Hedge, HedgeAfter};
pub use overload::{CircuitBreaker, Queue};
pub use redis::{Coherence, Redis, RedisKind};
pub use route::{Action, BypassOn, HeaderEdits, HostMatch, Part, PathMatch, Rewrite, Route, RouteCache, Template};
pub use server::{AccessLog, Admin, Engine, Limits, LogFormat, LogLevel, LogPath, Secret, Server, ServerTls};
pub use sticky::Sticky;
pub use traffic::{Fault, Mirror, Share, Split};
pub(crate) use upstream::tls_name;
pub use upstream::{
    Address, Balance, CheckKind, ClientCertificate, HashOn, HealthCheck, PassiveHealth, Protocol, Retry, RetryOn, Timeouts, Upstream,
    UpstreamServer, UpstreamTls,
};

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
