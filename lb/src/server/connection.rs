//! A client connection's life: wait for a head, have the engine serve the request, again, until either side has had enough.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderName, Method, Version};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::connections::Slot;
use super::worker::Engines;
use crate::admit::{Peer, Scheme};
use crate::engine::h1::{ClientStream, HeadError, HeadFailure, HeadLimits, HeadRead, HeadTimeouts};
use crate::exchange::head::{Fields, RequestHead};
use crate::exchange::{Exchange, Handshake, Origin, Outcome};
use crate::reject::{Problem, Refusal};
use crate::snapshot::Snapshot;

/// A connection that was just accepted.
pub struct Incoming {
    /// It has TCP_NODELAY.
    pub stream: TcpStream,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// The address that the listener is bound to; the client may have connected to a narrower one.
    pub local: SocketAddr,
    /// The listener as configured. `snapshot` has it, also where a reload has just removed it.
    pub listen: SocketAddr,
    /// The configuration by which it was accepted.
    pub snapshot: Arc<Snapshot>,
}

/// Serves a connection until it ends.
pub async fn serve(incoming: Incoming, slot: Slot, engines: Arc<Engines>, shutdown: watch::Receiver<bool>) {
    let Some((mut stream, origin)) = opened(incoming).await else {
        return;
    };
    // The place is the socket's, which may close long before or after this function returns.
    let slot = Arc::new(slot);
    let place = Arc::downgrade(&slot);
    stream.hold(slot);
    if stream.is_http2() {
        return Box::pin(engines.pingora.serve_http2(stream, &shutdown)).await;
    }
    loop {
        let Some(slot) = place.upgrade() else { return };
        slot.idle();
        match next(&mut stream, &slot, &engines).await {
            Some(Ok(HeadRead::Request)) => {
                slot.busy();
                drop(slot);
                if engines.relays() {
                    if !engines.relay.serve(&mut stream, &origin).await {
                        return;
                    }
                    continue;
                }
                match Box::pin(engines.pingora.serve(stream, origin.clone(), &shutdown)).await {
                    Some(back) => stream = back,
                    None => return,
                }
            }
            Some(Ok(HeadRead::Http2)) => {
                slot.busy();
                drop(slot);
                return Box::pin(engines.pingora.serve_http2(stream, &shutdown)).await;
            }
            Some(Err(failure)) => {
                slot.busy();
                drop(slot);
                if let Some(refusal) = refusal(&failure) {
                    Box::pin(refuse(stream, &engines, origin, refusal)).await;
                }
                return;
            }
            Some(Ok(HeadRead::Closed | HeadRead::Idle)) | None => return,
        }
    }
}

/// The connection, as it carries HTTP; `None` where the handshake came to nothing: there is no way to say why.
async fn opened(incoming: Incoming) -> Option<(Box<ClientStream>, Origin)> {
    let Incoming {
        stream,
        peer,
        local,
        listen,
        snapshot,
    } = incoming;
    let mut origin = Origin {
        peer: Peer::new(peer.ip()),
        scheme: Scheme::Http,
        handshake: None,
    };
    let Some(listener) = snapshot.tls.listener(listen).cloned() else {
        return Some((Box::new(ClientStream::new(stream, peer, local)), origin));
    };
    let deadline = snapshot.config.limits.header_timeout;
    drop(snapshot);
    // Boxed, so that a connection that waits does not hold the room that a handshake takes.
    let tls = match Box::pin(timeout(deadline, listener.accept(stream))).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            tracing::debug!(client = %peer.ip(), %listen, %error, "a handshake failed");
            return None;
        }
        Err(_) => {
            tracing::debug!(client = %peer.ip(), %listen, "a handshake took too long");
            return None;
        }
    };
    let name = tls.get_ref().1.server_name().map(str::to_owned);
    let handshake = Arc::new(Handshake { listener, name });
    origin.scheme = Scheme::Https;
    origin.handshake = Some(handshake.clone());
    Some((Box::new(ClientStream::secured(tls, peer, local, handshake)), origin))
}

