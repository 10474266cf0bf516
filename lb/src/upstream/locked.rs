//! The pool's lock, and what is owed to those who wait when it is let go.

use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;
use std::task::Waker;

use super::pool::{Pool, State};

/// Holds the lock. On its way out those who [wait](super::queue) are served; they are woken once others can have the lock.
pub(super) struct Locked<'a> {
    pool: &'a Pool,
    // In this order: what is dropped first is the lock.
    state: MutexGuard<'a, State>,
    woken: Woken,
}

/// Wakes on its way out.
struct Woken(Vec<Waker>);

impl<'a> Locked<'a> {
    pub(super) fn new(pool: &'a Pool, state: MutexGuard<'a, State>) -> Self {
        let woken = Woken(Vec::new());
        Self { pool, state, woken }
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if self.state.queue.waiting() > 0 {
            // Read under the lock: a change after this finds those who wait by then.
            self.woken.0 = {
                let now = self.state.now();
                self.state.settle(self.pool.epoch.now(), now)
            };
        }
    }
}

impl Drop for Woken {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}
