//! From a server: whether its answer goes to the client, what is stored of it, and what it looks like on its way out.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::head::{Editor, RequestHead, ResponseHead};
use super::{Exchange, failure_status};
use crate::admit::X_REQUEST_ID;
use crate::cache::{Answered, CacheStatus, Hit, Now, Purge, Reader};
use crate::filter;
use crate::reject::Problem;

/// What is done with a server's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the client.
    Relay,
    /// Another server is asked; this answer is thrown away.
    Retry,
}

/// Tags that an answer is stored under.
pub const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// Tags under which everything is removed.
pub const CACHE_PURGE: HeaderName = HeaderName::from_static("cache-purge");
/// RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

impl Exchange {
    /// Takes the head of a server's final answer (not a 1xx). When this returns [`Verdict::Relay`], all that the answer purges is gone
    /// from the cache.
    pub fn answer(&mut self, request: &impl RequestHead, response: &impl ResponseHead, replayable: bool) -> Verdict {
        let status = response.status();
        self.tries.answered_after = self.tries.asked_at.map(|asked| asked.elapsed());
        self.count_answer(status);
        if failure_status(status) {
            if self.retry_on_status(status, replayable) && self.retry_elsewhere() {
                return Verdict::Retry;
            }
            self.charge_status();
        } else if let Some(lease) = &self.tries.lease {
            lease.succeeded();
        }
        self.purge(status, response);
        self.store(request, response);
        Verdict::Relay
    }

    fn count_answer(&self, status: StatusCode) {
        if let (Some(upstream), Some(lease)) = (self.upstream(), &self.tries.lease) {
            upstream.metrics.answered(lease.server(), status, self.tries.answered_after.unwrap_or_default());
        }
    }

    /// Gets another server first and lets go of this one then, so that an answer is thrown away only where a better one may come.
    fn retry_elsewhere(&mut self) -> bool {
        let Some(failed) = self.tries.lease.take() else { return false };
        self.tries.tried.push(failed.server().id());
        if !self.switch() {
            self.tries.lease = Some(failed);
            return false;
        }
        if !std::mem::replace(&mut self.tries.charged, true) {
            failed.failed();
        }
        self.tries.last = Some(failed.server().clone());
        true
    }

    fn charge_status(&mut self) {
        if let Some(lease) = &self.tries.lease
            && !std::mem::replace(&mut self.tries.charged, true)
        {
            lease.failed();
        }
    }

    fn purge(&self, status: StatusCode, response: &impl ResponseHead) {
        let Some(upstream) = self.upstream() else { return };
        if response.get(&CACHE_PURGE).is_some() {
            let tags = response.all(&CACHE_PURGE);
            self.proxy.cache.purge(Purge::tags(Some(upstream.upstream.name()), tags));
        }
        if !self.method.is_safe()
            && (status.is_success() || status.is_redirection())
            && let Some(key) = &self.caching.key
        {
            self.proxy.cache.invalidate(key);
        }
    }

    fn store(&mut self, request: &impl RequestHead, response: &impl ResponseHead) {
        let Some(lead) = self.caching.lead.take() else { return };
        let Some(policy) = self.route().and_then(|route| route.cache.as_ref()) else { return };
        match lead.answer(request, response, &policy.storing, Now::now()) {
            Answered::Store(filler) => {
                self.caching.filler = Some(filler);
                self.caching.status = Some(CacheStatus::Stored);
            }
            Answered::Pass(_) => {}
        }
    }

    /// A piece of the answer's body, on its way to the client.
    pub fn answer_body(&mut self, piece: &Bytes) {
        if let Some(filler) = &mut self.caching.filler {
            filler.push(piece.clone());
        }
    }

    /// The answer has come whole: the server is done with it, and what was to be stored is stored.
    pub fn answer_end(&mut self) {
        if let Some(filler) = self.caching.filler.take() {
            filler.finish();
        }
        self.release();
    }

    /// The server has nothing more to do for this request.
    pub(super) fn release(&mut self) {
        if let Some(lease) = self.tries.lease.take() {
            self.tries.last = Some(lease.server().clone());
        }
        self.tries.permit = None;
    }

    /// Whether others read what this request fetches, so that it should go on when its client leaves.
    pub fn feeds_others(&self) -> bool {
        self.caching.filler.is_some()
    }

    /// Edits the head of a server's answer for the client. `upgrade`: it is a 101 that the engine will follow.
    pub fn edit_answer(&self, response: &impl ResponseHead, upgrade: bool, out: &mut impl Editor) {
        filter::hop_by_hop_response(response, upgrade, out);
        out.remove(&CACHE_TAG);
        out.remove(&CACHE_PURGE);
        if let Some(status) = &self.caching.status {
            out.set(&CACHE_STATUS, status.header_value(None));
        }
        self.edit_outgoing(out);
    }

    /// Edits the head of a stored object for the client.
    pub fn edit_hit(&self, hit: &Hit, out: &mut impl Editor) {
        out.set(&header::AGE, HeaderValue::from(hit.age()));
        out.set(&CACHE_STATUS, CacheStatus::Hit.header_value(Some(hit.ttl())));
        self.edit_outgoing(out);
    }

    /// Edits the head of an object that is still arriving.
    pub fn edit_stream(&self, reader: &Reader, out: &mut impl Editor) {
        out.set(&header::AGE, HeaderValue::from(reader.age()));
        out.set(&CACHE_STATUS, CacheStatus::Collapsed.header_value(None));
        self.edit_outgoing(out);
    }

    /// Edits the head of an answer of `lb`'s own.
    pub fn edit_reply(&self, out: &mut impl Editor) {
        self.edit_outgoing(out);
    }

    fn edit_outgoing(&self, out: &mut impl Editor) {
        out.set(&X_REQUEST_ID, self.id.header_value());
        if let Some(route) = self.route() {
            filter::edit(&route.config.response_headers, out);
        }
    }

    /// The error that the client gets (RFC 9457).
    pub fn problem(&self, refusal: &crate::reject::Refusal) -> Problem {
        refusal.problem(&self.id)
    }
}
