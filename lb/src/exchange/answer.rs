//! From a server: whether its answer goes to the client, and what it looks like on its way out.

use std::time::Instant;

use http::{HeaderName, StatusCode, header};

use super::forward::{After, Spare};
use super::head::{Editor, RequestHead, ResponseHead};
use super::{Exchange, failure_status};
use crate::admit::Scheme;
use crate::cache::{CACHE_PURGE, CACHE_STATUS, CACHE_TAG, Hit, Status};
use crate::filter;
use crate::reject::{Problem, Refusal};

/// What is done with a server's answer.
#[derive(Debug)]
pub enum Verdict {
    /// It goes to the client.
    Relay,
    /// Another server is asked; this answer is set aside where the engine can, or else thrown away.
    Retry,
    /// The same server is asked once more; this answer is thrown away.
    AskAgain,
    /// This stored object goes to the client; the answer is thrown away.
    Serve(Hit),
}

/// What an engine could do instead of passing an answer on.
#[derive(Debug, Clone, Copy)]
pub struct Means {
    /// Send the whole request again.
    pub replayable: bool,
    /// Keep the answer, and [pass it on](Exchange::stands) later, should nothing better come.
    pub keeps: bool,
}

/// By `X-LB-Drain: 1` a server says that it is about to leave and wants no new request.
pub const X_LB_DRAIN: HeaderName = HeaderName::from_static("x-lb-drain");

fn announces_drain(response: &impl ResponseHead) -> bool {
    response.get(&X_LB_DRAIN).is_some_and(|value| value.trim_ascii() == b"1")
}

/// The request's identifier on the answer.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Exchange {
    /// Takes the head of a server's final answer (not a 1xx). When this returns [`Verdict::Relay`], all that the answer purges is gone
    /// from the cache.
    pub fn answer(&mut self, request: &impl RequestHead, response: &impl ResponseHead, means: Means) -> Verdict {
        let status = response.status();
        let (failed, leaves) = (failure_status(status), announces_drain(response));
        self.answered(status, !(failed && leaves));
        if let Some(lease) = self.tries.lease.as_ref().filter(|_| leaves) {
            lease.announced_drain();
        }
        // Before another server is looked for: it may be what opens the circuit.
        if !(failed && leaves) {
            self.tried(!failed);
        }
        if failed {
            // Who says that it leaves may refuse what comes all the same: that is no failure.
            if means.replayable && self.may_retry_status(status) && self.retry_elsewhere(means.keeps, !leaves) {
                // It is thrown away, and what it says is not true any more is so all the same.
                self.purge(request, response);
                return Verdict::Retry;
            }
            if !leaves {
                self.charge_once();
            }
        } else if let Some(lease) = &self.tries.lease {
            lease.succeeded();
        }
        self.tries.spare = None;
        if let Some(verdict) = self.answer_from_store(request, response) {
            return verdict;
        }
        self.pass_on(request, response);
        Verdict::Relay
    }

    /// The answer that was set aside is the last word after all: it goes to the client.
    pub fn stands(&mut self, request: &impl RequestHead, response: &impl ResponseHead) {
        if let Some(spare) = self.tries.spare.take() {
            self.tries.last = Some(spare.lease.server().clone());
            self.tries.lease = Some(spare.lease);
            self.tries.asked_at = spare.asked_at;
            self.tries.answered_after = spare.answered_after;
        }
        self.pass_on(request, response);
    }

    fn pass_on(&mut self, request: &impl RequestHead, response: &impl ResponseHead) {
        self.purge(request, response);
        let asked = self.tries.asked_at.unwrap_or_else(Instant::now);
        self.store(request, response, asked);
    }

    fn may_retry_status(&self, status: StatusCode) -> bool {
        let Some(retry) = self.upstream().and_then(|upstream| upstream.upstream.config().retry.as_ref()) else {
            return false;
        };
        let listed = match status {
            StatusCode::BAD_GATEWAY => retry.on.status_502,
            StatusCode::SERVICE_UNAVAILABLE => retry.on.status_503,
            _ => retry.on.status_504,
        };
        listed && self.repeatable && !self.is_late() && self.tries.count < retry.attempts.get()
    }

    /// Gets another server first and lets go of this one then, so that an answer is given away only where a better one may come. `charged`:
    /// the answer goes on this one's account.
    fn retry_elsewhere(&mut self, keeps: bool, charged: bool) -> bool {
        let Some(failed) = self.tries.lease.take() else { return false };
        self.tries.tried.push(failed.server().id());
        if !self.switch(After::Answer) {
            self.tries.lease = Some(failed);
            return false;
        }
        if charged && !std::mem::replace(&mut self.tries.charged, true) {
            failed.failed();
        }
        self.tries.spare = keeps.then_some(Spare {
            lease: failed,
            asked_at: self.tries.asked_at,
            answered_after: self.tries.answered_after,
        });
        true
    }

    /// The failure goes on the server's account, if it is this request's first one.
    pub(super) fn charge_once(&mut self) {
        if let Some(lease) = &self.tries.lease
            && !std::mem::replace(&mut self.tries.charged, true)
        {
            lease.failed();
        }
    }

    /// Edits the head of a server's answer for the client. What was for the hop before is gone already: see [`filter::response_hop`].
    pub fn edit_answer(&self, out: &mut impl Editor) {
        out.remove(&CACHE_TAG);
        out.remove(&CACHE_PURGE);
        out.remove(&X_LB_DRAIN);
        self.edit_cache_status(out);
        self.edit_sticky(out);
        self.edit_outgoing(out);
    }

    /// Has the client stay with the server that has answered, where it does not do so already. Not by an answer that is one for everybody,
    /// nor by one that says that the server is not well.
    fn edit_sticky(&self, out: &mut impl Editor) {
        if let (Some(upstream), Some(server)) = (self.upstream(), &self.tries.last)
            && let Some(cookies) = upstream.upstream.cookies()
            && self.tries.sticky != Some(server.id())
            && !self.stores()
            && !self.tries.unwell
            && let Some(cookie) = cookies.set_cookie(upstream.upstream.position(server), self.client.scheme == Scheme::Https)
        {
            out.add(&header::SET_COOKIE, cookie);
        }
    }

    /// Edits the head of an answer of `lb`'s own.
    pub fn edit_own(&self, out: &mut impl Editor) {
        self.edit_cache_status(out);
        if self.caching.status.is_none() && self.route().is_some_and(|route| route.cache.is_some()) {
            // It was refused before the cache was asked.
            Status::Refused.tell(|text| out.add_text(&CACHE_STATUS, text));
        }
        self.edit_outgoing(out);
    }

    pub(super) fn edit_outgoing(&self, out: &mut impl Editor) {
        out.set_text(&X_REQUEST_ID, self.id.as_str().as_bytes());
        if let Some(route) = self.route() {
            filter::edit(&route.config.response_headers, out);
        }
    }

    /// The error that the client gets (RFC 9457).
    pub fn problem(&self, refusal: &Refusal) -> Problem {
        refusal.problem(&self.id)
    }
}
