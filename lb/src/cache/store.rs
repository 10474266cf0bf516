//! Where whole responses are kept: one shard of the store.
//!
//! A hash table finds the variants of a key; queues decide who goes ([`super::s3fifo`]); an ordered set finds what bears a tag. All three, the
//! fetches under way and the marks of one key stand under one lock, its shard's, which is held for a few look-ups and never while bytes move.
//! What is taken out is handed to the caller, who lets go of it after the lock.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::flight::Flight;
use super::key::{Key, StoredKey};
use super::marks::Marks;
use super::object::Object;
use super::purge::Target;
use super::s3fifo::{Queue, Queues, Step, Sums};
use super::uses::Uses;
use super::vary::{Selector, VariantRef};
use crate::exchange::head::Fields;

/// Variants of one key; the oldest goes first. More than that is a `Vary` on something that nobody shares.
const VARIANTS: usize = 64;

/// A part of the store.
#[derive(Debug)]
pub(super) struct Shard {
    table: HashTable<Entries>,
    queues: Queues,
    /// Tag and number of what bears it.
    tags: BTreeSet<(u64, u32)>,
    /// Fetches under way that others may join, by their key's hash.
    pub(super) flights: HashMap<u64, Vec<Arc<Flight>>, RandomState>,
    pub(super) marks: Marks,
    pub(super) uses: Uses,
}

/// The variants of one key.
#[derive(Debug)]
struct Entries {
    /// That of the first, here too so that its bytes and the object's are fetched at the same time.
    key: StoredKey,
    first: Resident,
    /// Hardly ever there, so that it costs a pointer.
    #[expect(clippy::box_collection, reason = "a third of a Vec in every entry of the table")]
    more: Option<Box<Vec<Resident>>>,
}

#[derive(Debug)]
struct Resident {
    object: Arc<Object>,
    /// Its number in the queues.
    number: u32,
}

/// What is stored for a request.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// Nothing under its key.
    Nothing,
    /// Only variants for other request fields.
    OtherVariants,
    /// This; it may be stale.
    Object(&'a Arc<Object>),
}

/// What was taken out: to be let go of after the lock.
#[derive(Debug, Default)]
pub(super) struct Removed {
    pub(super) objects: Vec<Arc<Object>>,
    pub(super) bytes: u64,
}

impl Removed {
    fn push(&mut self, object: Arc<Object>) {
        self.bytes += object.size();
        self.objects.push(object);
    }
}

impl Entries {
    fn is(&self, key: &StoredKey) -> bool {
        self.key.same(key)
    }

    fn iter(&self) -> impl Iterator<Item = &Resident> {
        std::iter::once(&self.first).chain(self.more.iter().flat_map(|more| more.iter()))
    }

    fn add(&mut self, resident: Resident) {
        self.more.get_or_insert_default().push(resident);
    }

    /// Takes one out that is not the only one.
    fn remove(&mut self, number: u32) {
        let Some(more) = &mut self.more else { return };
        if self.first.number == number {
            self.first = more.swap_remove(0);
            self.key = self.first.object.key.clone();
        } else {
            more.retain(|resident| resident.number != number);
        }
        if more.is_empty() {
            self.more = None;
        }
    }

    /// The variant that a request belongs to (RFC 9111 §4.1): one with `Vary` before one without, then the one fetched last.
    fn select(&self, request: &impl Fields) -> Option<&Arc<Object>> {
        if self.more.is_none() {
            return Some(&self.first.object).filter(|object| object.variant().matches(request));
        }
        let mut asked: Option<(&Selector, u64)> = None;
        let matching = self.iter().map(|resident| &resident.object).filter(|object| {
            let variant = object.variant();
            let hash = match asked {
                Some((selector, hash)) if selector == variant.selector() => hash,
                _ => asked.insert((variant.selector(), variant.selector().hash(request))).1,
            };
            hash == variant.hash() && variant.matches(request)
        });
        matching.max_by_key(|object| (!object.variant().selector().is_empty(), object.began))
    }
}

