//! One request's life as a state machine without I/O: the table of contents of everything below.
//!
//! An [`Exchange`] is made when a request head has been read and lives until the last byte of the answer is sent, or until the client is
//! gone. It decides and never moves a byte; the engine that owns it moves bytes and decides nothing. The conversation:
//!
//! | the engine says | the exchange answers |
//! | --- | --- |
//! | [`Exchange::request`]: here is a request head | [`Decision`]: refuse, answer, serve a stored object, wait for one, or forward |
//! | [`Exchange::server`]: I need a server | a server to talk to, or a [`Refusal`] |
//! | [`Exchange::failed`]: this server gave no answer | [`Next`]: the same one again, another one, or give up |
//! | [`Exchange::answer`]: here is an answer's head | [`Verdict`]: relay it, or try another server |
//! | [`Exchange::answer_body`], [`Exchange::answer_end`]: a piece of its body, its end | |
//! | [`Exchange::record`]: it is over, thus | the metrics and the log line |
//!
//! Whatever is counted while a request is under way (a server's load, the right to fill the cache) is held by guards, so that it comes back
//! whatever the way out, also when the engine just drops the exchange.

mod answer;
mod forward;
pub mod head;
mod record;
mod request;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderName, Method, StatusCode, header};

pub use answer::Verdict;
pub use forward::{Failure, Next, Sent};
pub use record::Outcome;
pub use request::{Decision, Reply};

use crate::admit::RequestId;
use crate::cache::{CacheStatus, Filler, Key, Lead};
use crate::proxy::Proxy;
use crate::reject::Refusal;
use crate::snapshot::{RouteState, Snapshot, UpstreamState};
use crate::upstream::{Lease, ServerId};

/// `http` or `https`: how the client came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As it stands before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// The client's end of the connection that the request came by.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The address at the other end: the client, or a proxy before it.
    pub address: SocketAddr,
    /// How it came.
    pub scheme: Scheme,
}

/// One request on its way. See the [module](self).
pub struct Exchange {
    proxy: Arc<Proxy>,
    snapshot: Arc<Snapshot>,
    peer: Peer,
    /// The client's address, as far as trusted proxies let it be believed.
    client: IpAddr,
    started: Instant,
    id: RequestId,
    method: Method,
    route: Option<usize>,
    /// Bytes of body that the client has sent so far.
    received: u64,
    max_body: u64,
    conditional_stripped: bool,
    /// Why `lb` answered by itself, if it did.
    refusal: Option<Refusal>,
    tries: Tries,
    caching: Caching,
}

/// What is known of the servers that were asked.
#[derive(Default)]
struct Tries {
    lease: Option<Lease>,
    /// The last server that was asked, kept for the log when its lease is back.
    last: Option<Arc<crate::upstream::Server>>,
    tried: Vec<ServerId>,
    /// Tries that got a connection.
    count: u32,
    /// The one server that was charged with this request's failure.
    charged: bool,
    /// The try that is under way repeats one on an idle connection that the server had just closed.
    stale: bool,
    permit: Option<crate::upstream::RetryPermit>,
    hash: u64,
    asked_at: Option<Instant>,
    answered_after: Option<std::time::Duration>,
}

/// What the cache has to do with it.
#[derive(Default)]
struct Caching {
    key: Option<Key>,
    lead: Option<Lead>,
    filler: Option<Filler>,
    status: Option<CacheStatus>,
}

impl Exchange {
    /// Begins: pins the configuration that the whole request will see.
    pub fn new(proxy: &Arc<Proxy>, peer: Peer) -> Exchange {
        let snapshot = proxy.snapshot();
        let max_body = snapshot.config.limits.max_body;
        Exchange {
            proxy: Arc::clone(proxy),
            snapshot,
            peer,
            client: peer.address.ip(),
            started: Instant::now(),
            id: RequestId::default(),
            method: Method::GET,
            route: None,
            received: 0,
            max_body,
            conditional_stripped: false,
            refusal: None,
            tries: Tries::default(),
            caching: Caching::default(),
        }
    }

    /// The configuration that this request sees.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The request's identifier, as it goes to the server and back to the client.
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// Counts bytes of the request's body, and refuses what is beyond the limit (RFC 9110 §15.5.14).
    ///
    /// # Errors
    /// [`Refusal::BodyTooLarge`] once more than `max_body` has come.
    pub fn request_body(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.received += bytes as u64;
        if self.received > self.max_body {
            return Err(self.refuse(Refusal::BodyTooLarge));
        }
        Ok(())
    }

    /// Notes why `lb` answers by itself; the first reason stands.
    pub fn refuse(&mut self, refusal: Refusal) -> Refusal {
        self.refusal.get_or_insert(refusal).clone()
    }

    /// Why `lb` has to answer by itself, if that was decided.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    fn route(&self) -> Option<&RouteState> {
        self.route.map(|index| &self.snapshot.routes[index])
    }

    fn upstream(&self) -> Option<&UpstreamState> {
        self.route()?.upstream.map(|index| &self.snapshot.upstreams[index])
    }
}

/// Whether repeating the request has the effect of making it once (RFC 9110 §9.2.2).
fn idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
}

/// Whether a server's status counts as its failure, and may be retried.
fn failure_status(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// What makes an answer depend on what the client has already. A request that fills the cache asks for the whole thing.
const CONDITIONAL: &[HeaderName] = &[header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];
