//! Purges that the others have still to hear of.
//!
//! Whoever purges leaves a note here and goes on; one task takes all notes that are there at once to Redis. Equal notes are one, and when
//! there are too many of them, because Redis is away, they become the purge of everything: the box is bounded, and nothing is forgotten.
//!
//! Each note has a number, its ticket, so that whoever must not go on before the others have purged can wait for it ([`Settled`]).

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::message;
use crate::cache::Purge;
use crate::cache::purge::Strength;

/// Distinct purges that are kept.
const MOST: usize = 4096;
/// Bytes that they take.
const MOST_BYTES: usize = 1 << 20;
/// No answer waits longer than this, whatever happens. Everything before it has shorter limits of its own.
const LONGEST: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Outbox {
    pending: Mutex<Pending>,
    news: Notify,
    /// All tickets up to this one are done.
    done: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Pending {
    mode: Mode,
    purges: HashSet<Box<[u8]>, ahash::RandomState>,
    bytes: usize,
    /// There were too many.
    everything: bool,
    ticket: u64,
    taken: u64,
}

/// What becomes of a note.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// There is nobody to tell.
    #[default]
    Off,
    /// It is taken along, and nobody waits for it.
    Tell,
    /// It is taken along, and whoever asks waits for it.
    Wait,
}

/// Notes that were taken along together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) message: Vec<u8>,
    pub(super) ticket: u64,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            pending: Mutex::default(),
            news: Notify::new(),
            done: watch::Sender::new(0),
        }
    }

    /// Says what becomes of notes from now on. Nobody waits any more for those that are there; without anybody to tell, they are dropped.
    pub(super) fn set(&self, mode: Mode) {
        let mut pending = self.lock();
        pending.mode = mode;
        if mode == Mode::Off {
            pending.clear();
        }
        let ticket = pending.ticket;
        drop(pending);
        self.finish(ticket);
    }

    pub(super) fn add(&self, purge: &Purge<'_>, strength: Strength) {
        let mut pending = self.lock();
        if pending.mode == Mode::Off {
            return;
        }
        pending.ticket += 1;
        if !pending.everything {
            let note = message::write(purge, strength);
            let length = note.len();
            if pending.purges.insert(note) {
                pending.bytes += length;
            }
            if pending.purges.len() > MOST || pending.bytes > MOST_BYTES {
                pending.purges.clear();
                pending.everything = true;
            }
        }
        drop(pending);
        self.news.notify_one();
    }

    /// What has to be waited for before an answer, if anything has.
    pub(super) fn settled(&self) -> Option<Settled> {
        let pending = self.lock();
        let waits = pending.mode == Mode::Wait && *self.done.borrow() < pending.ticket;
        waits.then(|| Settled {
            ticket: pending.ticket,
            done: self.done.subscribe(),
        })
    }

    /// All notes that are there now, to be waited for whether answers wait for them or not.
    pub(super) fn taken_along(&self) -> Settled {
        Settled {
            ticket: self.lock().ticket,
            done: self.done.subscribe(),
        }
    }

    /// Returns when there may be something to take.
    pub(super) async fn wait(&self) {
        self.news.notified().await;
    }

    /// Everything that is there.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut pending = self.lock();
        if pending.taken == pending.ticket {
            return None;
        }
        let message = match pending.everything {
            true => message::write(&Purge::All, Strength::Hard).into_vec(),
            false => pending.purges.iter().flat_map(|note| note.iter().copied()).collect(),
        };
        pending.clear();
        Some(Batch {
            message,
            ticket: pending.ticket,
        })
    }

    /// The number of the last note.
    pub(super) fn last(&self) -> u64 {
        self.lock().ticket
    }

    /// Nobody waits any more for notes up to this one.
    pub(super) fn finish(&self, ticket: u64) {
        self.done.send_if_modified(|done| {
            let later = *done < ticket;
            *done = ticket.max(*done);
            later
        });
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Nothing panics under this lock.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn clear(&mut self) {
        self.purges.clear();
        self.bytes = 0;
        self.everything = false;
        self.taken = self.ticket;
    }
}

/// Purges that the others have to have done before an answer goes out.
#[derive(Debug)]
pub struct Settled {
    ticket: u64,
    done: watch::Receiver<u64>,
}

impl Settled {
    #[cfg(test)]
    pub(super) fn is_done(&self) -> bool {
        *self.done.borrow() >= self.ticket
    }

    /// Waits for it; never longer than a few seconds. Whether they have.
    pub async fn wait(mut self) -> bool {
        let done = self.done.wait_for(|done| *done >= self.ticket);
        matches!(tokio::time::timeout(LONGEST, done).await, Ok(Ok(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(batch: Option<Batch>) -> Vec<String> {
        let mut all = Vec::new();
        message::read(&batch.unwrap().message, |purge, _| all.push(format!("{purge:?}")));
        all.sort();
        all
    }

    #[test]
    fn equal_purges_are_told_once_and_too_many_as_one() {
        let outbox = Outbox::new();
        outbox.add(&Purge::All, Strength::Hard);
        assert!(outbox.take().is_none(), "there is nobody to tell");
        outbox.set(Mode::Tell);
        outbox.add(&Purge::Url("/a"), Strength::Hard);
        outbox.add(&Purge::Url("/a"), Strength::Hard);
        outbox.add(&Purge::Url("/b"), Strength::Hard);
        assert_eq!(shown(outbox.take()).len(), 2);
        assert!(outbox.take().is_none());
        for number in 0..3 * MOST {
            outbox.add(&Purge::Url(&format!("/{number}")), Strength::Hard);
            assert!(outbox.lock().purges.len() <= MOST);
        }
        assert_eq!(shown(outbox.take()), ["All"]);
        outbox.add(&Purge::Prefix(&"x".repeat(2 * MOST_BYTES)), Strength::Hard);
        assert_eq!(shown(outbox.take()), ["All"]);
        assert!(outbox.take().is_none());
    }

    #[tokio::test]
    async fn a_ticket_is_waited_for_where_that_is_asked_for() {
        let outbox = Outbox::new();
        outbox.set(Mode::Tell);
        outbox.add(&Purge::All, Strength::Hard);
        assert!(outbox.settled().is_none());
        outbox.set(Mode::Wait);
        assert!(outbox.settled().is_none(), "nobody has asked for what was before");
        outbox.add(&Purge::All, Strength::Hard);
        let first = outbox.settled().unwrap();
        outbox.add(&Purge::All, Strength::Hard);
        let second = outbox.settled().unwrap();
        outbox.finish(2);
        assert!(first.wait().await);
        let mut waiting = std::pin::pin!(second.wait());
        assert!(futures::poll!(&mut waiting).is_pending());
        outbox.set(Mode::Off);
        assert!(waiting.await, "nobody waits for ever");
    }
}
