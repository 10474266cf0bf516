//! What the relay does with a client's connection during an exchange: it reads and writes the bytes themselves.
//!
//! The other engine sees a connection that carries one request ([`super::relay`]). The relay sees more: the bytes of the body as they came,
//! chunk lines and all, so that they can go on without a copy, and the socket below, so that the kernel can move them without the process.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::header::COOKIE;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::deadline::after;
use super::{ClientStream, Mode};
use crate::engine::h1::HeadLimits;
use crate::engine::h1::body::{Body, BodyError};
use crate::engine::h1::head::Parser;
use crate::engine::h1::parsed::Parsed;
use crate::engine::h1::view::Head;
use crate::exchange::head::RequestHead;

/// The head of a request, taken out of its connection for as long as the exchange lasts.
#[derive(Debug)]
pub struct Request {
    bytes: BytesMut,
    parser: Parser,
}

/// Of a head that was within its limits, written anew.
const LIMITS: HeadLimits = HeadLimits::new(1 << 20, 1 << 10);

/// Fields that are written anew, or that a request without a body does not have.
const NOT_COPIED: [&[u8]; 5] = [b"host", b"cookie", b"content-length", b"transfer-encoding", b"expect"];

impl Request {
    /// A GET for what another request asks for, however that one came. `None`: HTTP/1.1 has no words for it.
    pub fn get(head: &impl RequestHead) -> Option<Self> {
        let mut bytes = BytesMut::with_capacity(1 << 10);
        for part in [b"GET ", head.target(), b" HTTP/1.1\r\nhost: ", head.authority(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
        let copied = |name: &[u8]| !NOT_COPIED.iter().any(|other| name.eq_ignore_ascii_case(other));
        for (name, value) in head.iter().filter(|(name, _)| copied(name)) {
            for part in [name, b": ", value, b"\r\n"] {
                bytes.extend_from_slice(part);
            }
        }
        // HTTP/2 may have cut it into several (RFC 9113 §8.2.3).
        let cookies: Vec<&[u8]> = head.all(&COOKIE).collect();
        if !cookies.is_empty() {
            for part in [b"cookie: ", &*cookies.join(&b"; "[..]), b"\r\n"] {
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(b"\r\n");
        let mut parser = Parser::default();
        let whole = parser.advance(&bytes, &LIMITS).ok()?;
        whole.then_some(Self { bytes, parser })
    }

    /// The head.
    #[must_use]
    pub fn head(&self) -> Head<'_> {
        Head::new(&self.bytes, self.parser.parsed())
    }

    /// What was found in it.
    #[must_use]
    pub const fn parsed(&self) -> &Parsed {
        self.parser.parsed()
    }
}

impl ClientStream {
    /// Lets the request begin whose head was found, and gives its head out. Without one, nothing.
    pub fn take_request(&mut self) -> Option<Request> {
        if !matches!(self.mode, Mode::Ready) {
            return None;
        }
        let parser = std::mem::take(&mut self.parser);
        let bytes = self.inbox.take(parser.parsed().len());
        self.mode = Mode::Exchange(Body::new(parser.parsed().framing()));
        self.requests += 1;
        Some(Request { bytes, parser })
    }

    /// The exchange is over. Whether another request may follow is found by the next look for a head.
    pub fn end_request(&mut self, request: Request) {
        self.parser = request.parser;
    }

    /// The connection of a request that no client has sent: as if one had, and had gone.
    #[must_use]
    pub fn nobodys(request: &Request) -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut stream = Self::of(None, nowhere, nowhere);
        stream.mode = Mode::Exchange(Body::new(request.parsed().framing()));
        stream.control.set_gone();
        stream
    }

    /// Bytes of the body, as they came, that are at hand: how many of [`Self::received`] belong to it. They are followed from now on, so each
    /// is to be asked for once and then [discarded](Self::discard).
    ///
    /// # Errors
    /// The body is malformed.
    pub fn advance_body(&mut self) -> Result<usize, BodyError> {
        match &mut self.mode {
            Mode::Exchange(body) => body.advance(&self.inbox),
            _ => Ok(0),
        }
    }

    /// The body that is being read.
    pub(in crate::engine) fn body(&mut self) -> Option<&mut Body> {
        match &mut self.mode {
            Mode::Exchange(body) => Some(body),
            _ => None,
        }
    }

    /// Whether the request has come whole.
    #[must_use]
    pub const fn is_body_done(&self) -> bool {
        matches!(&self.mode, Mode::Exchange(body) if body.is_done())
    }

    /// Content of the body so far, in bytes.
    #[must_use]
    pub const fn body_decoded(&self) -> u64 {
        match &self.mode {
            Mode::Exchange(body) => body.decoded(),
            _ => 0,
        }
    }

    /// Drops the first `len` bytes of what was received.
    pub fn discard(&mut self, len: usize) {
        self.inbox.discard(len);
    }

    /// Reads once, at most about `room` bytes; 0 at the end.
    pub fn poll_more(&mut self, room: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(io) = self.io.as_mut().filter(|_| !self.ended) else {
            return Poll::Ready(Ok(0));
        };
        let received = ready!(self.inbox.poll_fill(io, room, cx));
        self.ended |= !matches!(received, Ok(1..));
        Poll::Ready(received)
    }

    /// Ready when the client has hung up. What it sends meanwhile, the beginnings of next requests, is kept.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_end(cx).map(|_| ())
    }

    /// Writes once, past the outbox.
    pub fn poll_send(&mut self, pieces: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(io) = &mut self.io else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        match ready!(Pin::new(io).poll_write_vectored(cx, pieces)) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            other => Poll::Ready(other),
        }
    }

