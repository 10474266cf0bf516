//! A request on its way to a server: its head, and its body while it comes from the client.
//!
//! The first bytes of a body are kept as they pass, up to [`KEPT`], so that a request that failed can be sent to another server, byte for
//! byte. What is longer passes through: as much is held as one read gives, and when the server does not read, nor does `lb`, so that TCP
//! holds the client back.

use std::io::IoSlice;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;

use super::splice::{self, Splice};
use super::upstream::Connection;
use crate::engine::h1::ClientStream;
use crate::exchange::Exchange;
use crate::reject::Refusal;

/// Bytes of a body that are kept for another try.
const KEPT: usize = 64 << 10;
/// Room for a read of a body.
const READ: usize = 32 << 10;

/// Why a request cannot be sent.
#[derive(Debug)]
pub(super) enum UploadError {
    /// The client hung up before its request was whole.
    Gone,
    /// The client is to blame, and is told.
    Refused(Refusal),
    /// The server takes no more. It may have answered all the same.
    Server,
    /// The server did not read in time.
    Stalled,
}

/// See the [module](self).
pub(super) struct Upload {
    /// The head for the server that is asked.
    pub(super) head: BytesMut,
    head_sent: usize,
    /// The beginning of the body, or, once it is not kept any more, what is on its way now.
    body: BytesMut,
    body_sent: usize,
    /// `body` is all that has come of it.
    kept: bool,
    splice: Option<Splice>,
    /// Since when the client sends nothing, the server takes nothing.
    client_waits: Option<Instant>,
    server_waits: Option<Instant>,
    counted: u64,
    read_timeout: Duration,
    write_timeout: Duration,
    done: bool,
    /// Nothing more is sent, to whomever.
    left: bool,
}

impl Upload {
    /// `read_timeout`: between two reads from the client.
    pub(super) fn new(read_timeout: Duration) -> Self {
        Self {
            head: BytesMut::with_capacity(1 << 10),
            head_sent: 0,
            body: BytesMut::new(),
            body_sent: 0,
            kept: true,
            splice: None,
            client_waits: None,
            server_waits: None,
            counted: 0,
            read_timeout,
            write_timeout: Duration::MAX,
            done: false,
            left: false,
        }
    }

    /// Begins again, for another server, with another [head](Self::head). `write_timeout`: between two writes to it.
    pub(super) fn restart(&mut self, write_timeout: Duration) {
        self.head_sent = 0;
        self.body_sent = 0;
        self.server_waits = None;
        self.write_timeout = write_timeout;
        self.done = false;
    }

    /// Whether the request could be sent again.
    pub(super) fn is_replayable(&self) -> bool {
        self.kept
    }

    /// The body as it came, once all of it has been sent, if it was short enough to be kept.
    pub(super) fn kept_body(&self) -> Option<&[u8]> {
        (self.kept && self.done).then_some(&self.body)
    }

    /// Ends: the answer comes from a server that was asked before. `whole`: it was sent everything.
    pub(super) fn leave(&mut self, whole: bool) {
        self.done = whole;
        self.left = true;
    }

    /// Whether there is more to send.
    pub(super) fn goes_on(&self) -> bool {
        !self.done && !self.left
    }

    /// Whether the server is what it waits for.
    pub(super) fn waits_for_server(&self) -> bool {
        self.server_waits.is_some()
    }

