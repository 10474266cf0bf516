//! How a connection ends.
//!
//! A socket that is closed while bytes lie in it unread answers with a reset, and a reset makes the client's kernel throw away what it has
//! received: the client never sees the answer that told it why (RFC 9112 §9.6). So where a client may still be sending, the sending side is
//! closed first, and what comes is thrown away for a while.

use std::any::Any;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::io::Io;
use super::{ClientStream, Mode};

/// How long a client is listened to after the last word.
const LINGER_TIME: Duration = Duration::from_secs(2);
/// How much of what it still sends is thrown away.
const LINGER_BYTES: usize = 64 << 20;

impl ClientStream {
    /// Sends a last answer and closes the connection, in such a way that the client can read it. Bounded in time, whatever the client does.
    pub async fn refuse(mut self, answer: &[u8]) {
        let Some(mut io) = self.io.take() else { return };
        let last_words = async {
            io.write_all(self.outbox.waiting()).await?;
            io.write_all(answer).await?;
            io.flush().await
        };
        // A client that is gone, or does not read a page, needs no answer.
        if let Ok(Ok(())) = timeout(LINGER_TIME, last_words).await
            && !self.ended
        {
            linger(io, self.guard.take()).await;
        }
    }

    /// Whether the client may be sending something that nobody will read.
    fn may_be_interrupted(&self, io: &Io) -> bool {
        if self.ended || self.control.client_gone() {
            return false;
        }
        match &self.mode {
            Mode::Waiting | Mode::Ready => !self.inbox.is_empty(),
            Mode::Exchange(body) => !body.is_done() || !self.inbox.is_empty() || (self.parsed().keep_alive() && io.has_unread()),
            Mode::Raw => true,
        }
    }
}

/// Closes the sending side and throws away what comes, until the client closes too or has had its time.
async fn linger(mut io: Io, guard: Option<Box<dyn Any + Send + Sync>>) {
    let _guard = guard;
    if io.shutdown().await.is_err() {
        return;
    }
    let drained = async {
        let mut waste = vec![0; 16 << 10];
        let mut left = LINGER_BYTES;
        while let Ok(read @ 1..) = io.read(&mut waste).await {
            left = left.saturating_sub(read);
            if left == 0 {
                break;
            }
        }
    };
    let _ = timeout(LINGER_TIME, drained).await;
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        let Some(mut io) = self.io.take() else { return };
        if self.control.is_aborted() {
            io.reset_on_close();
            return;
        }
        if !self.outbox.waiting().is_empty() {
            io.try_write(self.outbox.waiting());
        }
        if self.control.is_cut() {
            return;
        }
        io.say_goodbye();
        if self.may_be_interrupted(&io)
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(linger(io, self.guard.take()));
        }
    }
}
