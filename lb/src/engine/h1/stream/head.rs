//! Waiting for a request and reading its head.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use super::buffer::READ;
use super::deadline::after;
use super::{ClientStream, Mode};
use crate::engine::h1::error::HeadError;
use crate::engine::h1::head::HeadLimits;

/// What a client sends first that speaks HTTP/2 without asking (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a head may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadTimeouts {
    /// The whole head, from its first byte; also the first byte of a new connection.
    pub head: Duration,
    /// The first byte after an earlier request.
    pub idle: Duration,
}

impl From<&lb_config::Limits> for HeadTimeouts {
    fn from(limits: &lb_config::Limits) -> Self {
        Self {
            head: limits.header_timeout,
            idle: limits.idle_timeout,
        }
    }
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadRead {
    /// A head in order: see [`ClientStream::head`], then [`ClientStream::begin`].
    Request,
    /// The preface of HTTP/2. The stream passes all bytes from now on, the preface first.
    Http2,
    /// The client closed the connection between requests, or said before that no further one would be its: nothing to say.
    Closed,
    /// No request came in time: nothing to say.
    Idle,
}

/// What came was no head.
#[derive(Debug, Error)]
pub enum HeadFailure {
    /// It must be refused, and the connection closed.
    #[error(transparent)]
    Refused(#[from] HeadError),
    /// It did not come whole in time: 408.
    #[error("request head not received in time")]
    TimedOut,
    /// The client hung up within it.
    #[error("client closed the connection within a request head")]
    CutOff,
    /// The connection is broken.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The request before was not received whole, so that nobody knows where the next begins.
    #[error("request before is unfinished")]
    Unfinished,
}

impl ClientStream {
    /// The next head. Safe to cancel: a later call goes on where this one was, under the same deadlines, and [`Self::is_idle`] says meanwhile
    /// whether a request has begun to come.
    pub async fn read_head(&mut self, limits: &HeadLimits, timeouts: &HeadTimeouts) -> Result<HeadRead, HeadFailure> {
        poll_fn(|cx| self.poll_head(limits, timeouts, cx)).await
    }

    fn poll_head(&mut self, limits: &HeadLimits, timeouts: &HeadTimeouts, cx: &mut Context<'_>) -> Poll<Result<HeadRead, HeadFailure>> {
        match &self.mode {
            Mode::Waiting => {}
            Mode::Ready => return Poll::Ready(Ok(HeadRead::Request)),
            Mode::Exchange(body) if body.is_done() && !self.control.ends_connection() => self.end_exchange(),
            Mode::Exchange(_) | Mode::Raw => return Poll::Ready(Err(HeadFailure::Unfinished)),
        }
        let Some(io) = &mut self.io else {
            return Poll::Ready(Ok(HeadRead::Closed));
        };
        ready!(self.outbox.poll_flush(io, cx))?;
        self.outbox.let_go();
        if self.last {
            return Poll::Ready(Ok(HeadRead::Closed));
        }
        loop {
            if let Some(read) = self.look(limits)? {
                return Poll::Ready(Ok(read));
            }
            match self.poll_receive(cx) {
                Poll::Ready(Ok(0)) if self.is_idle() => return Poll::Ready(Ok(HeadRead::Closed)),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(HeadFailure::CutOff)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(HeadFailure::Io(error))),
                Poll::Pending => {
                    ready!(self.poll_deadline(timeouts, cx));
                    return Poll::Ready(if self.is_idle() {
                        Ok(HeadRead::Idle)
                    } else {
                        Err(HeadFailure::TimedOut)
                    });
                }
            }
        }
    }

    /// Whether what there is makes a head.
    fn look(&mut self, limits: &HeadLimits) -> Result<Option<HeadRead>, HeadError> {
        if self.inbox.is_empty() {
            return Ok(None);
        }
        if self.requests == 0 && self.inbox.starts_with(&PREFACE[..self.inbox.len().min(PREFACE.len())]) {
            if self.inbox.len() < PREFACE.len() {
                return Ok(None);
            }
            self.mode = Mode::Raw;
            return Ok(Some(HeadRead::Http2));
        }
        if !self.parser.advance(&self.inbox, limits)? {
            return Ok(None);
        }
        self.mode = Mode::Ready;
        self.waiting_since = None;
        self.head_since = None;
        Ok(Some(HeadRead::Request))
    }

    /// Reads once into the inbox.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_more(READ, cx)
    }

    fn poll_deadline(&mut self, timeouts: &HeadTimeouts, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = if self.is_idle() {
            let wait = if self.requests == 0 {
                timeouts.head.min(timeouts.idle)
            } else {
                timeouts.idle
            };
            after(*self.waiting_since.get_or_insert_with(Instant::now), wait)
        } else {
            after(*self.head_since.get_or_insert_with(Instant::now), timeouts.head)
        };
        self.deadline.poll(deadline, cx)
    }

    /// The exchange before is over: back to waiting.
    fn end_exchange(&mut self) {
        // Whatever the engine thinks of `Connection`: several fields and lists are not everybody's strength.
        self.last = !self.parser.parsed().keep_alive();
        self.parser.reset();
        self.mode = Mode::Waiting;
    }
}
