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

/// `circuit_breaker` of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// The share of failed tries that opens it, 1 to 100.
    pub error_percent: u8,
    /// Fewer tries than that never open it.
    pub min_requests: NonZeroU32,
    /// Tries that count are no older than that; above zero.
    pub window: Duration,
    /// How long it stays open before a request may try again; above zero.
    pub open: Duration,
}