    /// Sends what the transport still holds back (TLS).
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Some(io) => Pin::new(io).poll_flush(cx),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Sends all of it. Between two writes `stall` may pass.
    ///
    /// # Errors
    /// The client is gone, or reads too slowly.
    pub async fn send_all(&mut self, mut pieces: &mut [IoSlice<'_>], stall: Duration) -> io::Result<()> {
        // Whole in one write, nearly always.
        let mut since = None;
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            let sent = poll_fn(|cx| self.poll_unless_stalled(&mut since, stall, cx, |stream, cx| stream.poll_send(pieces, cx))).await?;
            IoSlice::advance_slices(&mut pieces, sent);
        }
        poll_fn(|cx| self.poll_unless_stalled(&mut since, stall, cx, Self::poll_sent)).await
    }

    /// Does something that may have to wait, for `stall` at most since it last went on.
    pub fn poll_unless_stalled<T>(
        &mut self,
        since: &mut Option<Instant>,
        stall: Duration,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = act(self, cx) {
            *since = None;
            return Poll::Ready(done);
        }
        let since = *since.get_or_insert_with(Instant::now);
        ready!(self.poll_passed(since, stall, cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Ready once `wait` has passed since `since`. One timer serves for all that a connection waits for, so this may be asked about several
    /// moments at once.
    pub fn poll_passed(&mut self, since: Instant, wait: Duration, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.poll(after(since, wait), cx)
    }

    /// The socket, where the bytes on it are the bytes of HTTP, so that the kernel may move them. What was received and not discarded comes
    /// before what is read there.
    #[must_use]
    pub fn plain(&self) -> Option<&TcpStream> {
        self.io.as_ref().and_then(super::io::Io::plain)
    }

    /// The socket below, whatever is spoken on it: for its options.
    #[must_use]
    pub fn socket(&self) -> Option<&TcpStream> {
        self.io.as_ref().map(super::io::Io::tcp)
    }

    /// The protocols were switched: all bytes pass as they are from now on.
    pub fn become_tunnel(&mut self) {
        self.mode = Mode::Raw;
        self.control.upgrade();
    }

    /// What was sent is not all, and looks as if it were: the connection ends with a reset.
    pub fn abort(&self) {
        self.control.abort();
    }

    /// What was sent is not all, as the client can see: the connection ends here.
    pub fn cut(&self) {
        self.control.cut();
    }

    /// The client has gone, or is given up, while the exchange goes on: its connection is closed.
    pub fn give_up(&mut self) {
        self.lose();
    }

    /// Whether there is still a client.
    #[must_use]
    pub const fn has_client(&self) -> bool {
        self.io.is_some()
    }
}
