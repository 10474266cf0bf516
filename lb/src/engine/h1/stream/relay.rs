//! What an engine sees during an exchange.
//!
//! Reads give the body of the request and nothing beyond it. When it is done they wait, and end only when the client does, since that is how
//! an engine notices a client that has gone. A client that shuts down its sending side and still listens looks the same: it is taken for
//! gone, as nginx does, because most that look so have gone, and an abandoned request costs a server's time.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::buffer::Outbox;
use super::io::Io;
use super::{ClientStream, Mode};
use crate::engine::h1::body::{Body, BodyError};

/// Bytes of next requests that are kept while one is under way. Beyond that, TCP holds the client back.
const EARLY: usize = 16 << 10;

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.control.is_upgraded() {
            this.mode = Mode::Raw;
        }
        if this.control.is_detached() {
            this.lose();
        }
        let before = buf.filled().len();
        let result = match &mut this.mode {
            Mode::Waiting | Mode::Ready => Poll::Ready(Err(io::Error::other("no request has begun"))),
            Mode::Raw => this.poll_raw(buf, cx),
            Mode::Exchange(body) if body.is_done() => this.poll_end(cx),
            Mode::Exchange(_) => this.poll_body(buf, cx),
        };
        let Poll::Ready(result) = result else {
            // The engine has nothing better to do than to wait, so what it has written so far goes out: the beginning of an answer whose
            // rest is slow to come. If that fails, the next write says so.
            if let Some(io) = &mut this.io {
                let _ = this.outbox.poll_flush(io, cx);
            }
            return Poll::Pending;
        };
        let ended = match &result {
            Ok(()) => buf.filled().len() == before && buf.remaining() > 0,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                this.control.set_malformed();
                false
            }
            Err(_) => true,
        };
        if ended {
            this.ended = true;
            this.control.set_gone();
            // An exchange can go on without its client, but not without the rest of its request.
            if this.control.outlives() && !matches!(&this.mode, Mode::Exchange(body) if !body.is_done()) {
                this.lose();
                return Poll::Pending;
            }
        }
        Poll::Ready(result)
    }
}

impl ClientStream {
    fn poll_raw(&mut self, buf: &mut ReadBuf<'_>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.inbox.is_empty() {
            self.inbox.give(self.inbox.len().min(buf.remaining()), buf);
            return Poll::Ready(Ok(()));
        }
        match &mut self.io {
            Some(io) => Pin::new(io).poll_read(cx, buf),
            None => Poll::Ready(Ok(())),
        }
    }

    /// The next bytes of the body, straight into the engine's buffer unless they came with the head.
    fn poll_body(&mut self, buf: &mut ReadBuf<'_>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Mode::Exchange(body) = &mut self.mode else {
            return Poll::Ready(Ok(()));
        };
        // A malformed body stays so: nothing more is read of it.
        advance(body, &[])?;
        if !self.inbox.is_empty() {
            let len = self.inbox.len().min(buf.remaining());
            let taken = advance(body, &self.inbox[..len])?;
            self.inbox.give(taken, buf);
            return Poll::Ready(Ok(()));
        }
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(())) };
        let before = buf.filled().len();
        ready!(Pin::new(io).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        let taken = match advance(body, read) {
            Ok(taken) => taken,
            Err(error) => {
                buf.set_filled(before);
                return Poll::Ready(Err(error));
            }
        };
        self.inbox.put(&read[taken..]);
        buf.set_filled(before + taken);
        Poll::Ready(Ok(()))
    }

    /// After the body: ready when the client has hung up. What comes meanwhile is kept for later.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.inbox.len() < EARLY {
            if ready!(self.poll_receive(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        // No more is read until this request is over, so nobody is woken: not even by an end that lies behind those bytes.
        Poll::Pending
    }

    /// Does something with the connection and the outbox; or does as if, when the client has gone and the exchange goes on.
    fn poll_out<T>(
        &mut self,
        cx: &mut Context<'_>,
        swallowed: T,
        act: impl FnOnce(&mut Io, &mut Outbox, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut result = match &mut self.io {
            Some(io) if !self.control.is_detached() => act(io, &mut self.outbox, cx),
            _ => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        };
        if result.is_pending() {
            self.control.wake_writer_of(cx);
            // It may have been given up in between, when there was nobody to wake.
            if self.control.is_detached() {
                result = Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
        }
        if matches!(result, Poll::Ready(Err(_))) {
            self.control.set_gone();
            if self.control.outlives() {
                self.lose();
                return Poll::Ready(Ok(swallowed));
            }
        }
        result
    }
}

fn advance(body: &mut Body, bytes: &[u8]) -> io::Result<usize> {
    body.advance(bytes)
        .map_err(|error: BodyError| io::Error::new(io::ErrorKind::InvalidData, error))
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        self.get_mut().poll_out(cx, len, |io, outbox, cx| outbox.poll_write(io, bufs, cx))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_out(cx, (), |io, outbox, cx| outbox.poll_flush(io, cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.control.is_aborted() || (this.handshake.is_some() && this.control.is_cut()) {
            // An orderly end is what the client must not see.
            return Poll::Ready(Ok(()));
        }
        this.poll_out(cx, (), |io, outbox, cx| {
            ready!(outbox.poll_flush(io, cx))?;
            Pin::new(io).poll_shutdown(cx)
        })
    }
}
