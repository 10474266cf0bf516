//! The request that fetches, while the body passes.
//!
//! The engine relays the answer to its own client and hands each chunk to the [`Filler`] as well. Nothing that happens to the copy (too long, no
//! room, purged) touches what the client gets. Only where a body is not going to be stored, those who read it along and are far behind make it wait, for
//! a while ([`Filler::poll_readers`]): else they would have to be cut off.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Cache;
use super::flight::{Flight, Phase, State};
use super::marks::{self, Mark};
use super::object::{Body, Object};
use super::room::Charge;
use super::shared::Original;

/// The least speed, in bytes a second, of a fetch that waits for those who read along.
const PACE: u64 = 128 << 10;

/// How long a fetch waits for them at most after so many bytes.
pub fn pause(bytes: usize) -> Duration {
    Duration::from_micros(bytes as u64 * 1_000_000 / PACE)
}

/// As much may come at once.
const NEXT: u64 = 64 << 10;

/// Sees an answer's body pass. Dropped before [`Filler::finish`], it leaves nothing behind, and those who read along are cut off as its own
/// client is.
#[derive(Debug)]
pub struct Filler {
    cache: Arc<Cache>,
    flight: Arc<Flight>,
    object: Arc<Object>,
    passed: u64,
    open: bool,
    /// The answer as it came, for the second tier.
    original: Option<Box<Original>>,
}

impl Filler {
    pub(super) fn new(cache: &Arc<Cache>, flight: &Arc<Flight>, object: Arc<Object>) -> Self {
        Self {
            cache: Arc::clone(cache),
            flight: Arc::clone(flight),
            object,
            passed: 0,
            open: true,
            original: None,
        }
    }

    pub(super) fn keeping(mut self, original: Option<Original>) -> Self {
        self.original = original.map(Box::new);
        self
    }

    /// It comes from the second tier.
    pub(super) fn found(mut self) -> Self {
        self.original = None;
        self
    }

    /// Whether, as things are, the answer will be stored.
    pub fn stores(&self) -> bool {
        self.flight.lock().listed
    }

    /// Whether anybody needs what is pushed: while it is going to be stored, or somebody reads along. If its own client is gone and nobody
    /// does, the fetch may be given up.
    pub fn is_needed(&self) -> bool {
        let state = self.flight.lock();
        state.listed || !state.readers.is_empty()
    }

    /// Ready when more of the body may come. Pending while it is not going to be stored and somebody who reads along is behind by `max_object`, or there is no
    /// room for what they have not read: then the caller waits, but so no longer than [`pause`] says, for one who does not read must not stop the others.
    pub fn poll_readers(&self, cx: &mut Context<'_>) -> Poll<()> {
        let is_paced = |state: &State| !state.listed && state.behind() > 0;
        if !is_paced(&self.flight.lock()) {
            return Poll::Ready(());
        }
        let has_room = self.cache.room.takes(NEXT);
        let mut state = self.flight.lock();
        if !is_paced(&state) || (has_room && state.behind() <= state.window) {
            return Poll::Ready(());
        }
        state.leader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next bytes of the body. Never waits. From 4 KiB on a chunk is kept as it is, so that it should not be a small part of a much larger
    /// buffer.
    pub fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        self.passed += chunk.len() as u64;
        if self.object.length().is_some_and(|declared| declared < self.passed) {
            return self.cut();
        }
        let mut state = self.flight.lock();
        if state.listed && self.passed > state.window {
            drop(state);
            self.stop_keeping(Some(self.object.freshness.received + marks::UNSHARED));
            state = self.flight.lock();
        }
        if !state.listed && state.readers.is_empty() {
            return;
        }
        let cost = state.buffer.cost(chunk.len());
        drop(state);
        let mut paid = self.cache.make_room(cost);
        if !paid {
            // That frees what everybody has read.
            self.stop_keeping(None);
            paid = self.cache.make_room(cost);
        }
        let mut state = self.flight.lock();
        if paid {
            state.charge.get_or_insert_with(|| Charge::new(&self.cache.room, 0)).add(cost);
        } else {
            // No room even for what readers have not read yet: it comes from whoever is furthest behind.
            let held = state.buffer.held().saturating_sub(cost);
            state.buffer.shrink(held);
            state.give_up_lost();
        }
        state.buffer.push(chunk);
        state.trim();
        drop(state);
        self.flight.news.notify_waiters();
    }

    /// Stops keeping what arrives: only those who read along get it from now on. `too_long`: so long, nobody is to join such a one.
    fn stop_keeping(&self, too_long: Option<Instant>) {
        let mut shard = self.cache.shard(self.flight.key.hash);
        if let Some(until) = too_long {
            shard.marks.set(&self.flight.key, self.flight.authorized, Mark::TooLong, until);
        }
        let mut state = self.flight.lock();
        self.flight.unlist(&mut shard, &mut state);
    }

    /// The body is whole: it is stored, unless something speaks against it by now. A body of another length than was announced is not whole.
    pub fn finish(mut self) {
        if self.object.length().is_some_and(|declared| declared != self.passed) {
            return;
        }
        self.open = false;
        let state = self.flight.lock();
        if state.listed {
            let pieces = state.buffer.pieces();
            drop(state);
            self.store(pieces);
        } else {
            drop(state);
        }
        self.flight.lock().phase = Phase::Whole;
        self.flight.news.notify_waiters();
    }

    /// Those who read along are cut off, and nothing stays.
    fn cut(&self) {
        let mut shard = self.cache.shard(self.flight.key.hash);
        let mut state = self.flight.lock();
        self.flight.unlist(&mut shard, &mut state);
        state.cut();
        drop(state);
        drop(shard);
        self.flight.news.notify_waiters();
    }

    fn store(&mut self, pieces: Vec<Bytes>) {
        let body = Body::new(pieces);
        let size = self.object.head_size() + body.size();
        let charged = self.flight.lock().charge.as_ref().map_or(0, Charge::bytes);
        let more = size.saturating_sub(charged);
        let paid = more == 0 || self.cache.make_room(more);
        let mut shard = self.cache.shard(self.flight.key.hash);
        let mut state = self.flight.lock();
        let mut charge = state.charge.take().unwrap_or_else(|| Charge::new(&self.cache.room, 0));
        if paid {
            charge.add(more);
        }
        // A purge since then has taken it off the list.
        let listed = state.listed;
        self.flight.unlist(&mut shard, &mut state);
        if !listed || !paid {
            state.charge = Some(charge);
            state.trim();
            return;
        }
        state.buffer.share(body.pieces());
        self.object.complete(body);
        state.trim();
        drop(state);
        charge.shrink_to(size);
        let removed = self.cache.put(&mut shard, &self.object, charge);
        drop(shard);
        if let Some(removed) = removed {
            self.cache.let_go(removed);
            if let Some(original) = self.original.take() {
                self.cache.shared.keep(*original, &self.object);
            }
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        if self.open {
            self.cut();
        }
    }
}
