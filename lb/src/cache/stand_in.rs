//! What becomes of what is stored when the origin gives something worse, or nothing.
//!
//! An error does not take the place of a good answer that may still be served (RFC 5861 §4), and such an answer stands in for it: for the request that
//! asked, for all that waited, and from then on at once for everybody, while the origin is asked in the background, once a second at most. What the
//! origin takes back by an answer that is not for the store is stored no longer.

use std::sync::Arc;
use std::time::Duration;

use super::flight::Stored;
use super::freshness::Why;
use super::hit::Hit;
use super::lead::Lead;
use super::object::Object;
use super::policy::Refusal;
use super::store::Removed;
use super::{Cache, Now};
use crate::exchange::head::ResponseHead;

/// How long after one try that failed the next one begins, where something stored stands in meanwhile.
const AGAIN: Duration = Duration::from_secs(1);

/// What is stored and stale, beside a request that goes past the store because it is not one to fetch it by.
#[derive(Debug)]
pub struct Beside {
    cache: Arc<Cache>,
    object: Arc<Object>,
}

impl Beside {
    pub(super) fn new(cache: &Arc<Cache>, object: &Arc<Object>) -> Self {
        Self {
            cache: Arc::clone(cache),
            object: Arc::clone(object),
        }
    }

    /// The origin gives no good answer. What is stored answers the request, if it may stand in for an error.
    pub fn stands_in(&self, now: Now) -> Option<Hit> {
        let (cache, object) = (&self.cache, &self.object);
        let may = object.stands_in(now) && cache.trusts(object, now) && cache.holds(object);
        may.then(|| Hit::stale(object, object.freshness.over(now), Why::IfError, now))
    }
}

impl Lead {
    /// The origin gives no good answer. What is stored answers this request and all that wait, where it may stand in for an error.
    ///
    /// # Errors
    /// It may not: the lead goes on.
    pub fn stands_in(mut self, now: Now) -> Result<Hit, Self> {
        let Stored::This(object) = &self.stored else { return Err(self) };
        if self.strict || !object.stands_in(now) || !self.cache.trusts(object, now) || self.is_purged(object) {
            return Err(self);
        }
        let hit = Hit::stale(object, object.freshness.over(now), Why::IfError, now);
        self.put_off(now, true);
        self.end(None, Some(&hit), |_| Removed::default());
        Ok(hit)
    }

    /// Whether a purge has taken out what was stored when the fetch began. One that only had it count as stale leaves it there; and what room was
    /// made of is judged by the log, which does not tell these two apart.
    fn is_purged(&self, object: &Arc<Object>) -> bool {
        let shard = self.cache.shard(object.key.hash);
        let there = shard
            .get(&object.key, object.variant())
            .is_some_and(|stored| Arc::ptr_eq(stored, object));
        !there && self.cache.log().hits(object.began, &object.key, &object.tags)
    }

    /// What is stored is not fetched anew in the background before some time has passed. `failed`: the origin gave no good answer.
    pub(super) fn put_off(&self, now: Now, failed: bool) {
        if let Stored::This(object) = &self.stored {
            object.not_before(now.mono.max(self.flight.asked + AGAIN), failed);
        }
    }

    /// Whether an answer is an error that must not take the place of what is stored and may be served yet.
    pub(super) fn is_worse(&self, response: &impl ResponseHead, now: Now) -> bool {
        let Stored::This(object) = &self.stored else { return false };
        let over = object.freshness.over(now);
        matches!(response.status().as_u16(), 500 | 502..=504) && (object.grace.while_revalidate(over) || object.grace.if_error(over))
    }

    /// The origin has said something else that is not for the store: what is stored says it no longer.
    pub(super) fn supersede(&self, response: &impl ResponseHead, refusal: Refusal) {
        let Stored::This(object) = &self.stored else { return };
        let of_all = matches!(
            refusal,
            Refusal::NoStore | Refusal::Private | Refusal::SetCookie | Refusal::VaryAny | Refusal::Endless | Refusal::NotFresh
        );
        if of_all && !response.status().is_server_error() && !self.flight.authorized {
            let removed = self.cache.shard(object.key.hash).take(object);
            self.cache.let_go(removed);
        }
    }
}
