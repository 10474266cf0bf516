//! Towards a server: which one is asked, what it is sent, and what follows when it does not answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode, header};

use super::deadline::LATE;
use super::head::{Editor, RequestHead};
use super::hedge::Rival;
use super::queue::Waiting;
use super::{Exchange, Turn, Wait, failure_status, repeat};
use crate::admit::Forwarded;
use crate::filter;
use crate::reject::Refusal;
use crate::snapshot::UpstreamState;
use crate::upstream::{Lease, NoServer, RetryPermit, Server, ServerId, Wanted};

/// What is known of the servers that were asked.
#[derive(Default)]
pub(super) struct Tries {
    /// The right to ask a server, while it works on the request.
    pub(super) lease: Option<Lease>,
    /// The last server that was asked, for the log when its lease is back.
    pub(super) last: Option<Arc<Server>>,
    pub(super) tried: Vec<ServerId>,
    /// The place in the line, while all are full.
    pub(super) waiting: Option<Waiting>,
    /// What the client is told if no other server is found, after one has failed.
    pub(super) failure: Option<Refusal>,
    /// Upstreams of the route's split that turned out to have nobody.
    pub(super) left: Vec<usize>,
    /// Tries that got a connection.
    pub(super) count: u32,
    /// One server was charged with this request's failure; that is enough.
    pub(super) charged: bool,
    /// The try under way repeats one on an idle connection that its server had just closed.
    stale: bool,
    /// What the request waits for before its next try.
    pause: Option<Duration>,
    /// An answer that may be the last word yet, if the tries after it come to nothing.
    pub(super) spare: Option<Spare>,
    /// A second server may be asked if the first one is slow.
    pub(super) hedges: bool,
    /// The second server, while both work.
    pub(super) rival: Option<Rival>,
    permit: Option<RetryPermit>,
    /// What `balance = "hash"` and `"maglev"` go by.
    pub(super) hash: u64,
    /// The server that the client has stayed with.
    pub(super) sticky: Option<ServerId>,
    pub(super) asked_at: Option<Instant>,
    /// When the last piece of the request's body came.
    pub(super) fed_at: Option<Instant>,
    /// The last answer was one that says so.
    pub(super) unwell: bool,
    /// Asked, and no answer yet.
    pub(super) awaited: bool,
    pub(super) answered_after: Option<Duration>,
}

impl Tries {
    /// For how long the server that is asked has had all that the client has sent so far. It cannot answer what it has not got, so that a
    /// slow upload does not make a slow server. `None`: it has answered, or nobody is asked.
    fn thinks(&self) -> Option<Duration> {
        let since = self.asked_at.filter(|_| self.awaited)?;
        let since = self.fed_at.map_or(since, |fed| fed.max(since));
        Some(since.elapsed())
    }
}

/// An answer that was set aside while another server is asked. Its server works on the request until it is passed on or dropped.
pub(super) struct Spare {
    pub(super) lease: Lease,
    pub(super) asked_at: Option<Instant>,
    pub(super) answered_after: Option<Duration>,
}

/// Tries that one request may make without getting a connection. They do not count as attempts, but a pool of a thousand servers that all refuse must
/// not be dialled from end to end for every request.
pub(crate) const UNREACHED: usize = 64;

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
    /// The request's time was over before the client had sent it whole.
    Unfinished,
}

impl Failure {
    /// Whether the server has got anything of the request.
    fn reached(self) -> bool {
        !matches!(self, Failure::Connect | Failure::ConnectTimeout)
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Failure::Connect => "no connection",
            Failure::ConnectTimeout => "no connection in time",
            Failure::Reset => "closed before it answered",
            Failure::Timeout => "no answer in time",
            Failure::Invalid => "malformed answer",
            Failure::Unfinished => "the request was not there in time",
        }
    }

    fn refusal(self) -> Refusal {
        match self {
            Failure::Connect => Refusal::BadGateway("No server accepts connections."),
            Failure::Reset => Refusal::BadGateway("The server closed the connection before it answered."),
            Failure::Invalid => Refusal::BadGateway("The server's answer was malformed."),
            Failure::ConnectTimeout => Refusal::GatewayTimeout("The server did not accept the connection in time."),
            Failure::Timeout => Refusal::GatewayTimeout("The server did not answer in time."),
            Failure::Unfinished => LATE,
        }
    }

    /// What the try counts as, as in nginx's `$upstream_status`.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Failure::ConnectTimeout | Failure::Timeout | Failure::Unfinished => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
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
    /// Pass on the answer that was set aside, if there is one that is still whole; else [refuse](Exchange::refuse) the request.
    GiveUp(Refusal),
}

