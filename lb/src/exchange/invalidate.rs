//! What an answer says is not true any more: by its tags, and by the method that it answers (RFC 9111 §4.4).

use std::time::Instant;

use http::StatusCode;
use http::header::{CONTENT_LOCATION, LOCATION};
use lb_config::Action;

use super::Exchange;
use super::caching::Rendered;
use super::head::{RequestHead, ResponseHead};
use crate::cache::{CACHE_PURGE, Now, Purge};
use crate::route::{Target, on_same_origin};

impl Exchange {
    /// Takes out what an answer says is not true any more. It is gone when this returns, and so before the client sees the answer.
    pub(super) fn purge(&mut self, request: &impl RequestHead, response: &impl ResponseHead) {
        let Some(upstream) = self.upstream() else { return };
        self.proxy.cache.purge_for(upstream.upstream.name(), response);
        let status = response.status();
        let wrote = !request.method().is_safe() && (status.is_success() || status.is_redirection());
        if wrote {
            self.invalidate(request, response);
        }
        if let Some(began) = self.caching.head_missed.take_if(|_| status == StatusCode::OK) {
            self.head_answered(began, request, response);
        }
        if wrote || response.get(&CACHE_PURGE).is_some() {
            self.caching.settled = self.proxy.cache.settled();
        }
    }

    /// Returns when the answer may begin: at once, unless it has purged something and others have to do so first.
    pub async fn settled(&mut self) {
        if let Some(settled) = self.caching.settled.take() {
            // Boxed, because hardly any request has one.
            Box::pin(self.proxy.cache.settle(settled)).await;
        }
    }

    /// The target, and where the answer says that what it is about stands, as long as that is the same origin.
    fn invalidate(&self, request: &impl RequestHead, response: &impl ResponseHead) {
        if self.snapshot.routes.iter().all(|route| route.cache.is_none()) {
            return;
        }
        let (scheme, authority, target) = (self.client.scheme.as_str(), request.authority(), request.target());
        self.take_out(authority, target);
        for name in [LOCATION, CONTENT_LOCATION] {
            let there = response
                .get(&name)
                .and_then(|there| on_same_origin(there, scheme, authority, target));
            if let Some(there) = there.filter(|there| there != target) {
                self.take_out(authority, &there);
            }
        }
    }

    /// The answer to a `HEAD` tells what a `GET` would bring, and so whether what is stored is still that.
    fn head_answered(&self, began: u64, request: &impl RequestHead, response: &impl ResponseHead) {
        let cached = self.route.and_then(|index| self.snapshot.routes[index].cache.as_ref());
        if let (Some(cached), Some(upstream)) = (cached, self.upstream()) {
            let rendered = Rendered::of(cached, self.client.scheme, request.authority(), &Target::parse(request.target()));
            let key = rendered.key(upstream.upstream.name());
            let (asked, now) = (self.tries.asked_at.unwrap_or_else(Instant::now), Now::read());
            self.proxy
                .cache
                .head_answered(&key, request, response, &cached.rules, (began, asked, now));
        }
    }

    /// Takes a URL out of every cached route that could have stored it: reads may go another way than writes.
    fn take_out(&self, authority: &[u8], target: &[u8]) {
        let target = Target::parse(target);
        for index in self.snapshot.router.all_for(authority, &target) {
            let route = &self.snapshot.routes[index];
            let (Some(cached), Action::Forward { split, .. }) = (&route.cache, &route.config.action) else {
                continue;
            };
            let rendered = Rendered::of(cached, self.client.scheme, authority, &target);
            for share in split.shares() {
                let upstream = self.snapshot.upstreams[share.upstream].upstream.name();
                self.proxy.cache.purge(&Purge::Key(&rendered.key(upstream)));
            }
        }
    }
}
