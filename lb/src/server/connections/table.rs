//! A worker's part of the table of connections.
//!
//! Places come in chunks that never move: a connection changes the state of its own place without a lock, while the lock of the part is
//! held to take a place, to give it back, and to look at all of them.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::task::AtomicWaker;

/// Places in a chunk.
const CHUNK: usize = 64;
/// The bit of a state that says that the connection was asked to leave.
const ASKED: u64 = 1;

/// One connection's place.
#[derive(Default)]
pub(super) struct Entry {
    /// 0 while a request is under way, or nobody is here. Else the microsecond at which the connection began to wait, shifted left by one,
    /// and [`ASKED`].
    state: AtomicU64,
    /// Wakes the connection that waits.
    waker: AtomicWaker,
    /// Whose connection it is.
    pub(super) peer: Mutex<Option<Peer>>,
}

/// The address at the other end.
pub(super) struct Peer {
    pub(super) address: IpAddr,
    /// Whether it stands in the count by addresses.
    pub(super) counted: bool,
}

impl Entry {
    /// Waits since `now`, which is not 0.
    pub(super) fn idle(&self, now: u64) {
        self.state.store(now << 1, Ordering::Relaxed);
    }

    /// Is at work.
    pub(super) fn busy(&self) {
        self.state.store(0, Ordering::Relaxed);
    }

    /// Whether it was asked to leave since it began to wait.
    pub(super) fn is_asked(&self) -> bool {
        self.state.load(Ordering::Acquire) & ASKED > 0
    }

    /// Wakes it, so that it looks whether it is to leave.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// The task that is to be woken.
    pub(super) fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }
}

/// A worker's places. Aligned, so that workers do not meet on a cache line.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Shard(Mutex<Places>);

/// Those that are free are used first, the last one that became free before the others: it is warm yet.
#[derive(Default)]
struct Places {
    chunks: Vec<Arc<[Entry; CHUNK]>>,
    free: Vec<usize>,
}

/// A place that is taken. Whoever has it gives it back to its shard.
pub(super) struct Place {
    chunk: Arc<[Entry; CHUNK]>,
    index: usize,
}

impl Place {
    pub(super) fn entry(&self) -> &Entry {
        &self.chunk[self.index % CHUNK]
    }
}

/// What a look at all places found.
pub(super) struct Look {
    /// Who began to wait after this does not count.
    latest: u64,
    /// Connections that wait and were asked to leave already.
    pub(super) leaving: usize,
    /// Of the other ones that wait, the one that has waited longest: its shard, its place there and its state.
    pub(super) longest: Option<(usize, usize, u64)>,
}

impl Look {
    /// Nothing yet, and of those who wait since `latest` or before.
    pub(super) fn at(latest: u64) -> Self {
        Self {
            latest,
            leaving: 0,
            longest: None,
        }
    }
}

impl Shard {
    pub(super) fn take(&self) -> Place {
        let mut places = self.lock();
        if places.free.is_empty() {
            let start = places.chunks.len() * CHUNK;
            places.chunks.push(Arc::new(std::array::from_fn(|_| Entry::default())));
            places.free.extend((start..start + CHUNK).rev());
        }
        let index = places.free.pop().unwrap_or_default();
        let chunk = places.chunks[index / CHUNK].clone();
        Place { chunk, index }
    }

    pub(super) fn give_back(&self, place: &Place) {
        let entry = place.entry();
        entry.busy();
        // It keeps a task in memory.
        drop(entry.waker.take());
        self.lock().free.push(place.index);
    }

    /// Adds what is found here, in the shard of that number, to `look`.
    pub(super) fn look(&self, number: usize, look: &mut Look) {
        for (index, entry) in self.lock().entries().enumerate() {
            let state = entry.state.load(Ordering::Relaxed);
            if state & ASKED > 0 {
                look.leaving += 1;
            } else if state > 0 && state >> 1 <= look.latest && look.longest.is_none_or(|(_, _, longest)| state < longest) {
                look.longest = Some((number, index, state));
            }
        }
    }

    /// Asks a connection to leave, if it still waits as it did.
    pub(super) fn ask(&self, index: usize, state: u64) {
        let places = self.lock();
        let entry = &places.chunks[index / CHUNK][index % CHUNK];
        let asked = entry
            .state
            .compare_exchange(state, state | ASKED, Ordering::AcqRel, Ordering::Relaxed);
        if asked.is_ok() {
            entry.wake();
        }
    }

    /// Does something with every place, taken or not.
    pub(super) fn each(&self, each: impl FnMut(&Entry)) {
        self.lock().entries().for_each(each);
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.lock().chunks.len() * CHUNK
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}
