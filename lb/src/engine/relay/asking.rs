//! A request on its way to one server, and the wait for the head of its answer.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::upload::{Upload, UploadError};
use super::upstream::Connection;
use crate::engine::h1::ClientStream;
use crate::exchange::{Exchange, Failure};
use crate::reject::Refusal;

/// Why there is no answer.
pub(super) enum Trouble {
    /// The server gave none.
    Server(Failure),
    /// The client is to blame.
    Refused(Refusal),
    /// The client has gone, and nobody else needs the answer.
    Gone,
}

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// Since when the server has the whole request and says nothing.
    waits: Option<Instant>,
    /// The server takes no more of the request. What it has to say comes yet, if anything.
    broken: bool,
}

impl Asking {
    /// Ready once the head of an answer is there.
    pub(super) fn poll(
        &mut self,
        client: &mut ClientStream,
        server: &mut Connection,
        exchange: &mut Exchange,
        upload: &mut Upload,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Trouble>> {
        let sending = !upload.is_done() && !self.broken;
        if sending && let Poll::Ready(Err(error)) = upload.poll(client, server, exchange, cx) {
            match error {
                UploadError::Gone => return Poll::Ready(Err(Trouble::Gone)),
                UploadError::Refused(refusal) => return Poll::Ready(Err(Trouble::Refused(refusal))),
                UploadError::Stalled => return Poll::Ready(Err(Trouble::Server(Failure::Timeout))),
                UploadError::Server => self.broken = true,
            }
        }
        if let Poll::Ready(read) = server.poll_head(cx) {
            return Poll::Ready(read.map_err(Trouble::Server));
        }
        if !upload.is_done() && !self.broken {
            return poll_deadline(client, exchange, upload, cx);
        }
        if client.has_client() && client.is_body_done() && client.poll_gone(cx).is_ready() {
            if !exchange.leads() {
                return Poll::Ready(Err(Trouble::Gone));
            }
            client.give_up();
        }
        let mut limit = exchange.timeouts().map(|timeouts| timeouts.read).unwrap_or_default();
        let since = *self.waits.get_or_insert_with(Instant::now);
        if let Some(deadline) = exchange.deadline() {
            limit = limit.min(deadline.saturating_duration_since(since.into_std()));
        }
        ready!(client.poll_passed(since, limit, cx));
        Poll::Ready(Err(Trouble::Server(Failure::Timeout)))
    }
}

/// The request is still on its way to the server, for as long as its time lasts.
fn poll_deadline(client: &mut ClientStream, exchange: &Exchange, upload: &Upload, cx: &mut Context<'_>) -> Poll<Result<(), Trouble>> {
    let Some(deadline) = exchange.deadline() else {
        return Poll::Pending;
    };
    ready!(client.poll_passed(deadline.into(), Duration::ZERO, cx));
    Poll::Ready(Err(Trouble::Server(match upload.waits_for_server() {
        true => Failure::Timeout,
        false => Failure::Unfinished,
    })))
}
