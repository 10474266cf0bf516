//! Which of a route's upstreams a request goes to: its client's own ([`crate::route::Split`]), unless that one has nobody.
//!
//! The choice is made once, before the cache is asked, and holds for all that follows: cache key, balancing, retries, metrics, the log. There is
//! one way out of it. A client keeps to its upstream, so one whose servers are all down would fail some clients always, while the others
//! notice nothing. Therefore an upstream without a server that is up, or whose circuit is open, is passed over, and so is one that turns
//! out to be so as its servers are asked for a connection. Once a server has had anything of the request, the request stays.

use std::time::Instant;

use super::Exchange;
use crate::balance::hash_address;
use crate::upstream::{Lease, NoServer};

impl Exchange {
    /// Chooses the upstream.
    pub(super) fn choose_upstream(&mut self) {
        let usable = |upstream: usize| self.snapshot.upstreams[upstream].upstream.takes_requests();
        let split = self.route().and_then(|route| route.split.as_ref());
        self.upstream = split.map(|split| split.choose(self.client.address, usable));
    }

    /// A server of the upstream, or of another one of the split where the request's own has none and nothing of it was sent.
    pub(super) fn pick_of_split(&mut self, now: Instant) -> Result<Lease, NoServer> {
        loop {
            match self.pick(now) {
                Err(why) if why != NoServer::AllFull && self.tries.count == 0 && self.turn_to_another() => {}
                picked => return picked,
            }
        }
    }

    /// Leaves the upstream for one that was not left yet and takes requests, if there is one.
    pub(super) fn turn_to_another(&mut self) -> bool {
        let Some(split) = self.route().and_then(|route| route.split.as_ref()) else {
            return false;
        };
        let left = |upstream: usize| self.upstream == Some(upstream) || self.tries.left.contains(&upstream);
        let usable = |upstream: usize| !left(upstream) && self.snapshot.upstreams[upstream].upstream.takes_requests();
        let next = split.choose(self.client.address, usable);
        if left(next) {
            return false;
        }
        self.tries.left.extend(self.upstream.replace(next));
        self.moved = None;
        self.tries.tried.clear();
        self.tries.sticky = None;
        // The head is not at hand. What else it may be hashed on, this spreads as well.
        self.tries.hash = hash_address(self.client.address);
        // What was to be stored, was to be stored for the other one.
        self.caching.give_up();
        true
    }
}
