//! What a server is beyond any configuration.

use std::time::Instant;

use super::ResolvedAddress;
use super::eject::Failures;

/// The rarely changing part of a server's live state. Its load and its turn stand in arrays of their own, where algorithms scan them.
#[derive(Debug)]
pub(super) struct Slot {
    /// `None` while the slot is free.
    pub(super) address: Option<ResolvedAddress>,
    /// Tells servers that had the same slot one after the other apart.
    pub(super) generation: u32,
    /// Configurations, leases and others that hold the server.
    pub(super) pins: u32,
    /// Until when; may be over already while nobody has looked.
    ejected: Option<Instant>,
    pub(super) ejections: u64,
    pub(super) failures: Failures,
    /// Since the last good answer.
    pub(super) consecutive_failures: u32,
}

impl Slot {
    pub(super) fn new(address: ResolvedAddress, generation: u32) -> Self {
        Self {
            address: Some(address),
            generation,
            pins: 0,
            ejected: None,
            ejections: 0,
            failures: Failures::default(),
            consecutive_failures: 0,
        }
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.ejected.is_some()
    }

    pub(super) fn ejected_until(&self) -> Option<Instant> {
        self.ejected
    }

    /// Out until then; returns as if nothing had been.
    pub(super) fn eject(&mut self, until: Instant) {
        self.ejected = Some(until);
        self.ejections += 1;
        self.failures.forget();
    }

    /// Ends an ejection whose time is over. Whether there was one.
    pub(super) fn return_by(&mut self, now: Instant) -> bool {
        let over = self.ejected.is_some_and(|until| until <= now);
        if over {
            self.ejected = None;
            self.consecutive_failures = 0;
        }
        over
    }
}