impl Shard {
    pub(super) fn new(sums: Arc<Sums>, hashing: RandomState) -> Self {
        Self {
            table: HashTable::new(),
            queues: Queues::new(sums),
            tags: BTreeSet::new(),
            flights: HashMap::with_hasher(hashing),
            marks: Marks::default(),
            uses: Uses::default(),
        }
    }

    /// What is stored for a request.
    pub(super) fn find(&self, hash: u64, key: &Key<'_>, request: &impl Fields) -> Found<'_> {
        let entries = self.table.find(hash, |entries| entries.key.is(hash, key));
        match entries.map(|entries| entries.select(request)) {
            None => Found::Nothing,
            Some(None) => Found::OtherVariants,
            Some(Some(object)) => Found::Object(object),
        }
    }

    /// What is stored under a key for a variant.
    pub(super) fn get(&self, key: &StoredKey, variant: VariantRef<'_>) -> Option<&Arc<Object>> {
        let entries = self.table.find(key.hash, |entries| entries.is(key))?;
        entries
            .iter()
            .map(|resident| &resident.object)
            .find(|object| object.variant().same(variant))
    }

    /// Every variant under a key.
    pub(super) fn variants(&self, key: &StoredKey) -> impl Iterator<Item = &Arc<Object>> {
        let entries = self.table.find(key.hash, |entries| entries.is(key));
        entries.into_iter().flat_map(Entries::iter).map(|resident| &resident.object)
    }

    /// Takes out just this object, if it is there.
    pub(super) fn take(&mut self, object: &Arc<Object>) -> Removed {
        let entries = self.table.find(object.key.hash, |entries| entries.is(&object.key));
        let number = entries.and_then(|entries| {
            let mut residents = entries.iter();
            residents
                .find(|resident| Arc::ptr_eq(&resident.object, object))
                .map(|resident| resident.number)
        });
        let mut removed = Removed::default();
        number
            .and_then(|number| self.remove(number))
            .into_iter()
            .for_each(|gone| removed.push(gone));
        removed
    }

    /// What the newest response under a key depends on, if any does.
    pub(super) fn selector(&self, key: &StoredKey) -> Option<Selector> {
        let entries = self.table.find(key.hash, |entries| entries.is(key))?;
        let varying = entries
            .iter()
            .map(|resident| &resident.object)
            .filter(|object| !object.variant().selector().is_empty());
        varying
            .max_by_key(|object| object.began)
            .map(|object| object.variant().selector().clone())
    }

    /// Stores a whole object of that size, in the place of an older one of its variant. `None`: one that was fetched later is there.
    pub(super) fn insert(&mut self, object: &Arc<Object>) -> Option<Removed> {
        let mut removed = Removed::default();
        let Self { table, queues, tags, .. } = self;
        let number = match table.entry(object.key.hash, |entries| entries.is(&object.key), |entries| entries.key.hash) {
            Entry::Vacant(vacant) => {
                let number = queues.insert(Arc::clone(object));
                let first = Resident {
                    object: Arc::clone(object),
                    number,
                };
                vacant.insert(Entries {
                    key: object.key.clone(),
                    first,
                    more: None,
                });
                number
            }
            Entry::Occupied(mut occupied) => {
                let entries = occupied.get_mut();
                let more = entries.more.iter_mut().flat_map(|more| more.iter_mut());
                let mut same = std::iter::once(&mut entries.first)
                    .chain(more)
                    .filter(|old| old.object.variant().same(object.variant()));
                if let Some(old) = same.next() {
                    if old.object.began > object.began {
                        return None;
                    }
                    for &tag in &old.object.tags {
                        tags.remove(&(tag, old.number));
                    }
                    let number = old.number;
                    queues.replace(number, Arc::clone(object));
                    removed.push(std::mem::replace(&mut old.object, Arc::clone(object)));
                    // Behind the bytes of an object's key stand those of its head, of which the old ones are to go.
                    entries.key = entries.first.object.key.clone();
                    number
                } else {
                    let number = queues.insert(Arc::clone(object));
                    entries.add(Resident {
                        object: Arc::clone(object),
                        number,
                    });
                    number
                }
            }
        };
        self.tags.extend(object.tags.iter().map(|&tag| (tag, number)));
        self.keep_few_variants(object, &mut removed);
        Some(removed)
    }

    fn keep_few_variants(&mut self, object: &Object, removed: &mut Removed) {
        let entries = self.table.find(object.key.hash, |entries| entries.is(&object.key));
        let Some(entries) = entries.filter(|entries| entries.more.as_ref().is_some_and(|more| more.len() >= VARIANTS)) else {
            return;
        };
        let oldest = entries
            .iter()
            .min_by_key(|resident| resident.object.began)
            .map(|resident| resident.number);
        oldest
            .and_then(|number| self.remove(number))
            .into_iter()
            .for_each(|gone| removed.push(gone));
    }

    /// Takes an object out of everything.
    fn remove(&mut self, number: u32) -> Option<Arc<Object>> {
        let object = self.queues.remove(number)?;
        for &tag in &object.tags {
            self.tags.remove(&(tag, number));
        }
        if let Ok(mut entry) = self.table.find_entry(object.key.hash, |entries| entries.is(&object.key)) {
            match entry.get().more {
                Some(_) => entry.get_mut().remove(number),
                None => drop(entry.remove()),
            }
        }
        Some(object)
    }

    /// The numbers of what a purge is about.
    fn meant(&self, target: &Target) -> Vec<u32> {
        match target {
            Target::Key(key) => {
                let entries = self.table.find(key.hash, |entries| entries.is(key));
                entries
                    .iter()
                    .flat_map(|entries| entries.iter())
                    .map(|resident| resident.number)
                    .collect()
            }
            Target::Tags { tags, .. } => {
                let tagged = tags.iter().flat_map(|&tag| self.tags.range((tag, 0)..=(tag, u32::MAX)));
                let numbers = tagged.map(|&(_, number)| number);
                numbers
                    .filter(|&number| self.queues.get(number).is_some_and(|object| target.hits(&object.key, None)))
                    .collect()
            }
            Target::Pattern(_) | Target::All => self
                .queues
                .iter()
                .filter(|(_, object)| target.hits(&object.key, Some(&[])))
                .map(|(number, _)| number)
                .collect(),
        }
    }

    /// Takes out what a purge is about.
    pub(super) fn purge(&mut self, target: &Target) -> Removed {
        let mut removed = Removed::default();
        self.meant(target)
            .into_iter()
            .filter_map(|number| self.remove(number))
            .for_each(|gone| removed.push(gone));
        removed
    }

    /// Has what a purge is about count as stale; returns how many that were.
    pub(super) fn soften(&self, target: &Target) -> u64 {
        let meant = self.meant(target);
        let objects = meant.into_iter().filter_map(|number| self.queues.get(number));
        objects.filter(|object| object.mark_stale()).count() as u64
    }

    /// Everything, in the order in which it would go, what has proved itself first; and how popular it is.
    pub(super) fn objects(&self) -> Vec<(Arc<Object>, u8)> {
        self.queues.in_order().map(|(object, hits)| (Arc::clone(object), hits)).collect()
    }

    /// One step towards more room; `None`: the queue has nothing. A step may free nothing yet.
    pub(super) fn evict(&mut self, queue: Queue, anyway: bool) -> Option<Removed> {
        let mut removed = Removed::default();
        match self.queues.step(queue, anyway) {
            Step::Empty => return None,
            Step::Kept => {}
            Step::Evict(number) => self.remove(number).into_iter().for_each(|gone| removed.push(gone)),
        }
        Some(removed)
    }
}
