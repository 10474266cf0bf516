//! How often a key was asked for before anything was stored under it.
//!
//! A route may ask that a response is worth its memory only from the second or third request on (`min_uses`, as nginx has it): what is asked for
//! once, by a crawler say, then takes no memory at all. The count of a key is kept for as long as so many newer keys have not been counted;
//! what is forgotten begins anew, which only delays storing.
//!
//! A count is kept by hash: of two keys with one hash, one is stored a request too early.

use std::collections::{HashMap, VecDeque};

/// Keys that a shard counts; the oldest goes first.
const MOST: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Uses {
    counts: HashMap<u64, u32, ahash::RandomState>,
    order: VecDeque<u64>,
}

impl Uses {
    /// Counts uses of a key, and returns how many there were with these.
    pub(super) fn count(&mut self, hash: u64, uses: u32) -> u32 {
        let count = self.counts.entry(hash).or_insert_with(|| {
            self.order.push_back(hash);
            0
        });
        *count = count.saturating_add(uses);
        let count = *count;
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.counts.remove(&oldest);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_apart() {
        let mut uses = Uses::default();
        assert_eq!((uses.count(1, 1), uses.count(2, 3), uses.count(1, 1)), (1, 3, 2));
        assert_eq!(uses.count(1, u32::MAX), u32::MAX);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut uses = Uses::default();
        for hash in 0..2 * MOST as u64 {
            uses.count(hash, 1);
        }
        assert_eq!((uses.counts.len(), uses.order.len()), (MOST, MOST));
        assert_eq!(uses.count(2 * MOST as u64 - 1, 1), 2);
        assert_eq!(uses.count(0, 1), 1);
    }
}
