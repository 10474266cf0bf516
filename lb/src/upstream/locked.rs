//! The pool's lock, and what is owed to those who wait when it is let go.

use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;
use std::task::Waker;

use super::pool::{News, Pool, State};

/// Holds the lock. On its way out those who [wait](super::queue) are served; they are woken once others can have the lock.
pub(super) struct Locked<'a> {
    // In this order: what is dropped first is the lock.
    state: MutexGuard<'a, State>,
    owed: Owed<'a>,
}

/// What is done without the lock, on the way out.
struct Owed<'a> {
    pool: &'a Pool,
    woken: Vec<Waker>,
    news: News,
}

impl<'a> Locked<'a> {
    pub(super) fn new(pool: &'a Pool, state: MutexGuard<'a, State>) -> Self {
        let owed = Owed {
            pool,
            woken: Vec::new(),
            news: News::default(),
        };
        Self { state, owed }
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
            let (epoch, now) = (self.owed.pool.epoch.now(), self.state.now());
            (self.owed.woken, self.owed.news) = self.state.settle(epoch, now);
        }
    }
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        self.woken.drain(..).for_each(Waker::wake);
        self.pool.tell(&self.news);
    }
}
