//! Bytes that the kernel moves from one socket to another through a pipe, without copying them into the process and back (splice(2)).
//!
//! For a body of a megabyte this halves the cost. It wants two plain sockets, and nobody who has to see the bytes. Pipes are kept by each
//! thread, because making one costs two descriptors and a call or two.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::transport::Socket;

/// What a pipe holds. An unprivileged user may have 64 MiB in pipes, so that many transfers at once get smaller ones, which work as well.
const CAPACITY: usize = 256 << 10;
/// Bodies below are not worth it.
const WORTHWHILE: u64 = 64 << 10;
/// Pipes that a thread keeps.
const IDLE_PIPES: usize = 32;

thread_local! {
    static PIPES: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// A transfer under way.
#[derive(Debug)]
pub(super) struct Splice {
    pipe: Option<Pipe>,
    /// Bytes in the pipe.
    held: usize,
}

/// A socket that the kernel moves bytes to or from.
pub(super) trait Plain: AsFd {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Does something that may find the socket not ready, which is remembered.
    fn attempt(&self, interest: Interest, act: impl FnOnce() -> io::Result<usize>) -> io::Result<usize>;
}

impl Plain for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(cx)
    }

    fn attempt(&self, interest: Interest, act: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        self.try_io(interest, act)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Unix(unix) => unix.as_fd(),
        }
    }
}

impl Plain for Socket {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_read_ready(cx),
            Self::Unix(unix) => unix.poll_read_ready(cx),
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_write_ready(cx),
            Self::Unix(unix) => unix.poll_write_ready(cx),
        }
    }

    fn attempt(&self, interest: Interest, act: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_io(interest, act),
            Self::Unix(unix) => unix.try_io(interest, act),
        }
    }
}

/// Whether so much is left that the kernel should move it.
pub(super) fn is_worthwhile(left: Option<u64>) -> bool {
    left.is_some_and(|left| left > WORTHWHILE)
}

impl Splice {
    /// A transfer between two plain sockets; `None` where one is not, or where there is no pipe to be had.
    pub(super) fn between(one: Option<&TcpStream>, other: Option<&Socket>) -> Option<Self> {
        one.and(other)?;
        let pipe = PIPES.with_borrow_mut(Vec::pop).or_else(|| Pipe::new().ok())?;
        Some(Self { pipe: Some(pipe), held: 0 })
    }

    /// Whether nothing is on its way.
    pub(super) const fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Takes up to `most` bytes from a socket: how many, 0 at the end. Only while the pipe is empty, so that it is the socket that has nothing
    /// where nothing comes.
    pub(super) fn poll_fill(&mut self, from: &impl Plain, most: u64, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(pipe) = &self.pipe else { return Poll::Ready(Ok(0)) };
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(CAPACITY);
        loop {
            ready!(from.poll_readable(cx))?;
            match from.attempt(Interest::READABLE, || moved(from, &pipe.write, most)) {
                Ok(count) => {
                    self.held = count;
                    return Poll::Ready(Ok(count));
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Gives all of it to a socket.
    pub(super) fn poll_drain(&mut self, to: &impl Plain, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(pipe) = &self.pipe else { return Poll::Ready(Ok(())) };
        while self.held > 0 {
            ready!(to.poll_writable(cx))?;
            match to.attempt(Interest::WRITABLE, || moved(&pipe.read, to, self.held)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.held -= count,
                Err(error) if is_transient(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn moved(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    Ok(splice(from, None, to, None, most, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Drop for Splice {
    fn drop(&mut self) {
        // What is in the pipe belongs to a transfer that was given up: the pipe goes with it.
        if let (0, Some(pipe)) = (self.held, self.pipe.take()) {
            // At the end of its thread it is closed.
            let _ = PIPES.try_with(|pipes| {
                let mut pipes = pipes.borrow_mut();
                if pipes.len() < IDLE_PIPES {
                    pipes.push(pipe);
                }
            });
        }
    }
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Where it is refused, the pipe has the system's size.
        let _ = fcntl_setpipe_size(&write, CAPACITY);
        Ok(Self { read, write })
    }
}
