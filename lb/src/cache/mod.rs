//! The response cache: a shared cache in the sense of RFC 9111, in memory, for every engine.
//!
//! # How a request goes through it
//!
//! [`Cache::look_up`] is synchronous and answers with one of these:
//!
//! - [`Lookup::Hit`]: a whole response, fresh, or stale where that is allowed ([`freshness`]). It is an `Arc` to what was prepared when it was
//!   stored; nothing of it is copied. With something stale may come a lead: then this request is served, and somebody fetches it anew besides.
//! - [`Lookup::Lead`]: nothing there, and nobody fetches it. This request does, and tells the cache what came ([`Lead::answer`]).
//! - [`Lookup::Wait`]: somebody fetches it. However many ask meanwhile, the origin is asked once.
//! - [`Lookup::Stream`]: it is arriving, and may be read while it does.
//! - [`Lookup::Alone`]: answers under this key were not for sharing of late, so that waiting would be in vain: fetch at once.
//! - [`Lookup::Bypass`]: the request is none for a cache.
//! - [`Lookup::Unsatisfied`]: the request wants nothing but what is stored, and there is nothing.
//!
//! Whether an answer may be shared is decided from its head ([`policy`]), before anyone else gets a byte of it. If it may, the leader pushes the
//! body's chunks into a [`Filler`] on their way to its own client, and those who waited read them from there, each at its own pace. If it may
//! not, all of them go to the origin at once, and the key is marked so that the next ones need not wait to learn the same.
//!
//! A leader that goes away before the head has come leaves its place to the one who has waited longest, and to that one only.
//!
//! # What is stale
//!
//! It stays in the store until room is needed. Whoever fetches it anew asks whether it is still right ([`Lead::conditions`]); if so (304), it is
//! stored again with the head that came and the body that is there ([`Lead::validated`]). If the origin gives no good answer, it may stand in
//! ([`Lead::stands_in`]); then it is served at once to whoever asks, while it is fetched anew in the background, once a second at most.
//!
//! # What a purge promises
//!
//! Once [`Cache::purge`] has returned, nothing that was fetched before it and that it is about is served to anyone who asks from then on. What is
//! stored is taken out, which is easy. What is on its way is the hard part, and rests on one counter that numbers fetches and purges alike:
//!
//! 1. A purge takes its number, writes itself into the log, and *then* walks the shards, one lock at a time. A fetch takes its number when it
//!    begins.
//! 2. What the walk can see, it deals with on the spot. Stored objects go. Fetches on a shard's list that it is about are taken off the list, so
//!    that whoever asks later does not join them and what they bring is not stored. As long as a fetch has no head its tags are not known, so
//!    that a purge by tag takes off every such fetch of that upstream.
//! 3. What the walk cannot see is a fetch that is on no list: one that was taken off it before its head came, or one that never was on it
//!    ([`Lookup::Alone`]). Such a fetch enters the list or the store in one place only, [`Lead::answer`], under its shard's lock, and there the
//!    log is asked first. If the purge was logged by then, it is found. If it was not, then its walk is yet to come to this shard, and finds
//!    the fetch listed or its object stored.
//!
//! Those who had joined a fetch before the purge still get its answer: they asked before it, too. What they read is not kept. The log is
//! bounded; where it has forgotten too much to tell, an answer counts as purged.
//!
//! From the same counter follows that of two answers for one place the one fetched later stays, in whichever order they end.
//!
//! # Memory
//!
//! Everything kept is counted with its head, key and bookkeeping and never passes the bound: room is taken before bytes are kept
//! (`room`), and made by evicting with S3-FIFO (`s3fifo`). What is still arriving counts as well, up to half of the bound; an answer that finds no
//! room, or turns out longer than `max_object`, is no longer kept but passes on whole to its client and to those who read along. They may
//! be behind by `max_object` at most: slower ones are cut off, their connection is, never a whole-looking body.
//!
//! # Locks
//!
//! A key belongs to one shard. The order is shard, flight, log, and never two shards. Nothing is awaited under a lock, and no body is copied or
//! let go of under a shard's.
//!
//! # What the caller owes
//!
//! A request that leads is sent to the origin with the lead's own conditions in place of its [`policy::CONDITIONAL`] fields, and once at a time: after
//! [`Lead::answer`] there is no other try. If there is no answer, [`Lead::failed`] says so; merely dropping the lead means that its client has gone, and makes the next one try.
//! [`Cache::purge_for`] comes before the first byte of the answer that asks for it, and [`CACHE_TAG`] and [`CACHE_PURGE`] are taken off whatever goes
//! out. Memory is counted by the length of chunks, so that a chunk must not be a sliver of a large buffer ([`Filler::push`]).

