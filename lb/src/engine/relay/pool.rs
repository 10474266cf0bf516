//! Idle connections to servers: a worker's own, so that taking one and giving it back costs no other thread anything.
//!
//! The newest goes first: it is the one that its server is least likely to have closed, and the others get old and are let go, so that as many
//! are kept as are needed. Before one is used again, a read that does not block looks whether the server has closed it or sent what nobody
//! asked for: bytes on an idle connection are nobody's answer (RFC 9112 §9.2).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::upstream::Connection;
use crate::upstream::ResolvedAddress;

/// How often old ones are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// What connections must have in common to serve for each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) address: ResolvedAddress,
    /// Whom TLS trusts there and who it says it is; 0: no TLS.
    pub(super) identity: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<HashMap<Key, Vec<Idle>, RandomState>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    until: Instant,
}

impl Pool {
    /// The newest that is still good. `surely`: the kernel is asked, and not only the runtime, which may not have heard yet; for requests that
    /// cannot be repeated.
    pub(super) fn take(&self, key: &Key, surely: bool) -> Option<Connection> {
        let mut idle = self.lock();
        let stack = idle.get_mut(key)?;
        while let Some(Idle { mut connection, .. }) = stack.pop() {
            if connection.is_quiet() && (!surely || connection.is_quiet_now()) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for `idle` at most, if there are not `most` already.
    pub(super) fn give(&self, key: Key, mut connection: Connection, most: usize, idle: Duration) {
        connection.rest();
        // A time beyond the clock's range is as good as none.
        let until = Instant::now() + idle.min(Duration::from_secs(30 * 365 * 24 * 60 * 60));
        let mut kept = self.lock();
        let stack = kept.entry(key).or_default();
        if stack.len() < most {
            stack.push(Idle { connection, until });
        }
    }

    /// Lets those go that are old, or that their servers have closed.
    fn sweep(&self, now: Instant) {
        let mut idle = self.lock();
        idle.retain(|_, stack| {
            stack.retain_mut(|idle| idle.until > now && idle.connection.is_quiet());
            !stack.is_empty()
        });
    }

    /// Sweeps for as long as anybody else has the pool.
    pub(super) async fn keep_swept(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while Arc::strong_count(&self) > 1 {
            self.sweep(ticks.tick().await);
        }
    }

    /// Only this worker's thread takes it, so it is free.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Idle>, RandomState>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
