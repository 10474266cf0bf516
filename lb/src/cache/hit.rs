//! What a look-up has found.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::clock::Now;
use super::freshness::Why;
use super::object::Object;

/// A response from the store.
#[derive(Debug, Clone)]
pub struct Hit {
    pub(super) object: Arc<Object>,
    pub(super) age: u64,
    pub(super) ttl: u64,
    pub(super) stale: Option<Stale>,
}

/// How stale something is that is served all the same, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// Seconds past its lifetime, begun ones included.
    pub over: u64,
    /// Why it is served.
    pub why: Why,
}

impl Hit {
    pub(super) fn fresh(object: &Arc<Object>, left: Duration, now: Now) -> Self {
        Self {
            object: Arc::clone(object),
            age: object.age(now),
            ttl: left.as_secs(),
            stale: None,
        }
    }

    pub(super) fn stale(object: &Arc<Object>, over: Duration, why: Why, now: Now) -> Self {
        let over = over.as_secs() + u64::from(over.subsec_nanos() > 0);
        Self {
            object: Arc::clone(object),
            age: object.age(now),
            ttl: 0,
            stale: Some(Stale { over, why }),
        }
    }

    /// What has come just now.
    pub(super) fn new(object: &Arc<Object>) -> Self {
        let freshness = &object.freshness;
        let ttl = freshness.lifetime.saturating_sub(freshness.initial_age);
        Self {
            object: Arc::clone(object),
            age: freshness.initial_age.as_secs(),
            ttl: ttl.as_secs(),
            stale: None,
        }
    }

    /// Whether, and why, it is served although stale.
    pub fn staleness(&self) -> Option<Stale> {
        self.stale
    }

    /// Head and length.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The body, in order.
    pub fn body(&self) -> &[Bytes] {
        self.object.chunks()
    }

    /// Seconds.
    pub fn age(&self) -> u64 {
        self.age
    }

    /// Whole seconds for which it stays fresh.
    pub fn ttl(&self) -> u64 {
        self.ttl
    }
}
