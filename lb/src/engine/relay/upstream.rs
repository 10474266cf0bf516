//! A connection to a server: writing a request, reading the head of its answer.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustix::net::RecvFlags;
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::transport::{Socket, Transport};
use crate::engine::h1::{HeadLimits, ResponseParsed, ResponseParser, ResponseView};
use crate::exchange::Failure;

/// Room for a read of an answer: heads and small bodies fit.
const READ: usize = 16 << 10;
/// Room for a read of a body that is known to be large.
pub(super) const READ_LARGE: usize = 64 << 10;
/// Less room than that is not worth a read.
const LITTLE: usize = 2 << 10;
/// Of an answer's head. More than any server sends on purpose; nginx has 4 or 8 KiB.
const HEAD_LIMITS: HeadLimits = HeadLimits::new(256 << 10, 512);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Connection {
    transport: Transport,
    /// What was received and not yet used.
    inbox: BytesMut,
    parser: ResponseParser,
    /// It has served a request before this one.
    pub(super) reused: bool,
}

impl Connection {
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            transport,
            inbox: BytesMut::new(),
            parser: ResponseParser::default(),
            reused: false,
        }
    }

    /// Whether it may carry another request: the server has neither closed it nor said what nobody asked for.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.inbox.is_empty() && self.transport.is_quiet()
    }

    /// The same, asking the kernel in any case.
    pub(super) fn is_quiet_now(&self) -> bool {
        let mut byte = [0];
        let looked = rustix::net::recv(self.transport.socket(), &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(looked, Err(rustix::io::Errno::AGAIN))
    }

    /// Whether the kernel knows of no error, nor, unless that `may_end`, of an end that comes next.
    pub(super) fn is_open(&self, may_end: bool) -> bool {
        let mut byte = [0];
        match rustix::net::recv(self.transport.socket(), &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, 0)) => may_end,
            Ok(_) => true,
            Err(error) => error == rustix::io::Errno::AGAIN,
        }
    }

    /// Makes it ready for another request. The inbox is given back: idle connections hold no buffer.
    pub(super) fn rest(&mut self) {
        self.inbox = BytesMut::new();
        self.parser.reset();
        self.reused = true;
    }

    /// What was received and not yet used.
    pub(super) fn received(&self) -> &[u8] {
        &self.inbox
    }

    /// Drops the first `len` bytes of it.
    pub(super) fn discard(&mut self, len: usize) {
        self.inbox.advance(len.min(self.inbox.len()));
    }

    /// The head that was found.
    pub(super) fn head(&self) -> ResponseView<'_> {
        ResponseView::new(&self.inbox, self.parser.parsed())
    }

    pub(super) fn parsed(&self) -> &ResponseParsed {
        self.parser.parsed()
    }

    /// The head is dealt with: what follows it is the body, or the next head.
    pub(super) fn drop_head(&mut self) {
        self.discard(self.parser.parsed().len());
    }

    /// A final answer follows an interim one.
    pub(super) fn expect_another(&mut self) {
        self.drop_head();
        self.parser.reset();
    }

    /// The next head; see [`Self::head`].
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            if !self.inbox.is_empty() && self.parser.advance(&self.inbox, &HEAD_LIMITS).map_err(|_| Failure::Invalid)? {
                return Poll::Ready(Ok(()));
            }
            match ready!(self.poll_read(READ, cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(Err(Failure::Reset)),
            }
        }
    }

    /// Reads once: how many bytes came, 0 at the end.
    pub(super) fn poll_read(&mut self, room: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.inbox.is_empty() {
            ready!(self.transport.poll_readable(cx))?;
            self.inbox.clear();
        }
        if self.inbox.capacity() - self.inbox.len() < LITTLE {
            self.inbox.reserve(room.max(READ));
        }
        pin!(self.transport.read_buf(&mut self.inbox)).poll(cx)
    }

    /// Writes once.
    pub(super) fn poll_write(&mut self, pieces: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.transport).poll_write_vectored(cx, pieces)) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            other => Poll::Ready(other),
        }
    }

    /// Sends what the transport holds back.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    /// The socket, where the kernel may move the bytes on it.
    pub(super) fn plain(&self) -> Option<&Socket> {
        self.transport.plain()
    }

    /// What is below, and what was read ahead.
    pub(super) fn tunnel(&mut self) -> (&mut Transport, BytesMut) {
        (&mut self.transport, std::mem::take(&mut self.inbox))
    }
}
