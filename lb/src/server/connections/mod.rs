//! Client connections: how many there are, which of them wait, who makes room when there are too many, and how many each address has.
//!
//! Every connection has a place for its whole life. Between two requests the place holds the time since when it waits, so that the one
//! that has waited longest can be asked to leave when `max_connections` is reached. A request changes two atomics of its own
//! connection's place and takes no lock; one that comes or goes changes one number that all share, and locks its own worker's part of
//! the table, in which nobody else has a say unless somebody looks for a connection to close.
//!
//! Connections are counted by address only while a limit asks for it. The place knows the address in any case, so that those which were
//! there before the limit came are counted when it comes.

mod peers;
mod table;

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use peers::Peers;
use table::{Entry, Look, Peer, Place, Shard};

/// After so long, who waits for a place looks again: somebody may have gone idle, and whom it asked to leave may have got a request instead.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A connection that has waited for less is not idle yet: its first request may lie in the kernel, or its next one be on the way.
const SETTLED: Duration = Duration::from_millis(20);

/// The table of client connections.
pub struct Connections {
    open: Open,
    max: AtomicUsize,
    /// How many wait for a place. A connection that ends tells nobody where nobody waits.
    waiting: AtomicUsize,
    freed: Notify,
    stopping: AtomicBool,
    shards: Box<[Shard]>,
    by_address: AtomicBool,
    peers: Peers,
    epoch: Instant,
}

/// How many there are; on cache lines of its own, as it is written all the time.
#[derive(Default)]
#[repr(align(128))]
struct Open(AtomicUsize);

/// A connection's place in the table, given back on drop.
pub struct Slot {
    table: Arc<Connections>,
    shard: usize,
    place: Place,
}

impl Connections {
    /// A table for at most `max` connections of so many workers.
    pub fn new(max: usize, workers: usize) -> Arc<Connections> {
        Arc::new(Connections {
            open: Open::default(),
            max: AtomicUsize::new(max),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            stopping: AtomicBool::new(false),
            shards: (0..workers.max(1)).map(|_| Shard::default()).collect(),
            by_address: AtomicBool::new(false),
            peers: Peers::default(),
            epoch: Instant::now(),
        })
    }

    /// Changes the limit. Connections beyond it stay until they end.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.freed.notify_waiters();
    }

    /// Counts connections by address from now on, those that are there among them, or no longer.
    pub fn count_by_address(&self, on: bool) {
        if self.by_address.swap(on, Ordering::Relaxed) || !on {
            return;
        }
        // A place's lock orders this: who comes after it has looked sees that connections are counted.
        let count = |entry: &Entry| {
            if let Some(peer) = &mut *lock(entry)
                && !peer.counted
            {
                self.peers.add(peer.address);
                peer.counted = true;
            }
        };
        self.shards.iter().for_each(|shard| shard.each(count));
    }

    /// Asks all that wait to leave, now and whenever one begins to.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.shards.iter().for_each(|shard| shard.each(Entry::wake));
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        self.open.0.load(Ordering::Acquire)
    }

    /// A place for a new connection of this worker: at once where there is room; else the connection that has been idle longest is asked to
    /// leave; where none is idle, when one ends.
    pub async fn place(self: &Arc<Self>, worker: usize) -> Slot {
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(slot) = self.try_place(worker) {
                return slot;
            }
            self.make_room();
            let _ = timeout(LOOK_AGAIN, freed).await;
        }
    }

    /// A place, where there is room.
    pub fn try_place(self: &Arc<Self>, worker: usize) -> Option<Slot> {
        let max = self.max.load(Ordering::Relaxed);
        self.open
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |open| (open < max).then_some(open + 1))
            .ok()?;
        let shard = worker % self.shards.len();
        Some(Slot {
            place: self.shards[shard].take(),
            table: self.clone(),
            shard,
        })
    }

    /// Asks the connection that has been idle longest to leave, unless as many are leaving as are waited for.
    fn make_room(&self) {
        let mut look = Look::at(self.now().saturating_sub(SETTLED.as_micros() as u64));
        for (number, shard) in self.shards.iter().enumerate() {
            shard.look(number, &mut look);
        }
        if look.leaving < self.waiting.load(Ordering::Relaxed)
            && let Some((number, index, state)) = look.longest
        {
            self.shards[number].ask(index, state);
        }
    }

    /// Microseconds, never 0.
    fn now(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64 + 1
    }
}

impl Slot {
    /// The connection waits for a request from now on.
    pub fn idle(&self) {
        self.place.entry().idle(self.table.now());
    }

    /// A request is under way from now on.
    pub fn busy(&self) {
        self.place.entry().busy();
    }

    /// Resolves when this connection is asked to leave, as it waits: for one that needs its place, or as the process ends.
    pub async fn asked_to_leave(&self) {
        poll_fn(|cx| {
            let entry = self.place.entry();
            entry.register(cx.waker());
            if entry.is_asked() || self.table.stopping.load(Ordering::SeqCst) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Says whose connection it is. How many that address has with this one, if that is counted.
    pub fn belongs_to(&self, address: IpAddr) -> Option<usize> {
        let address = address.to_canonical();
        let mut peer = lock(self.place.entry());
        let counted = self.table.by_address.load(Ordering::Relaxed);
        *peer = Some(Peer { address, counted });
        counted.then(|| self.table.peers.add(address))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let peer = lock(self.place.entry()).take();
        if let Some(Peer { address, counted: true }) = peer {
            self.table.peers.remove(address);
        }
        self.table.shards[self.shard].give_back(&self.place);
        self.table.open.0.fetch_sub(1, Ordering::SeqCst);
        if self.table.waiting.load(Ordering::SeqCst) > 0 {
            self.table.freed.notify_waiters();
        }
    }
}

/// Counts somebody who waits for a place.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lock(entry: &Entry) -> MutexGuard<'_, Option<Peer>> {
    entry.peer.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