/// What a try has come to that is not the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// There was no connection.
    NoConnection,
    /// There was one, and no answer.
    NoAnswer,
    /// An answer, which could be better. Where no other server has room, it stands: the request was served, though badly, and waiting for
    /// more would only add to what is too much.
    Answer,
}

impl Exchange {
    /// The server to ask now: the one of the lease that is held, or a new one. Or what to wait for first. A refusal is for the client unless an
    /// answer stands, as in [`Next::GiveUp`].
    pub fn server(&mut self) -> Turn {
        let now = Instant::now();
        if self.is_late() {
            return Turn::Refuse(LATE);
        }
        if let Some(pause) = self.tries.pause.take() {
            return Turn::Wait(Wait::until(now + pause));
        }
        let lease = match self.tries.lease.take() {
            Some(lease) => lease,
            None => match self.next_lease(now) {
                Ok(lease) => lease,
                Err(turn) => return turn,
            },
        };
        let server = lease.server().clone();
        self.tries.lease = Some(lease);
        self.tries.asked_at = Some(now);
        self.tries.awaited = true;
        Turn::Ask(server)
    }

    pub(super) fn next_lease(&mut self, now: Instant) -> Result<Lease, Turn> {
        if let Some(waiting) = self.tries.waiting.take() {
            return self.waited(waiting);
        }
        match self.pick_of_split(now) {
            Ok(lease) => Ok(lease),
            Err(NoServer::AllFull) => self.line_up(None),
            Err(why) => Err(Turn::Refuse(self.no_server(why))),
        }
    }

