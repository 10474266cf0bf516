//! Making room: which shard gives something up, and when to stop looking.

use std::sync::atomic::Ordering;

use super::room::Got;
use super::s3fifo::Queue;
use super::store::Removed;
use super::{Cache, lock};

/// Popular objects that eviction passes over before it takes one all the same, so that no request pays for the whole queue.
const PATIENCE: u32 = 128;

impl Cache {
    /// Asks for room for something that is arriving, and evicts what has to go for it.
    pub(super) fn make_room(&self, bytes: u64) -> bool {
        let mut kept = 0;
        loop {
            match self.room.enter(bytes) {
                Got::Yes => return true,
                Got::TooMuch => return false,
                Got::Full if self.evict(&mut kept) => {}
                Got::Full => return false,
            }
        }
    }

    /// One step towards more room; `false` when nothing is stored. `kept` counts the steps that freed nothing.
    pub(super) fn evict(&self, kept: &mut u32) -> bool {
        let first = self.sums.first(self.room.bound());
        let second = if first == Queue::Small { Queue::Main } else { Queue::Small };
        for queue in [first, second] {
            for _ in 0..self.shards.len() {
                let hand = self.hands[queue as usize].fetch_add(1, Ordering::Relaxed) % self.shards.len();
                let Some(removed) = lock(&self.shards[hand]).evict(queue, *kept >= PATIENCE) else {
                    continue;
                };
                *kept = if removed.objects.is_empty() { *kept + 1 } else { 0 };
                self.let_go(removed);
                return true;
            }
        }
        false
    }

    /// Gives back the room of what was taken out of the store, and the memory, outside of any lock.
    pub(super) fn let_go(&self, removed: Removed) {
        self.objects.fetch_sub(removed.objects.len() as u64, Ordering::Relaxed);
        self.room.leave(removed.bytes);
    }
}
