//! Waiting for a server, in order of arrival.
//!
//! A queue in front of full servers is worth more than one behind each of them: the first who waits takes the first place that comes free,
//! wherever that is, and nobody stands behind a slow request while another server idles. It is bounded twice, by its size and by the time
//! that each may wait, because a long queue serves only answers that nobody waits for any more.
//!
//! The rule is: *whenever the pool's lock is let go, nobody waits who could be served.* Whatever makes room (a request that ends, a server
//! that becomes well, a configuration that has more of them) happens under that lock, and before it is let go the room is handed to the
//! first who may have it. So no wake-up can be lost, only those are woken that have got something, and a request that arrives later can
//! overtake nobody: what it finds free, nobody before it could use.
//!
//! A place that was handed over and not taken up, because the client left meanwhile, is on the same way handed to the next.
//!
//! Requests wait in the view of the newest configuration, also when they began under an older one, so that they get its servers too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::pool::Pool;
use super::{NoServer, ServerId, Wanted};

/// Those who wait for one upstream.
#[derive(Default)]
pub(super) struct Queue {
    /// By ticket, and so in order of arrival. Who has got an outcome stays until it is fetched.
    waiters: BTreeMap<u64, Waiter>,
    next_ticket: u64,
    /// Those without an outcome.
    waiting: usize,
}

/// Somebody who waits, and what for.
struct Waiter {
    /// The view of the configuration that the request began under.
    home: u64,
    /// The view that it waits in.
    view: u64,
    hash: u64,
    tried: Vec<ServerId>,
    sticky: Option<ServerId>,
    outcome: Option<Result<Handed, NoServer>>,
    waker: Option<Waker>,
}

/// A server that was handed to somebody: in which view, and its slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handed {
    pub(super) view: u64,
    pub(super) slot: usize,
}

impl Queue {
    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Lines up behind all others.
    pub(super) fn join(&mut self, home: u64, view: u64, wanted: &Wanted<'_>) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let waiter = Waiter {
            home,
            view,
            hash: wanted.hash,
            tried: wanted.tried.to_vec(),
            sticky: wanted.sticky,
            outcome: None,
            waker: None,
        };
        self.waiters.insert(ticket, waiter);
        self.waiting += 1;
        ticket
    }

    /// Steps out of the line. What was handed over and is now nobody's.
    pub(super) fn leave(&mut self, ticket: u64) -> Option<Handed> {
        match self.waiters.remove(&ticket)?.outcome {
            Some(outcome) => outcome.ok(),
            None => {
                self.waiting -= 1;
                None
            }
        }
    }

    /// Asks `serve` for each who waits, in order: `None` leaves it waiting. Those who need not wait any longer, to be woken.
    pub(super) fn serve(&mut self, mut serve: impl FnMut(u64, &Wanted<'_>) -> Option<Result<Handed, NoServer>>) -> Vec<Waker> {
        let mut woken = Vec::new();
        for waiter in self.waiters.values_mut().filter(|waiter| waiter.outcome.is_none()) {
            let wanted = Wanted {
                hash: waiter.hash,
                tried: &waiter.tried,
                sticky: waiter.sticky,
            };
            waiter.outcome = serve(waiter.view, &wanted);
            if waiter.outcome.is_some() {
                self.waiting -= 1;
                woken.extend(waiter.waker.take());
            }
        }
        woken
    }

    /// All who wait do so in this view from now on.
    pub(super) fn move_to(&mut self, view: u64) {
        let waiting = self.waiters.values_mut().filter(|waiter| waiter.outcome.is_none());
        waiting.for_each(|waiter| waiter.view = view);
    }

    /// Who waits in a view that is about to close goes back to its own, which its request holds open.
    pub(super) fn leave_view(&mut self, view: u64) {
        let waiters = self.waiters.values_mut().filter(|waiter| waiter.view == view);
        waiters.for_each(|waiter| waiter.view = waiter.home);
    }

    /// Everybody who waits looks when to look again.
    pub(super) fn wake_all(&mut self) -> Vec<Waker> {
        self.waiters.values_mut().filter_map(|waiter| waiter.waker.take()).collect()
    }

    fn poll(&mut self, ticket: u64, cx: &Context<'_>) -> Poll<()> {
        match self.waiters.get_mut(&ticket) {
            Some(waiter) if waiter.outcome.is_none() => {
                waiter.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// What has come of the waiting, once.
    fn fetch(&mut self, ticket: u64) -> Option<Result<Handed, NoServer>> {
        self.waiters.get_mut(&ticket)?.outcome.as_ref()?;
        self.waiters.remove(&ticket)?.outcome
    }
}

/// A place in the line. Whoever drops it steps out, and gives back what it was handed.
#[must_use = "the request waits only while this is held"]
pub struct Place {
    pool: Arc<Pool>,
    ticket: u64,
}

impl Place {
    pub(super) fn new(pool: Arc<Pool>, ticket: u64) -> Self {
        Self { pool, ticket }
    }

    /// Ready when there is an outcome.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.poll_at(cx, Instant::now())
    }

    pub(crate) fn poll_at(&self, cx: &Context<'_>, now: Instant) -> Poll<()> {
        self.pool.queue_at(now, |queue| queue.poll(self.ticket, cx))
    }

    /// When to poll again although nobody wakes: an ejection ends then.
    pub fn next_look(&self) -> Option<Instant> {
        self.pool.next_return()
    }

    /// What has come of the waiting; `None`: nothing yet.
    pub fn outcome(&self) -> Option<Result<Granted, NoServer>> {
        self.outcome_at(Instant::now())
    }

    pub(crate) fn outcome_at(&self, now: Instant) -> Option<Result<Granted, NoServer>> {
        let outcome = self.pool.queue_at(now, |queue| queue.fetch(self.ticket))?;
        Some(outcome.map(|handed| Granted::new(&self.pool, handed)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.leave_queue(self.ticket);
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Place").field(&self.ticket).finish()
    }
}

/// A server that was handed to a request and is not yet leased. Dropped, it goes to the next.
#[must_use = "the server counts the request only while this is held"]
pub struct Granted {
    /// `None` once a lease has taken it over.
    pool: Option<Arc<Pool>>,
    handed: Handed,
}

impl Granted {
    fn new(pool: &Arc<Pool>, handed: Handed) -> Self {
        let pool = Some(pool.clone());
        Self { pool, handed }
    }

    pub(super) fn handed(&self) -> Handed {
        self.handed
    }

    /// The count goes on with a lease, which holds the server.
    pub(super) fn take_over(mut self) {
        if let Some(pool) = self.pool.take() {
            pool.let_go(self.handed.slot);
        }
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.hand_back(self.handed);
        }
    }
}

impl std::fmt::Debug for Granted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Granted").field(&self.handed).finish()
    }
}