mod ahead;
mod buffer;
pub mod cache_control;
mod clock;
mod common;
mod conditional;
pub mod demands;
mod evict;
mod fields;
mod filler;
mod flight;
mod follow;
pub mod freshness;
mod hit;
mod http_date;
mod key;
mod lead;
mod look_up;
mod marks;
mod object;
pub mod policy;
mod portion;
mod purge;
mod range;
mod room;
mod s3fifo;
pub mod saved;
mod shared;
mod stand_in;
mod status;
mod store;
mod stored_head;
pub mod unkeyed;
mod uses;
mod validate;
pub mod vary;
mod wire;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;

pub use ahead::Ahead;
pub use clock::Now;
pub use fields::{CACHE_PURGE, CACHE_TAG};
pub use filler::{Filler, pause};
pub use follow::{Broken, Follower, Joined, Reader};
pub use freshness::Why;
pub use hit::{Hit, Stale};
pub use key::Key;
pub use lead::{Answered, Lead};
pub use object::Object;
pub use policy::{Bypass, Refusal, Rules};
pub use portion::Portion;
pub use purge::Purge;
pub use shared::{Asking, Counts, Settled, Standing, Waiting};
pub use stand_in::Beside;
pub use status::{CACHE_STATUS, Miss, Status};
pub use stored_head::StoredHead;
pub use validate::{Conditions, Validated};

use common::Commons;
use purge::{Log, Strength, Target, tag_hash};
use room::{Charge, Room};
use s3fifo::Sums;
use shared::Shared;
use store::{Removed, Shard};

use crate::exchange::head::Fields;

/// Shards of a large cache. More than there are cores, so that two of them seldom want the same.
const SHARDS: u64 = 64;
/// What a shard should have at least, for its queues to tell one object from another.
const SHARD: u64 = 1 << 20;

/// The cache. One for the process; it outlives reloads.
#[derive(Debug)]
pub struct Cache {
    shards: Box<[Mutex<Shard>]>,
    hashing: RandomState,
    room: Arc<Room>,
    max_object: AtomicU64,
    objects: AtomicU64,
    sums: Arc<Sums>,
    /// Which shard gives up something next, for each queue.
    hands: [AtomicUsize; 2],
    /// Numbers fetches and purges.
    number: AtomicU64,
    log: Mutex<Log>,
    /// One of each, so that objects share them.
    commons: Commons,
    /// What other `lb` hear of it.
    shared: Shared,
}

/// What the cache has for a request.
#[derive(Debug)]
pub enum Lookup {
    /// A whole response: fresh, or stale and good enough. With a lead, it is to be fetched anew in the background.
    Hit(Hit, Option<Box<Lead>>),
    /// A fresh response that is still arriving.
    Stream(Reader),
    /// Somebody fetches it.
    Wait(Follower),
    /// Nobody does: fetch it.
    Lead(Lead),
    /// Fetch it, and do not wait for others who do: answers were not for sharing of late. This one may be stored all the same.
    Alone(Lead),
    /// The request goes past the cache.
    Bypass(Bypass),
    /// So does this one; something is stored that may stand in for an error.
    Beside(Bypass, Beside),
    /// The request says `only-if-cached`, and nothing that is stored may answer it.
    Unsatisfied,
}

impl Cache {
    /// `memory` bounds what is kept, `max_object` one body in it.
    pub fn new(memory: u64, max_object: u64) -> Arc<Self> {
        Self::with(memory, max_object, RandomState::new())
    }

    /// The same, by this way of hashing keys and tags.
    fn with(memory: u64, max_object: u64, hashing: RandomState) -> Arc<Self> {
        let sums = Arc::new(Sums::default());
        let shards = (memory / SHARD).clamp(1, SHARDS).next_power_of_two();
        Arc::new(Self {
            shards: (0..shards)
                .map(|_| Mutex::new(Shard::new(Arc::clone(&sums), hashing.clone())))
                .collect(),
            room: Arc::new(Room::new(memory)),
            max_object: AtomicU64::new(max_object),
            objects: AtomicU64::new(0),
            sums,
            hands: [AtomicUsize::new(0), AtomicUsize::new(0)],
            number: AtomicU64::new(0),
            log: Mutex::new(Log::new(hashing.clone())),
            commons: Commons::new(hashing.clone()),
            shared: Shared::new(&hashing),
            hashing,
        })
    }

    /// Changes the bounds; what is over the new one goes.
    pub fn set_bounds(&self, memory: u64, max_object: u64) {
        self.room.set_bound(memory);
        self.max_object.store(max_object, Ordering::Relaxed);
        let mut kept = 0;
        while self.room.used() > memory && self.evict(&mut kept) {}
    }

    /// Bytes that it takes: what is stored and what is arriving, with what each costs beside its body.
    pub fn bytes(&self) -> u64 {
        self.room.used()
    }

