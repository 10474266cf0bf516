//! One request's life as a state machine without I/O: the table of contents of everything below.
//!
//! An [`Exchange`] is made when a request head has been read and lives until the last byte of the answer is sent, or until the client is
//! gone. It decides and never moves a byte; the engine that owns it moves bytes and decides nothing. The conversation:
//!
//! | the engine says | the exchange answers |
//! | --- | --- |
//! | [`Exchange::request`]: here is a request head | [`Decision`]: refuse, answer, serve a stored object, wait for one or for a time, or forward |
//! | [`Exchange::joined`], [`Exchange::delayed`]: I have waited | the same |
//! | [`Exchange::server`]: I need a server | [`Turn`]: this one, wait and ask again, or a refusal |
//! | [`Exchange::failed`]: this server gave no answer | [`Next`]: once more, or give up |
//! | [`Exchange::forwarding`], [`Exchange::copy`]: it goes to a server; all of it has | whether a copy goes to a mirror |
//! | [`Exchange::answer`]: here is an answer's head | [`Verdict`]: relay it, try another server, or serve a stored object instead |
//! | [`Exchange::stale`]: there will be none | a stored object that stands in, or none |
//! | [`Exchange::refresh`]: I serve something stale | the exchange that fetches it anew, or none |
//! | [`Exchange::settled`]: may it begin? | when all that it purges is gone everywhere |
//! | [`Exchange::hedge`]: it has not answered for some time | another server to ask as well, or none |
//! | [`Exchange::answer_body`], [`Exchange::answer_end`]: a piece of its body, its end | |
//! | [`Exchange::record`]: it is over, thus | the metrics and the log line |
//!
//! Whatever is counted while a request is under way (a server's load, the right to fill the cache) is held by guards, so that it comes back
//! whatever the way out, also when the engine just drops the exchange.

mod answer;
mod caching;
mod circuit;
mod deadline;
mod fault;
mod forward;
pub mod head;
mod hedge;
mod invalidate;
mod mirror;
mod queue;
mod record;
mod refresh;
mod repeat;
mod request;
mod split;
mod turn;
mod unkeyed;

use std::sync::Arc;
use std::time::Instant;

use http::{Method, StatusCode};

pub use answer::{Means, Verdict, X_LB_DRAIN};
pub(crate) use forward::UNREACHED;
pub use forward::{Failure, Next, Sent};
pub use hedge::{Fall, Loser};
pub use mirror::Copy;
pub use record::Outcome;
pub(crate) use repeat::{idempotent, pause};
pub use request::{Decision, Reply};
pub use turn::{Turn, Wait};

use crate::admit::{Client, Peer, RequestId, Scheme, Trace};
use crate::proxy::Proxy;
use crate::reject::Refusal;
use crate::snapshot::{RouteState, Snapshot, UpstreamState};
use crate::tls::{ServerTls, UpstreamTls};
use caching::Caching;
use forward::Tries;
use queue::Moved;

/// The client's end of the connection that a request came by.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The address at the other end: the client, or a proxy before it.
    pub peer: Peer,
    /// How it came.
    pub scheme: Scheme,
    /// What a handshake settled, where there was one.
    pub handshake: Option<Arc<Handshake>>,
}

/// What the TLS handshake of a connection settled.
pub struct Handshake {
    /// What the connection was accepted by.
    pub listener: Arc<ServerTls>,
    /// The name that the client asked for (RFC 6066 §3).
    pub name: Option<String>,
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One request on its way. See the [module](self).
pub struct Exchange {
    proxy: Arc<Proxy>,
    snapshot: Arc<Snapshot>,
    origin: Origin,
    client: Client,
    id: RequestId,
    /// Once it is on its way to a server.
    trace: Option<Trace>,
    started: Instant,
    /// When there must be an answer.
    deadline: Option<Instant>,
    method: Method,
    /// It may be sent once more although a server has had it.
    repeatable: bool,
    /// Index into the snapshot's routes.
    route: Option<usize>,
    /// Index into the snapshot's upstreams: chosen once, and valid for all that follows; see `split`.
    upstream: Option<usize>,
    /// Bytes of body that the client has sent so far.
    received: u64,
    max_body: u64,
    /// Why `lb` answers by itself, if it does.
    refusal: Option<Refusal>,
    /// It was delayed or refused on purpose.
    injected: bool,
    tries: Tries,
    /// The upstream as a newer configuration has it, if the request has waited until then.
    moved: Option<Moved>,
    caching: Caching,
    /// A copy of it goes to the route's mirror, once it has gone whole to a server itself.
    copies: bool,
}

impl Exchange {
    /// Begins: pins the configuration that the whole request will see.
    pub fn new(proxy: &Arc<Proxy>, origin: Origin) -> Exchange {
        let snapshot = proxy.snapshot();
        Exchange {
            client: Client {
                address: origin.peer.address(),
                is_proxied: false,
                scheme: origin.scheme,
            },
            id: new_id(),
            trace: None,
            started: Instant::now(),
            deadline: None,
            method: Method::GET,
            repeatable: false,
            route: None,
            upstream: None,
            received: 0,
            max_body: snapshot.config.limits.max_body,
            refusal: None,
            injected: false,
            tries: Tries::default(),
            moved: None,
            caching: Caching::default(),
            copies: false,
            origin,
            snapshot,
            proxy: Arc::clone(proxy),
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

    /// Timeouts towards the server that was chosen.
    pub fn timeouts(&self) -> Option<&lb_config::Timeouts> {
        self.upstream().map(|state| &state.upstream.config().timeouts)
    }

    /// Idle connections that are kept for the server that was chosen.
    pub fn kept_connections(&self) -> usize {
        self.upstream().map_or(0, |state| state.upstream.config().keepalive)
    }

    /// How the servers of the request's upstream are met, where that is by TLS.
    pub fn upstream_tls(&self) -> Option<&Arc<UpstreamTls>> {
        self.upstream()?.tls.as_ref()
    }

    /// Whether the request may be sent once more although a server may have had it (RFC 9110 §9.2.2).
    pub fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    /// Counts what has come from the client through a tunnel. No limit holds there.
    pub fn tunnelled(&mut self, bytes: u64) {
        self.received += bytes;
    }

    /// Counts bytes of the request's body, and refuses what is beyond the limit (RFC 9110 §15.5.14).
    ///
    /// # Errors
    /// [`Refusal::BodyTooLarge`] once more than `max_body` has come.
    pub fn request_body(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.received += bytes as u64;
        self.tries.fed_at = Some(Instant::now());
        if self.received > self.max_body {
            Err(self.refuse(Refusal::BodyTooLarge))
        } else {
            Ok(())
        }
    }

    /// Notes why `lb` answers by itself. The first reason stands.
    pub fn refuse(&mut self, refusal: Refusal) -> Refusal {
        self.caching.give_up();
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
        if let Some(moved) = &self.moved {
            return Some(moved.upstream());
        }
        self.upstream.map(|index| &self.snapshot.upstreams[index])
    }
}

/// A fresh identifier.
fn new_id() -> RequestId {
    RequestId::new(unix_millis(), rand::random())
}

fn unix_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// Whether a server's status counts as its failure, and may be retried.
pub(crate) fn failure_status(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}
