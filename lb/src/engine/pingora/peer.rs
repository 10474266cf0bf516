//! A server in pingora's terms, with the timeouts that a request has for it.

use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::{ErrorType, OrErr, Result};

use crate::exchange::Exchange;
use crate::upstream::{ResolvedAddress, Server};

/// What pingora connects to for this request.
///
/// # Errors
/// A server that TLS is to be spoken with has no name.
pub(super) fn of(exchange: &Exchange, server: &Server) -> Result<Box<HttpPeer>> {
    let mut peer = match server.address() {
        ResolvedAddress::Ip(address) => HttpPeer::new(*address, false, String::new()),
        ResolvedAddress::Unix(path) => HttpPeer::new_uds(&path.to_string_lossy(), false, String::new())?,
    };
    if let Some(tls) = exchange.upstream_tls() {
        tls.prepare(server, &mut peer)
            .or_err(ErrorType::InternalError, "a server without a name")?;
    }
    // What ends at this hop is decided by `filter`.
    peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
    if let Some(timeouts) = exchange.timeouts() {
        let connect = exchange.within_deadline(timeouts.connect);
        peer.options.connection_timeout = Some(connect);
        peer.options.total_connection_timeout = Some(connect);
        // pingora knows no deadline for a head: this bounds what comes after it as well.
        peer.options.read_timeout = Some(exchange.within_deadline(timeouts.read));
        peer.options.write_timeout = Some(exchange.within_deadline(timeouts.write));
        peer.options.idle_timeout = Some(timeouts.idle);
    }
    Ok(Box::new(peer))
}
