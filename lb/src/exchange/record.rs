//! The end: what is counted and written of a request.

use http::StatusCode;

use super::Exchange;
use super::head::RequestHead;
use crate::observe::Record;

/// How it ended, as only the engine knows it.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// The status that the client got; `None`: none was sent.
    pub status: Option<StatusCode>,
    /// Bytes of body that went to the client.
    pub sent: u64,
    /// The client hung up before the answer was through.
    pub client_left: bool,
}

/// What nginx logs for a client that hung up.
const CLIENT_CLOSED_REQUEST: u16 = 499;

impl Exchange {
    /// Counts the request and writes its log line. What the request held is given back.
    pub fn record(&mut self, head: &impl RequestHead, outcome: Outcome) {
        let duration = self.started.elapsed();
        self.release();
        self.caching.lead = None;
        self.caching.filler = None;
        let status = match outcome.status {
            Some(status) if !outcome.client_left => status.as_u16(),
            Some(_) | None => CLIENT_CLOSED_REQUEST,
        };
        let metrics = match self.route() {
            Some(route) => &route.metrics,
            None => &self.snapshot.unrouted,
        };
        metrics.done(&self.method, status, duration);
        if let (Some(route), Some(cache)) = (self.route(), &self.caching.status) {
            route.metrics.cache(cache.label());
        }
        let Some(log) = self.snapshot.access_log.as_ref() else { return };
        log.send(Record {
            duration,
            request_id: self.id,
            client: self.client,
            peer: self.peer.address.ip(),
            method: self.method.clone(),
            scheme: self.peer.scheme.as_str(),
            host: bytes::Bytes::copy_from_slice(head.authority()),
            target: bytes::Bytes::copy_from_slice(head.target()),
            version: head.version(),
            status,
            bytes_sent: outcome.sent,
            bytes_received: self.received,
            route: self.route().map(|route| route.config.name.clone()),
            upstream: self.upstream().map(|upstream| upstream.upstream.name().clone()),
            server: self.tries.last.as_ref().map(|server| server.name().clone()),
            tries: self.tries.count,
            upstream_duration: self.tries.answered_after,
            cache: self.caching.status.as_ref().map(|status| status.label()),
            referer: head.get(&http::header::REFERER).map(bytes::Bytes::copy_from_slice),
            user_agent: head.get(&http::header::USER_AGENT).map(bytes::Bytes::copy_from_slice),
            error: self.refusal.as_ref().map(|refusal| refusal.label()),
        });
    }
}
