//! Towards a server: which one is asked, what it is sent, and what follows when it does not answer.

use std::time::Instant;

use http::header;

use super::head::{Editor, RequestHead};
use super::{CONDITIONAL, Exchange, idempotent};
use crate::admit::Forwarded;
use crate::filter;
use crate::reject::Refusal;
use crate::upstream::{NoServer, Server};

/// How a server failed to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection: nothing was sent.
    Connect,
    /// No connection within the time for it.
    ConnectTimeout,
    /// The connection ended before a whole response head.
    Reset,
    /// No answer within the time for it.
    Timeout,
    /// What came was no HTTP answer.
    Invalid,
}

impl Failure {
    fn reached(self) -> bool {
        !matches!(self, Failure::Connect | Failure::ConnectTimeout)
    }

    fn label(self) -> &'static str {
        match self {
            Failure::Connect => "connect",
            Failure::ConnectTimeout => "connect timeout",
            Failure::Reset => "reset",
            Failure::Timeout => "timeout",
            Failure::Invalid => "invalid answer",
        }
    }

    fn refusal(self) -> Refusal {
        match self {
            Failure::Connect => Refusal::BadGateway("no server could be connected to"),
            Failure::Reset => Refusal::BadGateway("the server closed the connection before it answered"),
            Failure::Invalid => Refusal::BadGateway("the server's answer was malformed"),
            Failure::ConnectTimeout | Failure::Timeout => Refusal::GatewayTimeout,
        }
    }
}

/// What had become of the request when its server failed.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// The connection had served another request before.
    pub reused: bool,
    /// The engine still has the whole body, so that it can be sent again.
    pub replayable: bool,
}

/// What to do after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Ask [`Exchange::server`] again and send the request there: the same server, or another one.
    Again,
    /// Tell the client.
    GiveUp(Refusal),
}

impl Exchange {
    /// The server to ask now: the one of the lease that is held, or a new one.
    ///
    /// # Errors
    /// The refusal for the client when there is none.
    pub fn server(&mut self) -> Result<&Server, Refusal> {
        if self.tries.lease.is_none() {
            let lease = match self.upstream() {
                Some(upstream) => upstream.upstream.pick(self.tries.hash, &self.tries.tried),
                None => Err(NoServer::NoneHealthy),
            };
            match lease {
                Ok(lease) => self.tries.lease = Some(lease),
                Err(_) => {
                    let retry_after = self.upstream().map_or(1, |upstream| upstream.retry_after);
                    return Err(self.refuse(Refusal::NoServer { retry_after }));
                }
            }
        }
        self.tries.asked_at = Some(Instant::now());
        match &self.tries.lease {
            Some(lease) => Ok(lease.server()),
            None => Err(Refusal::NoServer { retry_after: 1 }),
        }
    }

    /// The server has a connection for the request: the try counts.
    pub fn connected(&mut self) {
        if !self.tries.stale {
            self.tries.count += 1;
        }
    }

    /// The server of the lease gave no answer.
    pub fn failed(&mut self, failure: Failure, sent: Sent) -> Next {
        self.tries.answered_after = None;
        let stale = failure == Failure::Reset && sent.reused && !self.tries.stale && idempotent(&self.method) && sent.replayable;
        if stale && self.retries() {
            // An idle connection that the server closed as we wrote: its fault only if a new connection fares no better.
            self.tries.stale = true;
            return Next::Again;
        }
        self.tries.stale = false;
        self.charge(failure.reached());
        let next = if self.may_retry(failure, sent) { self.switch() } else { false };
        let server = self.tries.last.as_ref().map_or("-", |server| server.name());
        tracing::warn!(request_id = self.id.as_str(), server, failure = failure.label(), retried = next, "no answer");
        if next { Next::Again } else { Next::GiveUp(self.refuse(failure.refusal())) }
    }

    fn retries(&self) -> bool {
        self.upstream().is_some_and(|upstream| upstream.upstream.config().retry.is_some())
    }

    /// A failure goes on a server's account, and the lease ends. Where the server was reached, only the first one of a request is
    /// charged: a request that breaks every server must not eject the pool.
    fn charge(&mut self, reached: bool) {
        let Some(lease) = self.tries.lease.take() else { return };
        if !reached || !self.tries.charged {
            lease.failed();
        }
        self.tries.charged |= reached;
        self.tries.tried.push(lease.server().id());
        self.tries.last = Some(lease.server().clone());
    }

    fn may_retry(&self, failure: Failure, sent: Sent) -> bool {
        let Some(retry) = self.upstream().and_then(|upstream| upstream.upstream.config().retry.as_ref()) else {
            return false;
        };
        let listed = match failure {
            Failure::Connect => retry.on.connect,
            Failure::ConnectTimeout => retry.on.connect || retry.on.timeout,
            Failure::Reset => retry.on.reset,
            Failure::Timeout => retry.on.timeout,
            Failure::Invalid => retry.on.invalid,
        };
        let allowed = !failure.reached() || (idempotent(&self.method) && self.tries.count < retry.attempts.get());
        listed && allowed && sent.replayable
    }

    /// Takes a server that was not tried yet, within the budget. A try that got no connection put no load on anything, so the next one
    /// costs no budget.
    pub(super) fn switch(&mut self) -> bool {
        let Some(upstream) = self.upstream() else { return false };
        let budgeted = self.tries.count > 0;
        let Ok(lease) = upstream.upstream.pick(self.tries.hash, &self.tries.tried) else { return false };
        let permit = if budgeted { upstream.upstream.try_retry() } else { None };
        if budgeted && permit.is_none() {
            return false;
        }
        upstream.metrics.retried();
        self.tries.lease = Some(lease);
        self.tries.permit = permit;
        true
    }

    pub(super) fn retry_on_status(&mut self, status: http::StatusCode, replayable: bool) -> bool {
        let Some(retry) = self.upstream().and_then(|upstream| upstream.upstream.config().retry.as_ref()) else {
            return false;
        };
        let listed = match status.as_u16() {
            502 => retry.on.status_502,
            503 => retry.on.status_503,
            504 => retry.on.status_504,
            _ => false,
        };
        listed && replayable && idempotent(&self.method) && self.tries.count < retry.attempts.get()
    }

    /// Puts what `lb` says about the client, and the route's edits, on a request head that is on its way out. Hop-by-hop fields are gone
    /// already, or are the engine's.
    pub fn edit_request(&self, received: &impl RequestHead, out: &mut impl Editor) {
        let forwarded = Forwarded { peer: self.peer.address.ip(), client: self.client, scheme: self.peer.scheme.as_str(), id: &self.id };
        forwarded.apply(received, &self.snapshot.config.server.trusted_proxies, out);
        if self.conditional_stripped {
            for name in CONDITIONAL {
                out.remove(name);
            }
        }
        if let Some(host) = self.upstream().and_then(|upstream| upstream.upstream.config().host.as_ref()) {
            out.set(&header::HOST, host.clone());
        }
        if let Some(route) = self.route() {
            filter::edit(&route.config.request_headers, out);
        }
    }
}
