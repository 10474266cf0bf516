//! What is counted of the cache.

use crate::count::Count;

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
