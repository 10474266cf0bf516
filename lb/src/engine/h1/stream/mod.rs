//! A client's connection, one request at a time.
//!
//! Between requests it belongs to the accept loop, which reads the next head here: strictly, and with deadlines. During a request it belongs to
//! an engine, to which it looks like a connection that carries this one request only: reads give the body and then nothing, until the client
//! hangs up. Bytes of a next request that come early are kept, and are no concern of the engine's. Afterwards the loop takes it back.
//!
//! ```text
//! new -> read_head -> Request -> begin -> (engine reads and writes) -> recover -> read_head -> ...
//!                  -> Http2   -> (engine has it for good)
//!                  -> refused, timed out -> refuse
//! ```

mod buffer;
mod closing;
mod control;
mod deadline;
mod direct;
mod head;
mod io;
mod pingora;
mod relay;

use std::any::Any;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use ::pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use ::pingora::protocols::{IO, SocketDigest, Stream};
use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use super::body::Body;
use super::head::Parser;
use super::parsed::Parsed;
use super::view::Head;
use crate::exchange::Handshake;
use buffer::{Inbox, Outbox};
use deadline::Deadline;
use io::Io;

pub use control::ClientControl;
pub use direct::Request;
pub use head::{HeadFailure, HeadRead, HeadTimeouts};

/// A client's connection.
#[derive(Debug)]
pub struct ClientStream {
    /// None: the client has gone, and the exchange goes on without it.
    io: Option<Io>,
    inbox: Inbox,
    outbox: Outbox,
    mode: Mode,
    parser: Parser,
    deadline: Deadline,
    /// When the wait for the next request began, and when its first byte came.
    waiting_since: Option<Instant>,
    head_since: Option<Instant>,
    /// The client will send nothing more.
    ended: bool,
    /// The last request said that it is the last.
    last: bool,
    requests: u64,
    control: Arc<ClientControl>,
    digest: Arc<SocketDigest>,
    peer: SocketAddr,
    local: SocketAddr,
    guard: Option<Box<dyn Any + Send + Sync>>,
    /// Of TLS.
    handshake: Option<Arc<Handshake>>,
}

/// Whose turn it is.
#[derive(Debug)]
enum Mode {
    /// The accept loop's: it waits for a request head.
    Waiting,
    /// A head is there.
    Ready,
    /// An engine's: it may read this body.
    Exchange(Body),
    /// Bytes pass as they are.
    Raw,
}

impl ClientStream {
    /// A connection that was just accepted. Writes are gathered here, so the kernel should not hold them back (`TCP_NODELAY`).
    #[must_use]
    pub fn new(tcp: TcpStream, peer: SocketAddr, local: SocketAddr) -> Self {
        Self::over(Io::Tcp(tcp), peer, local)
    }

    /// A connection whose handshake is over, and what is known of it. Where HTTP/2 was agreed on, all bytes pass from now on.
    #[must_use]
    pub fn secured(tls: TlsStream<TcpStream>, peer: SocketAddr, local: SocketAddr, handshake: Arc<Handshake>) -> Self {
        let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        let mut stream = Self::over(Io::Tls(Box::new(tls)), peer, local);
        stream.handshake = Some(handshake);
        if is_http2 {
            stream.mode = Mode::Raw;
        }
        stream
    }

    fn over(io: Io, peer: SocketAddr, local: SocketAddr) -> Self {
        Self::of(Some(io), peer, local)
    }

    fn of(io: Option<Io>, peer: SocketAddr, local: SocketAddr) -> Self {
        let digest = SocketDigest::from_raw_fd(io.as_ref().map_or(-1, Io::as_raw_fd));
        // Known already: saves a system call a connection. They cannot have been set before.
        let _ = digest.peer_addr.set(Some(PingoraAddr::Inet(peer)));
        let _ = digest.local_addr.set(Some(PingoraAddr::Inet(local)));
        Self {
            io,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            mode: Mode::Waiting,
            parser: Parser::default(),
            deadline: Deadline::default(),
            waiting_since: None,
            head_since: None,
            ended: false,
            last: false,
            requests: 0,
            control: Arc::default(),
            digest: Arc::new(digest),
            peer,
            local,
            guard: None,
            handshake: None,
        }
    }

    /// Keeps a guard until the connection is closed, which may be after the stream is dropped (see [`Self::refuse`]) or before (see
    /// [`ClientControl::outlive`]).
    pub fn hold(&mut self, guard: impl Any + Send + Sync) {
        self.guard = Some(Box::new(guard));
    }

    /// Whether HTTP/2 was agreed on, so that there is no head to read.
    #[must_use]
    pub const fn is_http2(&self) -> bool {
        matches!(self.mode, Mode::Raw) && self.requests == 0
    }

    /// Takes the connection back from an engine that is done with it.
    #[must_use]
    pub fn recover(stream: Stream) -> Option<Box<Self>> {
        IO::into_any(stream).downcast().ok()
    }

    /// The client's address.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The address that the client connected to.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Requests that began on this connection.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// The handle for decisions during an exchange.
    #[must_use]
    pub const fn control(&self) -> &Arc<ClientControl> {
        &self.control
    }

    /// What was received and not yet used: where a head was refused, what there was of it (see [`super::head::glimpse`]).
    #[must_use]
    pub fn received(&self) -> &[u8] {
        &self.inbox
    }

    /// The head that [`Self::read_head`] found, until its request begins.
    #[must_use]
    pub fn head(&self) -> Option<Head<'_>> {
        matches!(self.mode, Mode::Ready).then(|| Head::new(&self.inbox, self.parser.parsed()))
    }

    /// What was found in the last head that was read.
    #[must_use]
    pub const fn parsed(&self) -> &Parsed {
        self.parser.parsed()
    }

    /// Whether no byte of a next request has come, as far as is known: the connection may be closed without harm.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.mode, Mode::Waiting) && !self.parser.has_begun(&self.inbox)
    }

    /// Lets the request begin whose head was found: its head, in origin form, for the engine; reads give its body from now on. Without a head,
    /// no bytes.
    pub fn begin(&mut self) -> BytesMut {
        if !matches!(self.mode, Mode::Ready) {
            return BytesMut::new();
        }
        let parsed = self.parser.parsed();
        let (start, end) = (parsed.start, parsed.len());
        let head = if parsed.is_origin_form() {
            self.inbox.discard(start);
            self.inbox.take(end - start)
        } else {
            let head = Head::new(&self.inbox, parsed).to_origin_form();
            self.inbox.discard(end);
            head
        };
        self.mode = Mode::Exchange(Body::new(parsed.framing()));
        self.requests += 1;
        self.control.reset();
        head
    }

    /// The client has gone, or was given up: closes its connection, while the exchange goes on.
    fn lose(&mut self) {
        self.control.set_gone();
        self.io = None;
        self.outbox.let_go();
        self.guard = None;
    }
}

#[cfg(test)]
mod proxied_tests;
#[cfg(test)]
mod tests;
