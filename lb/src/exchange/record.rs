//! The end: what is counted and written of a request.

use std::time::SystemTime;

use http::StatusCode;

use super::Exchange;
use super::head::RequestHead;
use crate::admit::Trace;
use crate::cache::Status;
use crate::observe::{CacheOutcome, Record, Text};
use crate::reject::{FAULT, Refusal};

/// How it ended, as only the engine knows it.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// The status that the client got; `None`: none was sent.
    pub status: Option<StatusCode>,
    /// Bytes of body that went to the client.
    pub sent: u64,
    /// The client hung up before the answer was through.
    pub client_left: bool,
    /// The request's head was read and understood.
    pub read: bool,
}

/// What nginx logs for a client that hung up.
pub(super) fn client_closed_request() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

impl Exchange {
    /// Counts the request and writes its log line. What the request held is given back.
    pub fn record(&mut self, head: &impl RequestHead, outcome: Outcome) {
        let duration = self.started.elapsed();
        self.release();
        self.drop_copy();
        self.caching.let_go();
        let status = match outcome.status {
            Some(status) if !outcome.client_left => status,
            Some(_) | None => client_closed_request(),
        };
        let metrics = match self.route() {
            Some(route) => &route.metrics,
            None => &self.snapshot.unrouted,
        };
        metrics.done(outcome.read.then_some(&self.method), status, duration);
        if let (Some(route), Some(status)) = (self.route(), self.caching.status) {
            route.metrics.cache(outcome_of(status));
        }
        if !self.snapshot.access_log.enabled() {
            return;
        }
        self.snapshot.access_log.send(Record {
            time: SystemTime::now() - duration,
            text: Text::of(self.id.as_str().as_bytes(), head),
            trace: self.trace.or_else(|| Trace::given(head)).map(Trace::id),
            client: self.client.address,
            peer: self.origin.peer.address(),
            method: outcome.read.then(|| self.method.clone()),
            scheme: self.client.scheme.as_str(),
            version: outcome.read.then(|| head.version()),
            status,
            bytes_sent: outcome.sent,
            bytes_received: self.received,
            duration,
            route: self.route().map(|route| route.config.name.clone()),
            upstream: self.upstream().map(|upstream| upstream.upstream.name().clone()),
            server: self.tries.last.as_ref().map(|server| server.name().clone()),
            tries: u8::try_from(self.tries.count).unwrap_or(u8::MAX),
            upstream_duration: self.tries.answered_after,
            cache: self.caching.status.map(Status::label),
            error: self.refusal.as_ref().map(Refusal::detail).or(self.injected.then_some(FAULT)),
        });
    }
}

fn outcome_of(status: Status) -> CacheOutcome {
    match status {
        Status::Hit(_) => CacheOutcome::Hit,
        Status::Stale(_) | Status::Failed { .. } => CacheOutcome::Stale,
        Status::Revalidated { .. } => CacheOutcome::Revalidated,
        Status::Fetched { .. } | Status::Collapsed(_) | Status::Unsatisfied => CacheOutcome::Miss,
        Status::Method | Status::Bypass | Status::Refused => CacheOutcome::Bypass,
    }
}