    pub(super) fn wanted<'a>(&self, tried: &'a [ServerId]) -> Wanted<'a> {
        Wanted {
            hash: self.tries.hash,
            tried,
            sticky: self.tries.sticky,
        }
    }

    pub(super) fn pick(&self, now: Instant) -> Result<Lease, NoServer> {
        self.pick_beside(&self.tries.tried, now)
    }

    /// A server that is none of these.
    pub(super) fn pick_beside(&self, tried: &[ServerId], now: Instant) -> Result<Lease, NoServer> {
        let upstream = self.upstream().ok_or(NoServer::NoneHealthy)?;
        upstream.upstream.pick_at(&self.wanted(tried), now)
    }

    /// The server has a connection for the request: the try counts.
    pub fn connected(&mut self) {
        if !self.tries.stale {
            self.tries.count += 1;
        }
    }

    /// The server of the lease gave no answer.
    pub fn failed(&mut self, failure: Failure, sent: Sent) -> Next {
        let late = self.is_late();
        let again = self.repeatable && sent.replayable && !late;
        if failure == Failure::Reset && sent.reused && !self.tries.stale && again && self.retries() {
            // An idle connection that the server closed as we wrote: its fault only if the next one fares no better.
            self.tries.stale = true;
            return Next::Again;
        }
        self.tries.stale = false;
        self.charge(failure, late);
        let after = if failure.reached() { After::NoAnswer } else { After::NoConnection };
        let retried = !late && self.may_retry(failure, sent) && self.switch(after);
        let server = self.tries.last.as_ref().map_or("-", |server| server.name());
        tracing::warn!(request_id = self.id.as_str(), server, retried, "{}", failure.label());
        if retried {
            self.tries.failure = Some(failure.refusal());
            Next::Again
        } else {
            Next::GiveUp(if late { LATE } else { failure.refusal() })
        }
    }

    fn retries(&self) -> bool {
        self.upstream().is_some_and(|upstream| upstream.upstream.config().retry.is_some())
    }

    /// A failure goes on a server's account, and the lease ends. Where the server was reached, only the first one of a request is
    /// charged: a request that breaks every server must not eject the pool.
    pub(super) fn charge(&mut self, failure: Failure, late: bool) {
        let to_blame = self.is_to_blame(failure, late);
        self.answered(failure.status(), to_blame);
        if to_blame {
            self.tried(false);
        }
        let Some(lease) = self.tries.lease.take() else { return };
        if to_blame && (!failure.reached() || !std::mem::replace(&mut self.tries.charged, true)) {
            lease.failed();
        }
        self.tries.tried.push(lease.server().id());
    }

    /// Counts a try by its result. `tells`: something about how busy the server is.
    pub(super) fn answered(&mut self, status: StatusCode, tells: bool) {
        let elapsed = self.tries.asked_at.map(|asked| asked.elapsed()).unwrap_or_default();
        self.tries.answered_after = Some(elapsed);
        if let (Some(lease), Some(latency)) = (&self.tries.lease, self.tries.thinks()) {
            match tells {
                true => lease.observed(latency, status.into()),
                false => lease.unanswered(latency),
            }
        }
        self.tries.awaited = false;
        self.tries.unwell = failure_status(status);
        self.tries.last = self.tries.lease.as_ref().map(|lease| lease.server().clone());
        if let (Some(upstream), Some(server)) = (self.upstream(), &self.tries.last) {
            upstream.metrics.answered(elapsed);
            upstream.of(server).done(status);
            // Failing at once is no way of being quick.
            if !failure_status(status) || status == StatusCode::GATEWAY_TIMEOUT {
                upstream.upstream.took(elapsed);
            }
        }
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
            Failure::Unfinished => false,
        };
        let allowed = match failure.reached() {
            true => self.repeatable && self.tries.count < retry.attempts.get(),
            false => self.tries.tried.len().saturating_sub(self.tries.count as usize) < UNREACHED,
        };
        listed && allowed && sent.replayable
    }

    /// Takes a server that was not tried yet, within the budget and the time that is left; or sees to it that the request waits for one.
    /// After tries that got no connection the next one costs no budget and follows at once: they put no load on anything.
    pub(super) fn switch(&mut self, after: After) -> bool {
        let pause = match after {
            After::NoConnection => None,
            After::NoAnswer | After::Answer => repeat::pause(self.tries.count, rand::random()),
        };
        if let (Some(pause), Some(deadline)) = (pause, self.deadline)
            && Instant::now() + pause >= deadline
        {
            return false;
        }
        let waits = after != After::Answer && self.tries.spare.is_none();
        let picked = self.pick_of_split(Instant::now());
        let Some(upstream) = self.upstream() else { return false };
        let lease = match picked {
            Ok(lease) => Some(lease),
            Err(NoServer::AllFull) if waits && upstream.upstream.config().queue.is_some() => None,
            Err(_) => return false,
        };
        if self.tries.count > 0 {
            match upstream.upstream.try_retry() {
                Some(permit) => self.tries.permit = Some(permit),
                None => return false,
            }
        }
        if let Some(upstream) = self.upstream() {
            upstream.metrics.retried();
        }
        self.tries.lease = lease;
        self.tries.pause = pause;
        true
    }

    /// The server has nothing more to do for this request.
    pub(super) fn release(&mut self) {
        if let (Some(lease), Some(latency)) = (self.tries.lease.take(), self.tries.thinks()) {
            lease.unanswered(latency);
        }
        self.tries.waiting = None;
        self.tries.spare = None;
        if let Some(rival) = self.tries.rival.take() {
            rival.leave();
        }
        self.tries.permit = None;
    }

    /// Makes the head that is sent to the server out of a copy of the one received: what ends here goes, what `lb` says about the client
    /// comes, and the route's edits have the last word.
    pub fn edit_request(&self, received: &impl RequestHead, out: &mut impl Editor) {
        let server = self.tries.lease.as_ref().map(|lease| &**lease.server());
        self.edit_for(self.upstream(), server, received, out);
        self.edit_by_route(out);
    }

    /// All but the route's edits, for a server of that upstream.
    pub(super) fn edit_for(
        &self,
        upstream: Option<&UpstreamState>,
        server: Option<&Server>,
        received: &impl RequestHead,
        out: &mut impl Editor,
    ) {
        filter::request_hop(received, out);
        // Met here already.
        out.remove(&header::EXPECT);
        Forwarded::new(&self.origin.peer, &self.client, received, &self.id).apply(received, out);
        if let Some(trace) = self.trace {
            trace.apply(out);
        }
        self.edit_unkeyed(received, out);
        self.edit_fetch(out);
        if let Some(host) = upstream.and_then(|upstream| upstream.upstream.config().host.as_ref()) {
            out.set(&header::HOST, host.clone());
        } else if received.authority().is_empty()
            && let Some(server) = server
            && let Ok(host) = HeaderValue::from_str(server.host())
        {
            // HTTP/1.0 need not name one, HTTP/1.1 must (RFC 9112 §3.2): the server's own, as by nginx.
            out.set(&header::HOST, host);
        }
    }

    pub(super) fn edit_by_route(&self, out: &mut impl Editor) {
        if let Some(route) = self.route() {
            filter::edit(&route.config.request_headers, out);
        }
    }
}
