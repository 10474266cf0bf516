//! What a client's bytes come through.

use std::io;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A transport.
#[derive(Debug)]
pub(super) enum Io {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Io {
    /// The socket below.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Ready once a read may give something, so that nobody needs a buffer to wait with.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_read_ready(cx),
            // What was decrypted already makes no socket readable.
            Self::Tls(tls) if !tls.get_ref().1.wants_read() => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.get_ref().0.poll_read_ready(cx),
        }
    }

    /// The socket, where the bytes on it are the bytes of HTTP.
    pub(super) const fn plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp),
            Self::Tls(_) => None,
        }
    }

    /// Whether something is known to have come and was not read. The connection is of no use afterwards.
    pub(super) fn has_unread(&self) -> bool {
        self.tcp().try_read(&mut [0]).is_ok_and(|read| read > 0)
    }

    /// Writes what the socket takes at once.
    pub(super) fn try_write(&mut self, bytes: &[u8]) {
        let mut now = Context::from_waker(Waker::noop());
        // Nobody is left to hear of an error.
        let _ = Pin::new(&mut *self).poll_write(&mut now, bytes);
        let _ = Pin::new(self).poll_flush(&mut now);
    }

    /// Says that no more will come, where the transport has a word for it: TLS, which tells a whole answer from one that was cut by it
    /// (RFC 8446 §6.1). As far as the socket takes it at once.
    pub(super) fn say_goodbye(&mut self) {
        if let Self::Tls(tls) = self {
            let mut now = Context::from_waker(Waker::noop());
            let _ = Pin::new(tls).poll_shutdown(&mut now);
        }
    }

    /// Closing shall reset the connection, so that the client cannot take what it has for all there is.
    pub(super) fn reset_on_close(&self) {
        // It fails only where the connection is gone already.
        let _ = self.tcp().set_zero_linger();
    }
}

impl AsRawFd for Io {
    fn as_raw_fd(&self) -> RawFd {
        self.tcp().as_raw_fd()
    }
}

macro_rules! through {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Io::Tcp($io) => $call,
            Io::Tls($io) => $call,
        }
    };
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        through!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        through!(self, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        through!(self, io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        through!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        through!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}
