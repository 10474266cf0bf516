//! What a server is beyond any configuration.

use std::time::{Duration, Instant};

use lb_config::PassiveHealth;

use super::ResolvedAddress;
use super::check::Status;
use super::eject::{self, Failures};
use super::orders::Orders;
use super::slow_start::Warmth;
use super::standing::{Duty, Facts};

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
    /// Ejections in a row, and when the last of them ended or ends.
    row: Option<(u32, Instant)>,
    pub(super) failures: Failures,
    /// Since the last good answer.
    pub(super) consecutive_failures: u32,
    /// Until when a drain lasts that the server has announced, where no check keeps count of it.
    announced: Option<Instant>,
    pub(super) orders: Orders,
    pub(super) warmth: Warmth,
}

impl Slot {
    pub(super) fn new(address: ResolvedAddress, generation: u32, warmth: Warmth) -> Self {
        Self {
            address: Some(address),
            generation,
            pins: 0,
            ejected: None,
            ejections: 0,
            row: None,
            failures: Failures::default(),
            consecutive_failures: 0,
            announced: None,
            orders: Orders::default(),
            warmth,
        }
    }

    /// What stands here of what decides whether the server may be used; `status` is what its checks say.
    pub(super) fn facts(&self, status: Status) -> Facts {
        Facts {
            duty: self.orders.duty,
            status,
            ejected: self.is_ejected(),
            announced: self.announced.is_some(),
        }
    }

    /// Whether no operator has taken it out.
    pub(super) fn is_on_duty(&self) -> bool {
        self.orders.duty == Duty::Ready
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.ejected.is_some()
    }

    pub(super) fn ejected_until(&self) -> Option<Instant> {
        self.ejected
    }

    /// Out from now on, and for how long: see [`eject::lasts`]. It returns as if nothing had been, but for what the next one lasts.
    pub(super) fn eject(&mut self, now: Instant, passive: &PassiveHealth) -> Duration {
        let before = self.row.map_or(0, |(row, ended)| {
            eject::row_after(row, now.saturating_duration_since(ended), passive)
        });
        let (row, lasts) = eject::next(before, passive);
        self.row = Some((row, now + lasts));
        self.ejected = Some(now + lasts);
        self.ejections += 1;
        self.failures.forget();
        lasts
    }

    pub(super) fn announced_until(&self) -> Option<Instant> {
        self.announced
    }

    /// The server is about to leave, as it says itself. Whether that is news.
    pub(super) fn announce(&mut self, until: Instant) -> bool {
        self.announced.replace(until).is_none()
    }

    /// It stays after all. Whether that is news.
    pub(super) fn retract(&mut self) -> bool {
        self.announced.take().is_some()
    }

    /// When something here ends by itself.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ejected.into_iter().chain(self.announced).min()
    }

    /// Ends what is over by now. Whether an ejection was among it.
    pub(super) fn return_by(&mut self, now: Instant) -> bool {
        if self.announced.is_some_and(|until| until <= now) {
            self.announced = None;
        }
        let over = self.ejected.is_some_and(|until| until <= now);
        if over {
            self.ejected = None;
            self.consecutive_failures = 0;
        }
        over
    }
}
