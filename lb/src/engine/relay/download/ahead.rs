//! Ahead of the client for others who need the body, and waiting for those of them who are far behind.

use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::super::upstream::{Connection, READ_LARGE};
use super::{Download, DownloadError, Form};
use crate::cache::pause;
use crate::engine::h1::ClientStream;
use crate::exchange::Exchange;

impl Download {
    pub(super) fn note_received(&mut self, count: usize) {
        self.server_waits = None;
        self.unpaced = Some(count);
    }

    /// Waits for those who read along and are far behind.
    pub(super) fn poll_readers(&mut self, client: &mut ClientStream, exchange: &Exchange, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(received) = self.unpaced
            && exchange.poll_readers(cx).is_pending()
        {
            let since = *self.readers_wait.get_or_insert_with(Instant::now);
            ready!(client.poll_passed(since, pause(received), cx));
        }
        // From here on it is the server that is waited for.
        self.unpaced = None;
        self.readers_wait = None;
        Poll::Ready(())
    }

    /// The client does not read: where others need the body, more of it comes all the same.
    pub(super) fn poll_ahead(
        &mut self,
        client: &mut ClientStream,
        server: &mut Connection,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), DownloadError>> {
        let grows = matches!(self.form, Form::AsItComes { .. }) && !self.over && self.after.is_empty() && self.skip == 0;
        if !grows || !exchange.feeds_others() {
            return Poll::Pending;
        }
        ready!(self.poll_readers(client, exchange, cx));
        let ahead = self.ahead.get_or_insert_with(|| exchange.ahead());
        if !ahead.holds(self.run + READ_LARGE) {
            return Poll::Pending;
        }
        match ready!(server.poll_read(READ_LARGE, cx)) {
            Ok(count @ 1..) => {
                self.note_received(count);
                Poll::Ready(self.cut(server, exchange))
            }
            Ok(0) | Err(_) => Poll::Ready(Err(DownloadError::Cut)),
        }
    }
}
