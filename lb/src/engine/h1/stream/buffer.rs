//! Bytes on their way in and out.
//!
//! An idle connection holds neither: what waits for a first byte needs no buffer, and there may be ten thousand of those.

use std::future::Future;
use std::io::{self, IoSlice};
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite, ReadBuf};

use super::io::Io;

/// Room for a read: most heads fit.
pub(super) const READ: usize = 4 << 10;
/// Less room than that is not worth a read.
const LITTLE: usize = 1 << 10;
/// What waits to be sent: beyond it, the writer waits for the client.
const OUT: usize = 16 << 10;
/// Room that is made for the first bytes of an answer, so that its head and a small body need no second allocation.
const FIRST_OUT: usize = 2 << 10;
/// Pieces of one write.
const PIECES: usize = 16;

/// Bytes that came and were not yet used.
#[derive(Debug, Default)]
pub(super) struct Inbox(BytesMut);

impl Inbox {
    /// Reads once: how many bytes came, 0 at the end. `room` is made where there is little.
    pub(super) fn poll_fill(&mut self, io: &mut Io, room: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.0.capacity() == 0 {
            ready!(io.poll_readable(cx))?;
        }
        if self.0.capacity() - self.0.len() < LITTLE {
            self.0.reserve(room);
        }
        let read = pin!(io.read_buf(&mut self.0)).poll(cx);
        self.let_go_if_empty();
        read
    }

    /// Takes the first `len` bytes out: without a copy, and without a shared buffer where there are no others.
    pub(super) fn take(&mut self, len: usize) -> BytesMut {
        if len == self.0.len() {
            std::mem::take(&mut self.0)
        } else {
            self.0.split_to(len.min(self.0.len()))
        }
    }

    /// Drops the first `len` bytes.
    pub(super) fn discard(&mut self, len: usize) {
        self.0.advance(len.min(self.0.len()));
        self.let_go_if_empty();
    }

    /// Moves the first `len` bytes into a reader's buffer that has room for them.
    pub(super) fn give(&mut self, len: usize, reader: &mut ReadBuf<'_>) {
        reader.put_slice(&self.0[..len]);
        self.discard(len);
    }

    /// Keeps bytes that another reader has read too far.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    #[cfg(test)]
    pub(super) fn is_unallocated(&self) -> bool {
        self.0.capacity() == 0
    }

    fn let_go_if_empty(&mut self) {
        if self.0.is_empty() {
            self.0 = BytesMut::new();
        }
    }
}

impl Deref for Inbox {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes that wait to be sent, so that the head and the small body of an answer leave in one write.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    buf: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// What waits.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.buf[self.sent..]
    }

    /// Takes bytes: into the buffer where they fit, else through it to the client, together with what waits, in one system call.
    pub(super) fn poll_write(&mut self, io: &mut Io, bufs: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        while self.waiting().len() + len > OUT {
            let accepted = ready!(self.poll_write_through(io, bufs, cx))?;
            if accepted > 0 {
                return Poll::Ready(Ok(accepted));
            }
        }
        if self.buf.capacity() == 0 {
            self.buf.reserve(len.max(FIRST_OUT));
        }
        for buf in bufs {
            self.buf.extend_from_slice(buf);
        }
        Poll::Ready(Ok(len))
    }

    /// One write of what waits and of what is new. How many of the new bytes left.
    fn poll_write_through(&mut self, io: &mut Io, bufs: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let waiting = self.waiting();
        pieces[0] = IoSlice::new(waiting);
        let count = bufs.len().min(PIECES - 1);
        pieces[1..=count].copy_from_slice(&bufs[..count]);
        let written = ready!(Pin::new(io).poll_write_vectored(cx, &pieces[..=count]))?;
        let accepted = written.saturating_sub(waiting.len());
        let sent = written - accepted;
        self.take_sent(sent);
        if written == 0 {
            Poll::Ready(Err(io::ErrorKind::WriteZero.into()))
        } else {
            Poll::Ready(Ok(accepted))
        }
    }

    /// Sends all that waits.
    pub(super) fn poll_flush(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting().is_empty() {
            match ready!(Pin::new(&mut *io).poll_write(cx, self.waiting()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.take_sent(written),
            }
        }
        Pin::new(io).poll_flush(cx)
    }

    fn take_sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.buf.len() {
            self.buf.clear();
            self.sent = 0;
        }
    }

    #[cfg(test)]
    pub(super) fn is_unallocated(&self) -> bool {
        self.buf.capacity() == 0
    }

    /// Gives its memory back, and drops what waits.
    pub(super) fn let_go(&mut self) {
        *self = Self::default();
    }
}
