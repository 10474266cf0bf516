//! An answer's body on its way to the client.
//!
//! What comes from the server goes on as soon as it is there, in one write with the head where both are at hand, and when the client does not
//! read, nor does `lb`, unless the body is stored: then others may wait for it, and it comes as fast as the server sends it. Where it turns out not to be
//! stored, `lb` also waits for those who read it along, for a while.
//!
//! Bodies keep their form where they can: bytes of a length, and chunks as the server cut them. A client of HTTP/1.0 gets chunks taken apart; a body that ends
//! with its connection gets chunks, so that the client's connection need not end as well.

mod ahead;

use std::io::IoSlice;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::splice::{self, Splice};
use super::upstream::{Connection, READ_LARGE};
use crate::cache::Ahead;
use crate::engine::h1::{Body, ClientStream, Piece, ResponseFraming};
use crate::exchange::Exchange;

/// How the body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it comes. Trailers go on where the client understands them.
    AsItComes {
        /// It said `TE: trailers`.
        trailers: bool,
    },
    /// Only the content.
    Content,
    /// In chunks.
    Chunks,
}

/// Why an answer ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DownloadError {
    /// The client is gone.
    Gone,
    /// The server's connection broke, or what it sent is malformed, or took too long.
    Cut,
}

/// See the [module](self).
pub(super) struct Download {
    body: Body,
    is_chunked: bool,
    form: Form,
    /// What goes before the run: the head, or the line of a chunk.
    before: BytesMut,
    before_sent: usize,
    /// So many bytes of what was received go next.
    run: usize,
    /// So many of these are content.
    content: usize,
    /// So many bytes behind the run go nowhere.
    skip: usize,
    /// What goes behind the run.
    after: &'static [u8],
    /// Room for a run that grows while the client does not read.
    ahead: Option<Ahead>,
    splice: Option<Splice>,
    server_waits: Option<Instant>,
    client_waits: Option<Instant>,
    readers_wait: Option<Instant>,
    /// So many bytes were received, after which readers may still be waited for.
    unpaced: Option<usize>,
    read_timeout: Duration,
    stall: Duration,
    /// The body has been cut into runs to its end.
    over: bool,
    /// Content that went to the client.
    pub(super) sent: u64,
}

impl Download {
    /// `head` goes first. `read_timeout`: between two reads from the server; `stall`: between two writes to the client.
    pub(super) fn new(head: BytesMut, framing: ResponseFraming, form: Form, read_timeout: Duration, stall: Duration) -> Self {
        Self {
            body: Body::from_response(framing),
            is_chunked: framing == ResponseFraming::Chunked,
            form,
            before: head,
            before_sent: 0,
            run: 0,
            content: 0,
            skip: 0,
            after: b"",
            ahead: None,
            splice: None,
            server_waits: None,
            client_waits: None,
            readers_wait: None,
            unpaced: None,
            read_timeout,
            stall,
            over: false,
            sent: 0,
        }
    }

    /// The server broke off: what had come before goes to the client yet, so that it sees where.
    pub(super) async fn last_words(&mut self, client: &mut ClientStream, server: &Connection) {
        if client.has_client() && self.splice.is_none() {
            let mut pieces = [
                IoSlice::new(&self.before[self.before_sent..]),
                IoSlice::new(&server.received()[..self.run]),
            ];
            // It may have left as well.
            let _ = client.send_all(&mut pieces, self.stall).await;
        }
    }

    /// Whether the server's connection may serve again, as far as the body says.
    pub(super) fn is_clean(&self) -> bool {
        self.over && self.body.is_done()
    }

