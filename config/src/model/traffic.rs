//! What a route does with its traffic: `split`, `mirror`, `fault`.

use std::time::Duration;

use http::StatusCode;

/// The upstreams of a route, and their weights. Never empty, no upstream twice, and one weight is above 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split(Vec<Share>);

/// One upstream's part of a [`Split`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Index into [`crate::Config::upstreams`].
    pub upstream: usize,
    /// Its share of the clients, relative to the others'; 0: none.
    pub weight: u32,
}

impl Split {
    /// All to one upstream.
    pub fn whole(upstream: usize) -> Self {
        Self(vec![Share { upstream, weight: 1 }])
    }

    /// What the file says, once it was found to be so.
    pub(crate) fn new(shares: Vec<Share>) -> Self {
        Self(shares)
    }

    /// In the order of the file.
    pub fn shares(&self) -> &[Share] {
        &self.0
    }
}

/// `mirror`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mirror {
    /// Index into [`crate::Config::upstreams`].
    pub upstream: usize,
    /// So many of the requests are copied, 0 to 100.
    pub percent: f64,
}

/// `fault`: at least one of both is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// How long a request waits first; above 0.
    pub delay: Option<Duration>,
    /// The status that it gets then, 400 to 599; `None`: it goes on.
    pub abort: Option<StatusCode>,
    /// So many of the requests are hit, 0 to 100.
    pub percent: f64,
}
