//! Whether what was found in Redis may be served: whether a purge is about it that came after it.
//!
//! Each record says where the log of purges ended when it was known to be true. This end knows all purges after that number: those that it has read,
//! and those of its own that have not come back to it through the log yet. The last kind counts against every record, however new it may be: it was
//! fetched before, or it is thrown away for nothing.
//!
//! What is not remembered any more counts as a purge of everything, as it does for fetches ([`Log`]). In another life of the log, numbers mean
//! nothing, and no record of a life before is served.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ahash::RandomState;

use crate::cache::key::StoredKey;
use crate::cache::purge::{Log, Target};

#[derive(Debug)]
pub(super) struct Gate {
    hashing: RandomState,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Empty: nothing is known, and nothing passes.
    epoch: String,
    /// By their numbers in Redis.
    heard: Log,
    /// All up to this number are done here.
    done: u64,
    /// Those of this `lb` by their tickets.
    own: Log,
    /// All up to this ticket have come back out of the log.
    told: u64,
    /// Those of this `lb` that are being done.
    underway: Vec<(u64, Target)>,
    last: u64,
}

impl Gate {
    pub(super) fn new(hashing: &RandomState) -> Self {
        Self {
            state: Mutex::new(State {
                epoch: String::new(),
                heard: Log::new(hashing.clone()),
                done: 0,
                own: Log::new(hashing.clone()),
                told: 0,
                underway: Vec::new(),
                last: 0,
            }),
            hashing: hashing.clone(),
        }
    }

    /// A purge of this `lb` begins; what is found in Redis from now on may be older.
    pub(super) fn begins(&self, target: Target) -> u64 {
        let mut state = self.lock();
        state.last += 1;
        let id = state.last;
        state.underway.push((id, target));
        id
    }

    /// It is done, and will be told under that ticket; `None`: nobody is told.
    pub(super) fn ends(&self, id: u64, ticket: Option<u64>) {
        let mut state = self.lock();
        let Some(at) = state.underway.iter().position(|(other, _)| *other == id) else {
            return;
        };
        let (_, target) = state.underway.swap_remove(at);
        if let Some(ticket) = ticket {
            state.own.add(ticket, &target);
        }
    }

    /// A purge has come out of the log.
    pub(super) fn hears(&self, number: u64, target: &Target) {
        self.lock().heard.add(number, target);
    }

    /// All purges up to that number are done here, and those of this `lb` up to that ticket are among them.
    pub(super) fn done(&self, number: u64, own: Option<u64>) {
        let mut state = self.lock();
        state.done = number;
        state.told = own.unwrap_or(0).max(state.told);
    }

    /// The log is known from its beginning: all that it has up to `end`, which is all there was since `floor`.
    pub(super) fn opens(&self, epoch: &str, floor: u64, purges: impl Iterator<Item = (u64, Target)>, end: u64) {
        let mut heard = Log::new(self.hashing.clone());
        heard.add(floor, &Target::All);
        purges.for_each(|(number, target)| heard.add(number, &target));
        let mut state = self.lock();
        state.heard = heard;
        state.done = end;
        epoch.clone_into(&mut state.epoch);
    }

    /// Nothing passes until it is opened again.
    pub(super) fn closes(&self) {
        self.lock().epoch.clear();
    }

    /// What may be said of a response that is in the store after this was asked: no purge up to that number is about it.
    pub(super) fn place(&self) -> Option<(String, u64)> {
        let state = self.lock();
        (!state.epoch.is_empty()).then(|| (state.epoch.clone(), state.done))
    }

    /// Whether what was true then is true now, as far as it is known here.
    pub(super) fn passes(&self, epoch: &str, number: u64, key: &StoredKey, tags: &[u64]) -> bool {
        let state = self.lock();
        !state.epoch.is_empty()
            && state.epoch == epoch
            && !state.heard.hits(number, key, tags)
            && !state.own.hits(state.told, key, tags)
            && !state.underway.iter().any(|(_, target)| target.hits(key, Some(tags)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::purge::tag_hash;
    use crate::cache::{Key, Purge};

    fn hashing() -> RandomState {
        RandomState::with_seed(1)
    }

    fn by_tag(tag: &[u8]) -> Target {
        Target::new(
            &Purge::Tags {
                upstream: None,
                tags: &[tag],
            },
            &hashing(),
        )
    }

    fn passes(gate: &Gate, epoch: &str, number: u64) -> bool {
        let key = Key::new("u", b"k", b"k").store(7);
        gate.passes(epoch, number, &key, &[tag_hash(&hashing(), b"t")])
    }

    #[test]
    fn nothing_passes_before_the_log_is_known() {
        let gate = Gate::new(&hashing());
        assert!(!passes(&gate, "", 0) && gate.place().is_none());
        gate.opens("a", 3, [(5, by_tag(b"t")), (6, by_tag(b"x"))].into_iter(), 6);
        assert!(
            passes(&gate, "a", 5) && !passes(&gate, "a", 4) && !passes(&gate, "a", 2),
            "it may have been purged before"
        );
        assert!(!passes(&gate, "b", 9), "of another life");
        assert_eq!(gate.place(), Some(("a".to_owned(), 6)));
        gate.closes();
        assert!(!passes(&gate, "a", 9));
    }

    #[test]
    fn a_purge_of_its_own_counts_from_when_it_begins() {
        let gate = Gate::new(&hashing());
        gate.opens("a", 0, std::iter::empty(), 0);
        assert!(passes(&gate, "a", 0));
        let id = gate.begins(by_tag(b"t"));
        assert!(!passes(&gate, "a", 0));
        gate.ends(id, Some(1));
        assert!(!passes(&gate, "a", 0), "it has no number yet");
        gate.hears(4, &by_tag(b"t"));
        gate.done(4, Some(1));
        assert!(!passes(&gate, "a", 3) && passes(&gate, "a", 4));
        gate.hears(5, &by_tag(b"t"));
        assert!(!passes(&gate, "a", 4) && passes(&gate, "a", 5));
    }
}
