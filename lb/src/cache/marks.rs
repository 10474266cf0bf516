//! Keys that are not worth waiting for.
//!
//! While an answer is on its way, others who ask for the same wait for it. If it then turns out to be for one client only, they have waited for
//! nothing; so that the next wave does not, the key is marked for a while (Varnish calls it hit-for-miss), and whoever asks goes to the
//! origin at once. An answer that may be shared takes the mark away.
//!
//! A key is also marked when a body turned out too long only while it came. Then an answer that does not tell its length takes no mark away,
//! or each of them would gather readers again that it cannot keep the body for.
//!
//! A mark is only a hash: of two keys with one hash, the other goes to the origin alone once in a while.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::clock::Now;
use super::key::StoredKey;

/// How long an answer that may not be shared is remembered.
pub(super) const UNSHARED: Duration = Duration::from_secs(60);
/// How long an error is: an origin that is about to come back is better met by one request than by all.
pub(super) const FAILED: Duration = Duration::from_secs(1);
/// Marks in a shard; the oldest goes first.
const MOST: usize = 512;

/// Why a key is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Its answers are for one client.
    Unshared,
    /// Their bodies are too long, and do not say so.
    TooLong,
}

#[derive(Debug, Default)]
pub(super) struct Marks {
    known: HashMap<u64, (Mark, Instant), ahash::RandomState>,
    order: VecDeque<u64>,
}

/// Requests with `Authorization` and those without are marked apart, as they wait apart.
fn id(key: &StoredKey, authorized: bool) -> u64 {
    key.hash ^ u64::from(authorized)
}

impl Marks {
    pub(super) fn get(&self, key: &StoredKey, authorized: bool, now: Now) -> Option<Mark> {
        self.known
            .get(&id(key, authorized))
            .filter(|(_, until)| now.mono < *until)
            .map(|(mark, _)| *mark)
    }

    pub(super) fn set(&mut self, key: &StoredKey, authorized: bool, mark: Mark, until: Instant) {
        let id = id(key, authorized);
        if self.known.insert(id, (mark, until)).is_none() {
            self.order.push_back(id);
            if self.order.len() > MOST
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
    }

    pub(super) fn clear(&mut self, key: &StoredKey, authorized: bool) {
        let id = id(key, authorized);
        if self.known.remove(&id).is_some() {
            self.order.retain(|&other| other != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::Key;
    use super::*;

    fn key(number: u64) -> StoredKey {
        Key::new("u", b"k", b"k").store(number << 1)
    }

    #[test]
    fn a_mark_ends_by_time_or_by_hand() {
        let now = Now::read();
        let mut marks = Marks::default();
        marks.set(&key(1), false, Mark::Unshared, now.mono + UNSHARED);
        assert_eq!(marks.get(&key(1), false, now), Some(Mark::Unshared));
        assert_eq!(marks.get(&key(1), true, now), None);
        assert_eq!(marks.get(&key(1), false, now + UNSHARED), None);
        marks.clear(&key(1), false);
        assert_eq!(marks.get(&key(1), false, now), None);
    }

    #[test]
    fn there_are_never_more_than_so_many_and_the_oldest_goes() {
        let now = Now::read();
        let mut marks = Marks::default();
        for number in 0..10 * MOST as u64 {
            marks.set(&key(number), false, Mark::TooLong, now.mono + UNSHARED);
            marks.set(&key(number), false, Mark::TooLong, now.mono + UNSHARED);
        }
        assert_eq!((marks.known.len(), marks.order.len()), (MOST, MOST));
        assert_eq!(marks.get(&key(10 * MOST as u64 - 1), false, now), Some(Mark::TooLong));
        assert_eq!(marks.get(&key(0), false, now), None);
    }
}
