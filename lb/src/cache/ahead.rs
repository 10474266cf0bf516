//! What has come from the origin and has not gone to its client yet.
//!
//! A body that is stored comes as fast as the origin sends it, however slowly the client reads who asked first: others may be waiting for it. What
//! that client has not read counts as arriving, so that many slow ones take no more memory than the cache has; where that is full, the origin waits
//! for the client, as it does for bodies that are not stored.

use std::sync::Arc;

use super::Cache;
use super::room::Charge;

/// Room for what waits for one client; given back on drop.
#[derive(Debug)]
pub struct Ahead {
    cache: Arc<Cache>,
    charge: Charge,
}

impl Cache {
    /// For the client of a fetch; no room yet.
    pub fn ahead(self: &Arc<Self>) -> Ahead {
        Ahead {
            cache: Arc::clone(self),
            charge: Charge::new(&self.room, 0),
        }
    }
}

impl Ahead {
    /// Whether there is room for that many bytes in all.
    pub fn holds(&mut self, bytes: usize) -> bool {
        let more = (bytes as u64).saturating_sub(self.charge.bytes());
        let got = more == 0 || self.cache.make_room(more);
        if got {
            self.charge.add(more);
        }
        got
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_and_is_bounded_and_given_back() {
        let cache = Cache::new(1000, 1000);
        let mut ahead = cache.ahead();
        assert!(ahead.holds(300) && ahead.holds(200) && cache.bytes() == 300);
        let mut other = cache.ahead();
        assert!(!other.holds(300) && other.holds(200), "half of the cache in all");
        assert!(!ahead.holds(301));
        drop(ahead);
        assert!(other.holds(500) && cache.bytes() == 500);
        drop(other);
        assert_eq!(cache.bytes(), 0);
    }
}