    /// Stored responses.
    pub fn objects(&self) -> u64 {
        self.objects.load(Ordering::Relaxed)
    }

    /// Whether an object may be served as far as purges of others go: they may have come to one with tags that is not heard of yet.
    fn trusts(&self, object: &Object, now: Now) -> bool {
        self.shared.trusts(now) || object.tags.is_empty()
    }

    /// Whether an object is in the store.
    fn holds(&self, object: &Arc<Object>) -> bool {
        let shard = self.shard(object.key.hash);
        shard
            .get(&object.key, object.variant())
            .is_some_and(|stored| Arc::ptr_eq(stored, object))
    }

    /// Has a request that leads look in Redis before it asks the origin, if there is a second tier.
    ///
    /// # Errors
    /// There is none: the lead goes on.
    pub fn ask_others(&self, lead: Lead, rules: &Rules) -> Result<Waiting, Box<Lead>> {
        match self.shared.has_tier() {
            true => Ok(Waiting::Others(Box::new(Asking::new(lead, rules.clone())))),
            false => Err(Box::new(lead)),
        }
    }

    /// Takes out what is not true any more, stored or arriving, and has others do so with whom it is [shared](Cache::share); returns how many
    /// stored responses that were here.
    pub fn purge(&self, purge: &Purge<'_>) -> u64 {
        self.everywhere(purge, Strength::Hard)
    }

    /// Has what may not be true any more count as stale, here and at the others, so that the origin is asked whether it is; returns how many
    /// stored responses that were here. What is arriving is not kept.
    pub fn soften(&self, purge: &Purge<'_>) -> u64 {
        self.everywhere(purge, Strength::Soft)
    }

    fn everywhere(&self, purge: &Purge<'_>, strength: Strength) -> u64 {
        let begun = self.shared.purges(purge, &self.hashing);
        let purged = self.purge_here(purge, strength);
        self.shared.purged(purge, strength, begun);
        purged
    }

    /// [`Cache::purge`] or [`Cache::soften`], and nobody else hears of it.
    fn purge_here(&self, purge: &Purge<'_>, strength: Strength) -> u64 {
        let target = Target::new(purge, &self.hashing);
        self.log().add(self.next_number(), &target);
        match &target {
            Target::Key(key) => self.purge_shard(self.shard(key.hash), &target, strength),
            _ => {
                let shards = self.shards.iter();
                shards.map(|shard| self.purge_shard(lock(shard), &target, strength)).sum()
            }
        }
    }

    /// What an answer's `Cache-Purge` asks for, of its own upstream. To be called before the first byte of that answer goes to its client.
    pub fn purge_for(&self, upstream: &str, answer: &impl Fields) -> u64 {
        let field = CACHE_PURGE;
        let tags: Vec<&[u8]> = fields::tags(answer.all(&field)).collect();
        if tags.is_empty() {
            0
        } else {
            self.purge(&Purge::Tags {
                upstream: Some(upstream),
                tags: &tags,
            })
        }
    }

    fn purge_shard(&self, mut shard: MutexGuard<'_, Shard>, target: &Target, strength: Strength) -> u64 {
        let (removed, softened) = match strength {
            Strength::Hard => (shard.purge(target), 0),
            Strength::Soft => (Removed::default(), shard.soften(target)),
        };
        let flights: Vec<_> = shard
            .flights
            .values()
            .flatten()
            .filter(|flight| flight.is_hit(target))
            .cloned()
            .collect();
        for flight in flights {
            flight.unlist(&mut shard, &mut flight.lock());
        }
        drop(shard);
        let count = removed.objects.len() as u64 + softened;
        self.let_go(removed);
        count
    }

    fn tags(&self, response: &impl Fields) -> Box<[u64]> {
        let field = CACHE_TAG;
        let tags = fields::tags(response.all(&field));
        tags.map(|tag| tag_hash(&self.hashing, tag)).collect()
    }

    fn max_object(&self) -> u64 {
        self.max_object.load(Ordering::Relaxed)
    }

    /// Stores a whole object for which room was got, and gives what it has taken out; `None`: one that was fetched later is there.
    fn put(&self, shard: &mut Shard, object: &Arc<Object>, mut charge: Charge) -> Option<Removed> {
        let removed = shard.insert(object)?;
        charge.settle();
        self.objects.fetch_add(1, Ordering::Relaxed);
        Some(removed)
    }

    /// A place in the order of fetches and purges, behind all others.
    pub fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The table takes its buckets from the lowest bits and its tags from the highest.
        let number = (hash >> 40) as usize & (self.shards.len() - 1);
        lock(&self.shards[number])
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // Nothing panics under this lock; and if it did, the worst that is left behind is an object that no look-up finds.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
