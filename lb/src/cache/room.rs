//! How much memory there is, and who has it.
//!
//! Every byte is paid for before it is kept: by an object that is still arriving through its [`Charge`], and by a stored one for as long as the
//! store has it. Room is taken in one atomic step, so that the bound is never passed, however many fill at once; who does not get it has to
//! evict first. What is arriving may take half of it at most: it cannot be evicted, and a crowd of large misses would otherwise sweep out all
//! that is stored and then find no room all the same.
//!
//! A stored object that is evicted while it is being sent lives on uncounted until its last client has it, as in any cache that does not cut
//! answers short.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) struct Room {
    bound: AtomicU64,
    used: AtomicU64,
    arriving: AtomicU64,
}

/// Whether room was got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Got {
    Yes,
    /// Something has to be evicted first.
    Full,
    /// Evicting would not help.
    TooMuch,
}

impl Room {
    pub(super) fn new(bound: u64) -> Self {
        Self {
            bound: AtomicU64::new(bound),
            used: AtomicU64::new(0),
            arriving: AtomicU64::new(0),
        }
    }

    pub(super) fn bound(&self) -> u64 {
        self.bound.load(Ordering::Relaxed)
    }

    pub(super) fn set_bound(&self, bound: u64) {
        self.bound.store(bound, Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Asks for room for something that is arriving.
    pub(super) fn enter(&self, bytes: u64) -> Got {
        let bound = self.bound();
        if !add_below(&self.arriving, bytes, bound / 2) {
            return Got::TooMuch;
        }
        if add_below(&self.used, bytes, bound) {
            return Got::Yes;
        }
        self.arriving.fetch_sub(bytes, Ordering::Relaxed);
        Got::Full
    }

    /// Whether something arriving may still have so much, or an eighth of all, when what is stored makes way.
    pub(super) fn takes(&self, bytes: u64) -> bool {
        let bound = self.bound();
        self.arriving.load(Ordering::Relaxed) + bytes.min(bound / 8) <= bound / 2
    }

    /// Gives back what a stored object had.
    pub(super) fn leave(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn add_below(sum: &AtomicU64, bytes: u64, bound: u64) -> bool {
    let add = |sum: u64| sum.checked_add(bytes).filter(|&sum| sum <= bound);
    sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
}

/// Room that something arriving has; given back on drop.
#[derive(Debug)]
pub(super) struct Charge {
    room: Arc<Room>,
    bytes: u64,
}

impl Charge {
    /// Takes over room that [`Room::enter`] gave.
    pub(super) fn new(room: &Arc<Room>, entered: u64) -> Self {
        Self {
            room: Arc::clone(room),
            bytes: entered,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes over more of it.
    pub(super) fn add(&mut self, entered: u64) {
        self.bytes += entered;
    }

    /// Gives back what is above.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        let back = self.bytes.saturating_sub(bytes);
        self.bytes -= back;
        self.room.arriving.fetch_sub(back, Ordering::Relaxed);
        self.room.leave(back);
    }

    /// Leaves it to the store, which says [`Room::leave`] in the end.
    pub(super) fn settle(&mut self) {
        self.room.arriving.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_passed_and_what_arrives_gets_half() {
        let room = Arc::new(Room::new(100));
        assert_eq!(room.enter(51), Got::TooMuch);
        assert_eq!(room.enter(50), Got::Yes);
        let mut charge = Charge::new(&room, 50);
        assert_eq!(room.enter(1), Got::TooMuch);
        charge.settle();
        assert!(room.takes(50));
        assert_eq!((room.enter(50), room.enter(1), room.takes(1)), (Got::Yes, Got::TooMuch, false));
        let mut other = Charge::new(&room, 50);
        other.shrink_to(10);
        room.leave(50);
        drop(other);
        assert_eq!((room.used(), room.enter(50)), (0, Got::Yes));
    }

    #[test]
    fn a_full_one_says_so() {
        let room = Arc::new(Room::new(100));
        for _ in 0..2 {
            assert_eq!(room.enter(45), Got::Yes);
            Charge::new(&room, 45).settle();
        }
        assert_eq!(room.enter(20), Got::Full);
        room.leave(45);
        assert_eq!(room.enter(20), Got::Yes);
    }
}