/// The next head; `None` where the connection is to end while it waits for one.
async fn next(stream: &mut ClientStream, slot: &Slot, engines: &Engines) -> Option<Result<HeadRead, HeadFailure>> {
    let (limits, timeouts) = {
        let snapshot = engines.proxy.peek();
        let limits = &snapshot.config.limits;
        (HeadLimits::from(limits), HeadTimeouts::from(limits))
    };
    tokio::select! {
        biased;
        read = stream.read_head(&limits, &timeouts) => return Some(read),
        () = slot.asked_to_leave() => {}
    }
    // What lies in the kernel is not known here before the runtime has looked, as it does while this yields.
    tokio::select! {
        biased;
        read = stream.read_head(&limits, &timeouts) => return Some(read),
        () = tokio::task::yield_now() => {}
    }
    if stream.is_idle() {
        return None;
    }
    // A head has begun to come: it is served yet.
    slot.busy();
    Some(stream.read_head(&limits, &timeouts).await)
}

/// What the client is told; `None`: nothing, it is gone.
fn refusal(failure: &HeadFailure) -> Option<Refusal> {
    match failure {
        HeadFailure::Refused(error) => Some(match *error {
            HeadError::Malformed(why) => Refusal::BadRequest(why),
            HeadError::TargetTooLong => Refusal::UriTooLong,
            HeadError::TooLarge | HeadError::TooManyFields => Refusal::HeadTooLarge,
            HeadError::NotImplemented(why) => Refusal::NotImplemented(why),
            HeadError::Version => Refusal::Version,
        }),
        HeadFailure::TimedOut => Some(Refusal::RequestTimeout("The request's head did not arrive in time.")),
        HeadFailure::CutOff | HeadFailure::Io(_) | HeadFailure::Unfinished => None,
    }
}

/// Tells the client what is wrong with a head that was never whole or never valid, and closes.
async fn refuse(stream: Box<ClientStream>, engines: &Engines, origin: Origin, refusal: Refusal) {
    let mut exchange = Exchange::new(&engines.proxy, origin);
    let refusal = exchange.refuse(refusal);
    let problem = exchange.problem(&refusal);
    let outcome = Outcome {
        status: Some(problem.status),
        sent: problem.body.len() as u64,
        client_left: false,
        read: false,
    };
    let answer = render(&problem, exchange.id().as_str());
    stream.refuse(&answer).await;
    exchange.record(&Unread, outcome);
}

/// A problem as the bytes of an HTTP/1.1 answer after which the connection closes.
fn render(problem: &Problem, id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let reason = problem.status.canonical_reason().unwrap_or_default();
    for part in ["HTTP/1.1 ", problem.status.as_str(), " ", reason, "\r\nx-request-id: ", id] {
        out.extend_from_slice(part.as_bytes());
    }
    for (name, value) in &problem.headers {
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
    }
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let framing = format!(
        "\r\ndate: {date}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        problem.body.len()
    );
    out.extend_from_slice(framing.as_bytes());
    out.extend_from_slice(&problem.body);
    out
}

/// The head of a request that has none.
struct Unread;

impl Fields for Unread {
    fn get(&self, _name: &HeaderName) -> Option<&[u8]> {
        None
    }

    fn all<'a>(&'a self, _name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        std::iter::empty()
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        std::iter::empty()
    }
}

impl RequestHead for Unread {
    fn method(&self) -> &Method {
        &Method::GET
    }

    fn version(&self) -> Version {
        Version::HTTP_11
    }

    fn target(&self) -> &[u8] {
        b"-"
    }

    fn authority(&self) -> &[u8] {
        b"-"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F: Future>(_: fn(Incoming, Slot, Arc<Engines>, watch::Receiver<bool>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_that_waits_has_little_room_for_what_its_requests_may_come_to() {
        let size = size_of_future(serve);
        assert!(size <= 3400, "{size} bytes: is something large and rare to be boxed?");
    }
}
