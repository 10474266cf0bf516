//! What a client's bytes come through.

use std::io;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A transport. One kind more is one variant more: TLS comes beside TCP.
#[derive(Debug)]
pub(super) enum Io {
    Tcp(TcpStream),
}

impl Io {
    /// Ready once a read would give something, so that nobody needs a buffer to wait with.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_read_ready(cx),
        }
    }

    /// The socket, where the bytes on it are the bytes of HTTP.
    pub(super) fn plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp),
        }
    }

    /// Whether something is known to have come and was not read.
    pub(super) fn has_unread(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.try_read(&mut [0]).is_ok_and(|read| read > 0),
        }
    }

    /// Writes what the socket takes at once.
    pub(super) fn try_write(&self, bytes: &[u8]) {
        match self {
            // Nobody is left to hear of an error.
            Self::Tcp(tcp) => drop(tcp.try_write(bytes)),
        }
    }

    /// Closing shall reset the connection, so that the client cannot take what it has for all there is.
    pub(super) fn reset_on_close(&self) {
        match self {
            // It fails only where the connection is gone already.
            Self::Tcp(tcp) => drop(tcp.set_zero_linger()),
        }
    }
}

impl AsRawFd for Io {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(tcp) => tcp.as_raw_fd(),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
        }
    }
}
