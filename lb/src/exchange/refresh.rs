//! Fetching anew, in the background, what a client was served stale (RFC 5861 §3).
//!
//! Such a fetch is an exchange of its own, without a client: it asks as that client asked, by the same configuration and of the same upstream, and
//! what it brings goes to the store. It counts as a request where servers are concerned, and not where clients are: neither in the route's metrics nor in
//! the access log. One for each object is under way at a time; the cache sees to that.

use std::time::Instant;

use http::Method;

use super::caching::Caching;
use super::forward::Tries;
use super::head::RequestHead;
use super::{Exchange, new_id};
use crate::route::Target;

impl Exchange {
    /// The exchange that fetches anew what this one is serving, if there is to be one. The engine lets it go its way and does not wait for it.
    #[inline]
    pub fn refresh(&mut self, head: &impl RequestHead) -> Option<Exchange> {
        let lead = self.caching.refresh.take()?;
        let caching = Caching::leading(*lead);
        let mut exchange = Exchange {
            proxy: self.proxy.clone(),
            snapshot: self.snapshot.clone(),
            origin: self.origin.clone(),
            client: self.client,
            id: new_id(),
            trace: None,
            started: Instant::now(),
            deadline: None,
            method: Method::GET,
            repeatable: true,
            route: self.route,
            upstream: self.upstream,
            received: 0,
            max_body: self.max_body,
            refusal: None,
            injected: false,
            tries: Tries::default(),
            moved: None,
            caching,
            copies: false,
        };
        exchange.prepare(head, &Target::parse(head.target()));
        Some(exchange)
    }

    /// The end of one that has no client: what it held is given back.
    pub fn end(mut self) {
        self.release();
        self.drop_copy();
        self.caching.let_go();
    }
}
