//! A fetch under way, and everybody who has to do with it.
//!
//! It begins as a question to the origin: one request, the leader, asks, and others wait for the answer's head. When the head has come and may
//! be shared, the flight holds the object and the body as it arrives, and whoever waited reads along. What everyone shares is the [`State`],
//! under a lock of its own that is taken after the shard's, never before.
//!
//! While a flight is *listed* in its shard, whoever asks for the same joins it, and what arrives is kept from the first byte on. One that is not
//! listed, because a purge hit it, or because its body turned out too long, goes on for those who have joined: it keeps only what one of
//! them still has to read. The fetch waits for who is behind by a window; who is behind by two of them, because it was waited for in vain, is cut off.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use tokio::sync::{Notify, oneshot};

use super::buffer::Buffer;
use super::follow::{Reader, Word};
use super::key::StoredKey;
use super::object::Object;
use super::purge::Target;
use super::room::Charge;
use super::status::Miss;
use super::store::Shard;
use super::vary::{Selector, Variant};

#[derive(Debug)]
pub(super) struct Flight {
    pub(super) key: StoredKey,
    /// Whether its requests have `Authorization`. What such a request is told is seldom for others, so that they wait apart.
    pub(super) authorized: bool,
    /// When it was begun.
    pub(super) asked: Instant,
    /// What is stored already, and may turn out to be still right.
    pub(super) stored: Stored,
    state: Mutex<State>,
    /// More of the body has come, or its end.
    pub(super) news: Notify,
}

/// What a fetch may find to be still right.
#[derive(Debug, Clone, Default)]
pub(super) enum Stored {
    #[default]
    Nothing,
    /// What is stored for just this request.
    This(Arc<Object>),
    /// Other variants, of which one may be right for this request as well.
    Variants(Vec<Arc<Object>>),
}

impl Stored {
    pub(super) fn objects(&self) -> &[Arc<Object>] {
        match self {
            Self::Nothing => &[],
            Self::This(object) => std::slice::from_ref(object),
            Self::Variants(objects) => objects,
        }
    }
}

#[derive(Debug)]
pub(super) struct State {
    /// When it began, in the cache's order of fetches and purges.
    pub(super) began: u64,
    /// Whether the shard has it. Changes only under the shard's lock and this one.
    pub(super) listed: bool,
    /// The variant that it is expected to bring, where earlier answers tell what they depend on.
    pub(super) expected: Option<Variant>,
    pub(super) phase: Phase,
    /// Who waits for the head, in the order in which they came.
    pub(super) waiting: BTreeMap<u64, oneshot::Sender<Word>>,
    /// Where each reader stands.
    pub(super) readers: BTreeMap<u64, u64>,
    last_id: u64,
    pub(super) buffer: Buffer,
    pub(super) charge: Option<Charge>,
    /// The longest body that is kept, and how far a reader of an unlisted one may be behind before the fetch waits for it.
    pub(super) window: u64,
    /// The fetch, while it waits for readers.
    pub(super) leader: Option<Waker>,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// No head yet.
    Asked,
    /// The head is here, the body arrives.
    Arriving(Arc<Object>),
    /// The body is whole.
    Whole,
    /// The body will never be whole, or there is none to share.
    Over,
}

impl Flight {
    /// `began`: its number. [Listing](Self::list) it is the caller's.
    pub(super) fn new(key: StoredKey, authorized: bool, asked: Instant, began: u64, stored: Stored) -> Arc<Self> {
        let state = State {
            began,
            listed: false,
            expected: None,
            phase: Phase::Asked,
            waiting: BTreeMap::new(),
            readers: BTreeMap::new(),
            last_id: 0,
            buffer: Buffer::default(),
            charge: None,
            window: 0,
            leader: None,
        };
        Arc::new(Self {
            key,
            authorized,
            asked,
            stored,
            state: Mutex::new(state),
            news: Notify::new(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under this lock; and if it did, a cut answer is better than a dead key.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the answers to a key depend on, where this flight of it tells.
    pub(super) fn selector(&self, key: &StoredKey) -> Option<Selector> {
        if !self.key.same(key) {
            return None;
        }
        let state = self.lock();
        let variant = match &state.phase {
            Phase::Arriving(object) => Some(object.variant()),
            _ => state.expected.as_ref().map(Variant::view),
        };
        variant
            .map(|variant| variant.selector().clone())
            .filter(|selector| !selector.is_empty())
    }

    /// Whether it may bring this object anew.
    pub(super) fn may_bring(&self, object: &Object) -> bool {
        if !self.key.same(&object.key) {
            return false;
        }
        let state = self.lock();
        match &state.phase {
            Phase::Asked => state.expected.as_ref().is_none_or(|variant| variant.view().same(object.variant())),
            Phase::Arriving(arriving) => arriving.variant().same(object.variant()),
            Phase::Whole | Phase::Over => false,
        }
    }

    /// Whether a purge is about what it brings, as far as one can tell.
    pub(super) fn is_hit(&self, target: &Target) -> bool {
        let state = self.lock();
        let tags = match &state.phase {
            Phase::Arriving(object) => Some(&*object.tags),
            _ => None,
        };
        target.hits(&self.key, tags)
    }

    /// Puts it on its shard's list. `state` is its own.
    pub(super) fn list(self: &Arc<Self>, shard: &mut Shard, state: &mut State) {
        if !std::mem::replace(&mut state.listed, true) {
            shard.flights.entry(self.key.hash).or_default().push(Arc::clone(self));
        }
    }

    /// Takes it off its shard's list. `state` is its own.
    pub(super) fn unlist(self: &Arc<Self>, shard: &mut Shard, state: &mut State) {
        if !std::mem::replace(&mut state.listed, false) {
            return;
        }
        if let Some(flights) = shard.flights.get_mut(&self.key.hash) {
            flights.retain(|other| !Arc::ptr_eq(other, self));
            if flights.is_empty() {
                shard.flights.remove(&self.key.hash);
            }
        }
        state.trim();
    }

    /// A reader at the body's start. `state` is this flight's.
    pub(super) fn reader(self: &Arc<Self>, state: &mut State, object: &Arc<Object>, miss: Miss) -> Reader {
        let id = state.next_id();
        state.readers.insert(id, 0);
        Reader::new(Arc::clone(self), Arc::clone(object), id, miss)
    }
}

impl State {
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Lets go of what an unlisted flight need not keep.
    pub(super) fn trim(&mut self) {
        if self.listed {
            return;
        }
        let end = self.buffer.end();
        let slowest = self.readers.values().min().copied().unwrap_or(end);
        self.buffer.forget(slowest.max(end.saturating_sub(2 * self.window)));
        self.give_up_lost();
        let held = self.buffer.held();
        if let Some(charge) = &mut self.charge {
            charge.shrink_to(held);
        }
    }

    /// Whoever still needs what is forgotten is cut off as soon as it looks, and counts no more.
    pub(super) fn give_up_lost(&mut self) {
        let start = self.buffer.start();
        self.readers.retain(|_, position| *position >= start);
    }

    /// So many bytes are there that somebody has not read yet.
    pub(super) fn behind(&self) -> u64 {
        let slowest = self.readers.values().min();
        slowest.map_or(0, |slowest| self.buffer.end().saturating_sub(*slowest))
    }

    /// A reader has come further, or is gone.
    pub(super) fn read(&mut self) {
        self.trim();
        if let Some(leader) = self.leader.take() {
            leader.wake();
        }
    }

    /// Ends it without a whole body.
    pub(super) fn cut(&mut self) {
        self.phase = Phase::Over;
        self.buffer = Buffer::default();
        self.charge = None;
    }
}
