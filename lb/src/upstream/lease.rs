//! The right to send one request to a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Server;
use super::breaker::Pass;
use super::limit::Heard;

/// One request in flight. It counts until this is dropped, however the request ends and whatever configuration is current by then.
#[derive(Debug)]
#[must_use = "the request counts as in flight only while this is held"]
pub struct Lease {
    server: Arc<Server>,
    succeeded: AtomicBool,
    /// The limit of the server does not count it any more.
    answered: AtomicBool,
    /// What the circuit is told by, where there is one.
    pass: Option<Pass>,
}

impl Lease {
    /// Takes over what the pool has counted.
    pub(super) fn new(server: Arc<Server>, pass: Option<Pass>) -> Self {
        Self {
            server,
            succeeded: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            pass,
        }
    }

    /// Where the request goes.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The server has given a good answer.
    pub fn succeeded(&self) {
        self.succeeded.store(true, Ordering::Relaxed);
    }

    /// What the try has come to, for the circuit: `ok`, or a failure of the server's. Only the first word counts; a try that is left
    /// without one says nothing.
    pub fn tried(&self, ok: bool) {
        self.tried_at(ok, Instant::now());
    }

    pub(super) fn tried_at(&self, ok: bool, now: Instant) {
        if let Some(pass) = &self.pass {
            self.server.tried_at(pass, ok, now);
        }
    }

    /// How long the server took from being asked to the head of its answer, or to its failure, and what it was. Told once for
    /// each try, before the lease ends.
    pub fn observed(&self, latency: Duration, heard: Heard) {
        // The clock is not asked for nobody.
        if self.server.learns() {
            self.observed_at(latency, heard, Instant::now());
        }
    }

    /// As [`Lease::observed`], at this time.
    pub fn observed_at(&self, latency: Duration, heard: Heard, now: Instant) {
        if self.server.learns() && !self.answered.swap(true, Ordering::Relaxed) {
            self.server.observed_at(latency, heard, now);
        }
    }

    /// The server had not answered after this time, and nobody waits for it any longer.
    pub fn unanswered(&self, after: Duration) {
        if self.server.learns() {
            self.unanswered_at(after, Instant::now());
        }
    }

    /// As [`Lease::unanswered`], at this time.
    pub(crate) fn unanswered_at(&self, after: Duration, now: Instant) {
        if self.server.learns() && !self.answered.load(Ordering::Relaxed) {
            self.server.unanswered_at(after, now);
        }
    }

    /// The server has failed, in a way that passive health counts. Once a request at most: the caller decides whom to charge.
    pub fn failed(&self) {
        self.failed_at(Instant::now());
    }

    /// The server's answer says that it is about to leave, and wants no new request.
    pub fn announced_drain(&self) {
        self.announced_drain_at(Instant::now());
    }

    pub(super) fn announced_drain_at(&self, now: Instant) {
        self.server.announced_drain_at(now);
    }

    pub(crate) fn failed_at(&self, now: Instant) {
        self.server.failed_at(now);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.server.release(*self.succeeded.get_mut(), *self.answered.get_mut());
    }
}
