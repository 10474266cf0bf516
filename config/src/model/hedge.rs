//! `hedge` of an upstream.

use std::time::Duration;

/// `hedge`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hedge {
    /// How long the first server has.
    pub after: HedgeAfter,
    /// Second servers as a share of the last 10 s' requests: 1 to 100.
    pub max_percent: u8,
}

/// How long a server has before a second one is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HedgeAfter {
    /// What so many percent of the upstream's answers take at most: 50 to 99.
    Percentile(u8),
    /// So long; above 0.
    Delay(Duration),
}