    /// Passes on what there is. Ready once all of it has gone.
    pub(super) fn poll(
        &mut self,
        client: &mut ClientStream,
        server: &mut Connection,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), DownloadError>> {
        loop {
            if !self.over && self.run == 0 && self.after.is_empty() && self.splice.is_none() {
                self.cut(server, exchange)?;
            }
            if self.splice.is_some() {
                ready!(self.poll_splice(client, server, exchange, cx))?;
                continue;
            }
            if self.run == 0 && self.after.is_empty() && !self.over {
                if !client.has_client() && !exchange.feeds_others() {
                    return Poll::Ready(Err(DownloadError::Gone));
                }
                let received = match self.poll_readers(client, exchange, cx) {
                    Poll::Ready(()) => self.poll_receive(client, server, exchange, cx),
                    Poll::Pending => Poll::Pending,
                };
                match received {
                    Poll::Ready(result) => {
                        result?;
                        continue;
                    }
                    // What is there goes now, and not when more comes.
                    Poll::Pending if self.has_waiting() => ready!(self.poll_send(client, server, exchange, cx))?,
                    Poll::Pending => {}
                }
                ready!(self.poll_flush(client, exchange, cx))?;
                if self.readers_wait.is_some() {
                    return Poll::Pending;
                }
                return self.poll_server_waits(client, exchange, cx);
            }
            match self.poll_send(client, server, exchange, cx) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => {
                    ready!(self.poll_ahead(client, server, exchange, cx))?;
                    continue;
                }
            }
            if self.over && !self.has_waiting() {
                ready!(self.poll_flush(client, exchange, cx))?;
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn has_waiting(&self) -> bool {
        self.before_sent < self.before.len() || self.run > 0 || !self.after.is_empty()
    }

    /// Finds the next run in what was received.
    fn cut(&mut self, server: &mut Connection, exchange: &mut Exchange) -> Result<(), DownloadError> {
        loop {
            let rest = &server.received()[self.run + self.skip..];
            match self.body.next(rest).map_err(|_| DownloadError::Cut)? {
                Piece::Data(count) => {
                    if exchange.stores() {
                        exchange.answer_body(&Bytes::copy_from_slice(&rest[..count]));
                    }
                    self.run += count;
                    self.content += count;
                    match self.form {
                        Form::AsItComes { .. } => {}
                        // What frames it comes between this run and the next.
                        Form::Content => return Ok(()),
                        Form::Chunks => {
                            self.before.extend_from_slice(format!("{count:x}\r\n").as_bytes());
                            self.after = b"\r\n";
                            return Ok(());
                        }
                    }
                }
                Piece::Frame(count) if matches!(self.form, Form::AsItComes { .. }) => self.run += count,
                Piece::Trailers(count) if self.form == (Form::AsItComes { trailers: true }) => self.run += count,
                Piece::Frame(count) | Piece::Trailers(count) if self.run == 0 => server.discard(count),
                Piece::Frame(count) | Piece::Trailers(count) => self.skip += count,
                Piece::More => return Ok(()),
                Piece::Done => {
                    if self.is_chunked && self.form == (Form::AsItComes { trailers: false }) {
                        // In place of the trailers and the line that ended them.
                        self.after = b"\r\n";
                    }
                    self.end(exchange);
                    return Ok(());
                }
            }
        }
    }

    /// The body is whole.
    fn end(&mut self, exchange: &mut Exchange) {
        self.over = true;
        exchange.answer_end();
    }

    fn poll_receive(
        &mut self,
        client: &ClientStream,
        server: &mut Connection,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), DownloadError>> {
        let is_large = splice::is_worthwhile(self.body.remaining());
        if is_large && !self.has_waiting() && matches!(self.form, Form::AsItComes { .. }) && !exchange.stores() {
            self.splice = Splice::between(client.plain(), server.plain());
            if self.splice.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
        let room = if is_large { READ_LARGE } else { 0 };
        match ready!(server.poll_read(room, cx)) {
            Ok(count @ 1..) => {
                self.note_received(count);
                Poll::Ready(Ok(()))
            }
            Ok(0) if self.body.ends_with_connection() => {
                if self.form == Form::Chunks {
                    self.before.extend_from_slice(b"0\r\n\r\n");
                }
                self.end(exchange);
                Poll::Ready(Ok(()))
            }
            Ok(0) | Err(_) => Poll::Ready(Err(DownloadError::Cut)),
        }
    }

    /// Writes what waits.
    fn poll_send(
        &mut self,
        client: &mut ClientStream,
        server: &mut Connection,
        exchange: &Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), DownloadError>> {
        while self.has_waiting() {
            let before = &self.before[self.before_sent..];
            let run = &server.received()[..self.run];
            let total = before.len() + run.len() + self.after.len();
            let sent = if client.has_client() {
                let pieces = [IoSlice::new(before), IoSlice::new(run), IoSlice::new(self.after)];
                match client.poll_unless_stalled(&mut self.client_waits, self.stall, cx, |client, cx| client.poll_send(&pieces, cx)) {
                    Poll::Ready(Ok(sent)) => sent,
                    Poll::Ready(Err(_)) => {
                        lose(client, exchange)?;
                        total
                    }
                    Poll::Pending => return Poll::Pending,
                }
            } else {
                total
            };
            self.note_sent(sent, server);
        }
        Poll::Ready(Ok(()))
    }

    fn note_sent(&mut self, sent: usize, server: &mut Connection) {
        let of_before = sent.min(self.before.len() - self.before_sent);
        self.before_sent += of_before;
        if self.before_sent == self.before.len() {
            self.before.clear();
            self.before_sent = 0;
        }
        let of_run = (sent - of_before).min(self.run);
        server.discard(of_run);
        self.run -= of_run;
        if self.run == 0 {
            self.sent += std::mem::take(&mut self.content) as u64;
            server.discard(std::mem::take(&mut self.skip));
        }
        self.after = &self.after[sent - of_before - of_run..];
    }

    fn poll_flush(&mut self, client: &mut ClientStream, exchange: &Exchange, cx: &mut Context<'_>) -> Poll<Result<(), DownloadError>> {
        if !client.has_client() {
            return Poll::Ready(Ok(()));
        }
        match ready!(client.poll_unless_stalled(&mut self.client_waits, self.stall, cx, ClientStream::poll_sent)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(_) => Poll::Ready(lose(client, exchange)),
        }
    }

    /// The kernel moves what is left.
    fn poll_splice(
        &mut self,
        client: &mut ClientStream,
        server: &Connection,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), DownloadError>> {
        let left = self.body.remaining().unwrap_or(0);
        let (Some(splice), Some(from), Some(to)) = (&mut self.splice, server.plain(), client.plain()) else {
            return Poll::Ready(Err(DownloadError::Gone));
        };
        if splice.is_empty() {
            if left == 0 {
                self.splice = None;
                self.end(exchange);
                return Poll::Ready(Ok(()));
            }
            match splice.poll_fill(from, left, cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(DownloadError::Cut)),
                Poll::Ready(Ok(count)) => {
                    self.server_waits = None;
                    self.content = count;
                    self.body.consume(count as u64);
                }
                Poll::Pending => return self.poll_server_waits(client, exchange, cx),
            }
        }
        match splice.poll_drain(to, cx) {
            Poll::Ready(Ok(())) => {
                self.client_waits = None;
                self.sent += std::mem::take(&mut self.content) as u64;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(DownloadError::Gone)),
            Poll::Pending => {
                let since = *self.client_waits.get_or_insert_with(Instant::now);
                ready!(client.poll_passed(since, self.stall, cx));
                Poll::Ready(Err(DownloadError::Gone))
            }
        }
    }

    /// Nothing comes from the server. Meanwhile the client may leave.
    fn poll_server_waits(
        &mut self,
        client: &mut ClientStream,
        exchange: &Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), DownloadError>> {
        if client.has_client() && client.is_body_done() && client.poll_gone(cx).is_ready() {
            lose(client, exchange)?;
        }
        let since = *self.server_waits.get_or_insert_with(Instant::now);
        ready!(client.poll_passed(since, self.read_timeout, cx));
        Poll::Ready(Err(DownloadError::Cut))
    }
}

/// The client is gone: the answer comes to its end only where others need it.
fn lose(client: &mut ClientStream, exchange: &Exchange) -> Result<(), DownloadError> {
    if !exchange.feeds_others() {
        return Err(DownloadError::Gone);
    }
    client.give_up();
    Ok(())
}
