//! The count of changes of mind: whoever derived something from the statuses of checks compares it with what it was then.
//!
//! Requests look at it when they come, so nobody has to tell them. A request that [waits](super::queue) for a server does not come again by
//! itself; therefore the pools are told, and serve those who wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, Weak};

use super::pool::Pool;

/// See the module. One for a registry.
#[derive(Default)]
pub(super) struct Epoch {
    count: AtomicU64,
    pools: Mutex<Vec<Weak<Pool>>>,
}

impl Epoch {
    /// Where it stands.
    pub(super) fn now(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// A status has changed; it was stored before.
    pub(super) fn advance(&self) {
        self.count.fetch_add(1, Ordering::Release);
        let pools: Vec<_> = self.pools().iter().filter_map(Weak::upgrade).collect();
        pools.iter().for_each(|pool| pool.look_again());
    }

    /// This one is told from now on.
    pub(super) fn tell(&self, pool: Weak<Pool>) {
        let mut pools = self.pools();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(pool);
    }

    fn pools(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Epoch({})", self.now())
    }
}
