//! Client connections: how many there are, which of them wait, and who makes room when there are too many.
//!
//! Every connection has an entry for its whole life. Between two requests the entry holds the time since when it waits, so that the one
//! that has waited longest can be asked to leave when `max_connections` is reached. A request changes two atomics of its own
//! connection's entry and takes no lock; the table is locked when a connection comes or goes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// The table of client connections.
pub struct Connections {
    max: AtomicUsize,
    open: AtomicUsize,
    freed: Notify,
    entries: Mutex<Table>,
    epoch: Instant,
}

/// Places for connections; those that are free are used first.
#[derive(Default)]
struct Table {
    places: Vec<Option<Arc<Entry>>>,
    free: Vec<usize>,
}

/// One connection.
struct Entry {
    /// Milliseconds since the table's epoch, plus one, at which it began to wait; 0 while a request is under way.
    idle_since: AtomicU64,
    leave: Notify,
}

/// A connection's place in the table, given back on drop.
pub struct Slot {
    table: Arc<Connections>,
    entry: Arc<Entry>,
    index: usize,
}

impl Connections {
    /// A table for at most `max` connections.
    pub fn new(max: usize) -> Arc<Connections> {
        Arc::new(Connections {
            max: AtomicUsize::new(max),
            open: AtomicUsize::new(0),
            freed: Notify::new(),
            entries: Mutex::default(),
            epoch: Instant::now(),
        })
    }

    /// Changes the limit. Connections beyond it stay until they end.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.freed.notify_waiters();
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// A place for a new connection: at once where there is room; else the connection that has been idle longest is asked to leave; where
    /// none is idle, when one ends.
    pub async fn place(self: &Arc<Self>) -> Slot {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(slot) = self.try_place() {
                return slot;
            }
            if self.evict() {
                freed.await;
            } else {
                // Nobody waits now, but somebody may begin to: look again before long, as going idle wakes nobody.
                let _ = tokio::time::timeout(std::time::Duration::from_millis(20), freed).await;
            }
        }
    }

    /// A place, where there is room.
    pub fn try_place(self: &Arc<Self>) -> Option<Slot> {
        let max = self.max.load(Ordering::Relaxed);
        self.open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| (open < max).then_some(open + 1))
            .ok()?;
        let entry = Arc::new(Entry {
            idle_since: AtomicU64::new(0),
            leave: Notify::new(),
        });
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let index = match entries.free.pop() {
            Some(index) => index,
            None => {
                entries.places.push(None);
                entries.places.len() - 1
            }
        };
        entries.places[index] = Some(entry.clone());
        Some(Slot {
            table: self.clone(),
            entry,
            index,
        })
    }

    /// Asks the connection that has been idle longest to leave; false where none is idle.
    fn evict(&self) -> bool {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = entries
            .places
            .iter()
            .flatten()
            .filter(|entry| entry.idle_since.load(Ordering::Relaxed) > 0);
        match idle.min_by_key(|entry| entry.idle_since.load(Ordering::Relaxed)) {
            Some(entry) => {
                entry.leave.notify_one();
                true
            }
            None => false,
        }
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64 + 1
    }
}

impl Slot {
    /// The connection waits for a request from now on.
    pub fn idle(&self) {
        self.entry.idle_since.store(self.table.now(), Ordering::Relaxed);
    }

    /// A request is under way from now on.
    pub fn busy(&self) {
        self.entry.idle_since.store(0, Ordering::Relaxed);
    }

    /// Resolves when this connection is asked to leave.
    pub async fn asked_to_leave(&self) {
        self.entry.leave.notified().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut entries = self.table.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.places[self.index] = None;
        entries.free.push(self.index);
        drop(entries);
        self.table.open.fetch_sub(1, Ordering::AcqRel);
        self.table.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_connection_that_waited_longest_makes_room() {
        let table = Connections::new(2);
        let first = table.place().await;
        let second = table.place().await;
        first.idle();
        tokio::time::sleep(Duration::from_millis(5)).await;
        second.idle();
        let leaving = async {
            first.asked_to_leave().await;
            drop(first);
        };
        let (third, ()) = tokio::join!(table.place(), leaving);
        assert_eq!(table.open(), 2);
        drop((second, third));
        assert_eq!(table.open(), 0);
    }

    #[tokio::test]
    async fn where_nobody_is_idle_a_new_one_waits() {
        let table = Connections::new(1);
        let first = table.place().await;
        let waited = tokio::time::timeout(Duration::from_millis(60), table.place()).await;
        assert!(waited.is_err());
        drop(first);
        table.place().await;
    }

    #[tokio::test]
    async fn places_are_reused() {
        let table = Connections::new(100);
        for _ in 0..1000 {
            drop(table.place().await);
        }
        assert_eq!(table.entries.lock().unwrap().places.len(), 1);
    }
}
