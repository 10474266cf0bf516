//! The engine over pingora: HTTP/2 from clients, and HTTP/1.1 where the configuration says so.
//!
//! It is the only module that knows pingora's request types. Heads reach the exchange as [`heads`] shows them; the phases of pingora's
//! `ProxyHttp` are the places where the exchange is asked ([`phases`]); what `lb` answers by itself is written by [`reply`].
//!
//! HTTP/1.1 heads are read and judged by [`h1`](super::h1) before pingora sees them, because pingora accepts what RFC 9112 calls ambiguous
//! and has no deadline for a whole head. pingora then parses the same bytes again, and reads the body through a [`ClientStream`] that
//! ends where the request ends.

mod copy;
mod failure;
mod heads;
mod peer;
mod phases;
mod presence;
mod reply;

use std::net::SocketAddr;
use std::sync::Arc;

use pingora::apps::{HttpServerApp, HttpServerOptions, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, Session};
use tokio::sync::watch;

use super::h1::{ClientControl, ClientStream};
use super::relay::Relay;
use crate::admit::{Peer, Scheme};
use crate::exchange::{Handshake, Origin};
use crate::proxy::Proxy;
use crate::tls::NO_ROOTS;
use phases::Phases;

/// One worker's engine: pingora's proxy with a connector, and so with idle upstream connections, of its own.
pub struct Engine {
    pingora: Arc<HttpProxy<Phases>>,
}

/// What a request knows of its connection.
struct Connection {
    origin: Origin,
    control: Arc<ClientControl>,
    /// Whether another request may follow.
    keep_alive: bool,
    http10: bool,
}

impl Engine {
    /// An engine for a worker. `pool`: idle upstream connections that it keeps at most, all servers together. `relay` sends its copies, and fetches anew
    /// what it serves stale.
    pub fn new(proxy: Arc<Proxy>, relay: Relay, pool: usize) -> Engine {
        let conf = ServerConf {
            threads: 1,
            ca_file: Some(NO_ROOTS.to_owned()),
            upstream_keepalive_pool_size: pool,
            // How often is the exchange's decision; this only must not come first.
            max_retries: usize::MAX,
            ..ServerConf::default()
        };
        let mut pingora = pingora_proxy::http_proxy(&Arc::new(conf), Phases::new(proxy.clone(), relay));
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(proxy.snapshot().config.limits.idle_timeout);
        pingora.server_options = Some(options);
        Engine {
            pingora: Arc::new(pingora),
        }
    }

    /// Serves the request whose head the stream has read. Gives the connection back when another request may come by it.
    pub async fn serve(
        &self,
        mut stream: Box<ClientStream>,
        origin: Origin,
        shutdown: &watch::Receiver<bool>,
    ) -> Option<Box<ClientStream>> {
        let keep_alive = stream.parsed().keep_alive() && !*shutdown.borrow();
        let http10 = stream.parsed().version() == http::Version::HTTP_10;
        let control = stream.control().clone();
        let head = stream.begin();
        let mut session = ServerSession::new_http1(stream);
        session.set_keepalive(Some(0));
        session.set_connection_user_context(Some(Box::new(Connection {
            origin,
            control,
            keep_alive,
            http10,
        })));
        session.set_pipelined_prefix(head);
        let reused = self.pingora.process_new_http(session, shutdown).await?;
        ClientStream::recover(reused.consume().0)
    }

    /// Serves a whole HTTP/2 connection.
    pub async fn serve_http2(&self, stream: Box<ClientStream>, shutdown: &watch::Receiver<bool>) {
        self.pingora.process_new(stream, shutdown).await;
    }

    /// Wakes what waits for requests, so that it ends.
    pub async fn stop(&self) {
        self.pingora.http_cleanup().await;
    }
}

/// Where an HTTP/2 connection comes from: pingora has told nobody, but has kept what its stream said.
fn of_http2(session: &Session) -> Origin {
    let unknown = std::net::IpAddr::from([0, 0, 0, 0]);
    let address = inet(session.client_addr()).map_or(unknown, |address| address.ip());
    let kept = session.digest().and_then(|digest| digest.proxy_digest.as_ref()?.user_data.as_ref());
    let handshake = kept.and_then(|kept| kept.downcast_ref::<Arc<Handshake>>()).cloned();
    Origin {
        peer: Peer::new(address),
        scheme: if handshake.is_some() { Scheme::Https } else { Scheme::Http },
        handshake,
    }
}

/// The address of a peer in pingora's terms.
fn inet(address: Option<&pingora::protocols::l4::socket::SocketAddr>) -> Option<SocketAddr> {
    address.and_then(|address| address.as_inet()).copied()
}