    /// Whether all has been sent.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Sends on. Ready once all has been sent.
    pub(super) fn poll(
        &mut self,
        client: &mut ClientStream,
        server: &mut Connection,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UploadError>> {
        while !self.done {
            // What has come along with the head goes along with it.
            if self.body_sent == self.body.len() && !client.is_body_done() && !client.received().is_empty() {
                self.take(client, exchange)?;
            }
            ready!(self.poll_send(client, server, cx))?;
            if self.splice.is_some() {
                ready!(self.poll_splice(client, server, exchange, cx))?;
            } else if client.is_body_done() {
                match server.poll_flush(cx) {
                    Poll::Ready(Ok(())) => self.done = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(UploadError::Server)),
                    Poll::Pending => return self.poll_server_waits(client, cx),
                }
            } else if client.received().is_empty() {
                ready!(self.poll_receive(client, server, cx))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what is at hand of the body.
    fn take(&mut self, client: &mut ClientStream, exchange: &mut Exchange) -> Result<(), UploadError> {
        let taken = client.advance_body().map_err(|_| malformed(exchange))?;
        self.count(client, exchange)?;
        // Of chunks, what they hold counts, and their lines within reason.
        if self.counted > KEPT as u64 || self.body.len() + taken > 4 * KEPT {
            self.kept = false;
        }
        if !self.kept {
            self.body.clear();
            self.body_sent = 0;
        }
        self.body.extend_from_slice(&client.received()[..taken]);
        client.discard(taken);
        Ok(())
    }

    fn count(&mut self, client: &ClientStream, exchange: &mut Exchange) -> Result<(), UploadError> {
        let decoded = client.body_decoded();
        let more = decoded - self.counted;
        self.counted = decoded;
        exchange
            .request_body(usize::try_from(more).unwrap_or(usize::MAX))
            .map_err(UploadError::Refused)
    }

    fn poll_send(&mut self, client: &mut ClientStream, server: &mut Connection, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        loop {
            let (head, body) = (&self.head[self.head_sent..], &self.body[self.body_sent..]);
            if head.is_empty() && body.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let sent = match server.poll_write(&[IoSlice::new(head), IoSlice::new(body)], cx) {
                Poll::Ready(Ok(sent)) => sent,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(UploadError::Server)),
                Poll::Pending => return self.poll_server_waits(client, cx),
            };
            let of_head = sent.min(head.len());
            self.head_sent += of_head;
            self.body_sent += sent - of_head;
            self.server_waits = None;
        }
    }

    fn poll_receive(&mut self, client: &mut ClientStream, server: &Connection, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        if !self.kept && splice::is_worthwhile(client.body().and_then(|body| body.remaining())) {
            self.splice = Splice::between(client.plain(), server.plain());
            if self.splice.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
        match client.poll_more(READ, cx) {
            Poll::Ready(Ok(1..)) => {
                self.client_waits = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(UploadError::Gone)),
            Poll::Pending => self.poll_client_waits(client, cx),
        }
    }

    /// The kernel moves what is left.
    fn poll_splice(
        &mut self,
        client: &mut ClientStream,
        server: &Connection,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UploadError>> {
        let left = client.body().and_then(|body| body.remaining()).unwrap_or(0);
        let (Some(splice), Some(from), Some(to)) = (&mut self.splice, client.plain(), server.plain()) else {
            return Poll::Ready(Err(UploadError::Server));
        };
        if splice.is_empty() {
            match splice.poll_fill(from, left, cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(UploadError::Gone)),
                Poll::Ready(Ok(count)) => {
                    self.client_waits = None;
                    if let Some(body) = client.body() {
                        body.consume(count as u64);
                    }
                    self.count(client, exchange)?;
                }
                Poll::Pending => return self.poll_client_waits(client, cx),
            }
            return Poll::Ready(Ok(()));
        }
        match splice.poll_drain(to, cx) {
            Poll::Ready(Ok(())) => {
                self.server_waits = None;
                if client.is_body_done() {
                    self.splice = None;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(UploadError::Server)),
            Poll::Pending => self.poll_server_waits(client, cx),
        }
    }

    fn poll_client_waits(&mut self, client: &mut ClientStream, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        let since = *self.client_waits.get_or_insert_with(Instant::now);
        ready!(client.poll_passed(since, self.read_timeout, cx));
        Poll::Ready(Err(UploadError::Refused(Refusal::RequestTimeout(
            "The request's body did not arrive in time.",
        ))))
    }

    fn poll_server_waits(&mut self, client: &mut ClientStream, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        let since = *self.server_waits.get_or_insert_with(Instant::now);
        ready!(client.poll_passed(since, self.write_timeout, cx));
        Poll::Ready(Err(UploadError::Stalled))
    }
}

fn malformed(exchange: &mut Exchange) -> UploadError {
    UploadError::Refused(exchange.refuse(Refusal::BadRequest("The request's body is malformed.")))
}
