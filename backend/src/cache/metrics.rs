//! What is counted of the cache.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers that only grow.
#[derive(Debug, Default)]
pub struct Counts {
    /// Reads that found what they were for.
    pub hits: Count,
    /// Reads that fetched it from the database, and brought it.
    pub misses: Count,
    /// Reads that waited for somebody else's fetch.
    pub shared: Count,
    /// Reads that did without Redis: it is away, or may not be trusted.
    pub unused: Count,
    /// Fetches that are in Redis now.
    pub fills: Count,
    /// Fetches that were refused, because a write came in between.
    pub refused: Count,
    /// Calls that failed.
    pub errors: Count,
    /// Writes that Redis was told of by whoever made them.
    pub told: Count,
    /// Writes that Redis was told of by whoever found their notes.
    pub told_later: Count,
    /// Writes that were answered without that.
    pub untold: Count,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
