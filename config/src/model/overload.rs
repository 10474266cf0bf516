//! What holds when the servers of an upstream have enough to do.

use std::num::NonZeroU32;
use std::time::Duration;

/// `queue` of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Requests that wait at most.
    pub size: NonZeroU32,
    /// How long each waits at most; above zero.
    pub timeout: Duration,
}
