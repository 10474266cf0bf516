//! Those who wait for a server.

use std::task::Waker;
use std::time::Instant;

use super::super::queue::{Handed, Queue};
use super::super::{NoServer, Wanted};
use super::Pool;

impl Pool {
    /// As [`take`](Self::take); where all are full, the request lines up, unless `size` do already. The ticket, then.
    pub(in crate::upstream) fn take_or_join(
        &self,
        view: u64,
        wanted: &Wanted<'_>,
        size: usize,
        now: Instant,
    ) -> Result<Result<usize, u64>, NoServer> {
        let mut state = self.lock();
        let news = state.catch_up(self.epoch.now(), now);
        let taken = match state.take(view, wanted, now) {
            // Read under the lock: whoever opens it after this refuses those who wait by then.
            Err(NoServer::AllFull) if self.breaker.is_open() => Err(NoServer::CircuitOpen),
            Err(NoServer::AllFull) if state.queue.waiting() >= size => Err(NoServer::QueueFull),
            Err(NoServer::AllFull) => {
                let newest = state.newest(view);
                Ok(Err(state.queue.join(view, newest, wanted)))
            }
            taken => taken.map(Ok),
        };
        drop(state);
        self.tell(&news);
        taken
    }

    /// The circuit has opened: nobody waits any longer.
    pub(in crate::upstream) fn refuse_waiters(&self) {
        let mut state = self.lock();
        let woken = state.queue.serve(|_, _| Some(Err(NoServer::CircuitOpen)));
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Something outside has changed: those who wait may be served now.
    pub(in crate::upstream) fn look_again(&self) {
        drop(self.lock());
    }

    /// Does something with the queue at a time.
    pub(in crate::upstream) fn queue_at<T>(&self, now: Instant, act: impl FnOnce(&mut Queue) -> T) -> T {
        let mut state = self.lock();
        let news = state.catch_up(self.epoch.now(), now);
        let done = act(&mut state.queue);
        drop(state);
        self.tell(&news);
        done
    }

    /// How many wait.
    pub(in crate::upstream) fn queued(&self) -> usize {
        self.lock().queue.waiting()
    }

    /// When the first ejection ends.
    pub(in crate::upstream) fn next_return(&self) -> Option<Instant> {
        self.lock().next_end
    }

    /// Steps out of the line; what was handed over already goes to the next.
    pub(in crate::upstream) fn leave_queue(&self, ticket: u64) {
        let mut state = self.lock();
        if let Some(handed) = state.queue.leave(ticket) {
            state.hand_back(handed);
        }
    }

    /// What was handed over is not used.
    pub(in crate::upstream) fn hand_back(&self, handed: Handed) {
        self.lock().hand_back(handed);
    }

    /// What was handed over is used, by somebody who holds the server.
    pub(in crate::upstream) fn let_go(&self, slot: usize) {
        self.lock().unpin(slot);
    }
}
