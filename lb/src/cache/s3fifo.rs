//! Which object goes when room is needed: S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023).
//!
//! Most objects are asked for once and never again. New ones therefore enter a *small* queue that gets a tenth of the memory; what is asked
//! for twice before it reaches the end moves to the *main* queue, the rest is evicted, and only its fingerprint stays for a while (the
//! *ghosts*): if it is asked for again soon, it goes to the main queue at once. The main queue gives an object another round for each hit, up to
//! three. A hit itself only counts up a number in the object and moves nothing, which is what makes it cheap.
//!
//! Sizes are bytes. Each shard of the store has queues of its own, but which of the two gives something up is decided by the sums over all
//! shards, and the caller takes the shards in turn, so that a shard of a few large objects behaves as a part of one great queue.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::object::Object;

const NONE: u32 = u32::MAX;
/// From so many hits on, what leaves the small queue goes to the main one.
const PROVED: u8 = 2;
/// Fingerprints that are kept however few objects there are.
const FEW_GHOSTS: usize = 32;

/// One of the two queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    Small,
    Main,
}

/// Bytes in the small and the main queues of all shards together.
#[derive(Debug, Default)]
pub(super) struct Sums {
    small: AtomicU64,
    main: AtomicU64,
}

impl Sums {
    /// Which queue has to give something up first.
    pub(super) fn first(&self, bound: u64) -> Queue {
        let small = self.small.load(Ordering::Relaxed);
        if small.saturating_mul(10) >= bound || self.main.load(Ordering::Relaxed) == 0 {
            Queue::Small
        } else {
            Queue::Main
        }
    }

    fn of(&self, queue: Queue) -> &AtomicU64 {
        match queue {
            Queue::Small => &self.small,
            Queue::Main => &self.main,
        }
    }
}

/// What one step of eviction came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The queue has nothing.
    Empty,
    /// Its oldest was asked for, and stays for another round.
    Kept,
    /// This one is to go; it is still there.
    Evict(u32),
}

/// A shard's queues. Objects are known by the number of their node, which stays the same until they are removed. They are whole, so that their
/// size stays the same, too.
#[derive(Debug)]
pub(super) struct Queues {
    sums: Arc<Sums>,
    nodes: Vec<Node>,
    free: Vec<u32>,
    small: List,
    main: List,
    ghosts: Ghosts,
}

#[derive(Debug)]
struct Node {
    object: Option<Arc<Object>>,
    queue: Queue,
    older: u32,
    newer: u32,
}

impl Node {
    fn size(&self) -> u64 {
        self.object.as_ref().map_or(0, |object| object.size())
    }
}

#[derive(Debug)]
struct List {
    oldest: u32,
    newest: u32,
}

impl Queues {
    pub(super) fn new(sums: Arc<Sums>) -> Self {
        let empty = || List {
            oldest: NONE,
            newest: NONE,
        };
        Self {
            sums,
            nodes: Vec::new(),
            free: Vec::new(),
            small: empty(),
            main: empty(),
            ghosts: Ghosts::default(),
        }
    }

    fn live(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Adds a whole object; returns its number.
    pub(super) fn insert(&mut self, object: Arc<Object>) -> u32 {
        let queue = if self.ghosts.remove(fingerprint(&object)) {
            Queue::Main
        } else {
            Queue::Small
        };
        let node = Node {
            object: Some(object),
            queue,
            older: NONE,
            newer: NONE,
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.nodes[number as usize] = node;
                number
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        };
        self.link(number, queue);
        number
    }

    /// Exchanges an object for a newer one of the same key and variant, which keeps place and popularity.
    pub(super) fn replace(&mut self, number: u32, object: Arc<Object>) {
        let node = &mut self.nodes[number as usize];
        let Some(old) = node.object.replace(Arc::clone(&object)) else {
            return;
        };
        object.set_hits(old.hits());
        let sum = self.sums.of(node.queue);
        sum.fetch_add(object.size(), Ordering::Relaxed);
        sum.fetch_sub(old.size(), Ordering::Relaxed);
    }

    /// Takes an object out.
    pub(super) fn remove(&mut self, number: u32) -> Option<Arc<Object>> {
        self.get(number)?;
        self.unlink(number);
        self.free.push(number);
        self.nodes[number as usize].object.take()
    }

    pub(super) fn get(&self, number: u32) -> Option<&Arc<Object>> {
        self.nodes.get(number as usize)?.object.as_ref()
    }

    /// Every object, with its number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Arc<Object>)> {
        self.nodes
            .iter()
            .enumerate()
            .filter_map(|(number, node)| Some((number as u32, node.object.as_ref()?)))
    }

    /// Every object, in the order in which the queues would give them up, what has proved itself first; and how popular it is.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (&Arc<Object>, u8)> {
        let from = |list: &List, proved: u8| {
            let node = |number: u32| self.nodes.get(number as usize);
            let numbers = std::iter::successors(node(list.oldest), move |last| node(last.newer));
            numbers.filter_map(move |node| node.object.as_ref().map(|object| (object, object.hits().max(proved))))
        };
        from(&self.main, PROVED).chain(from(&self.small, 0))
    }

    /// Looks at a queue's oldest object. `anyway`: it is to go whatever its popularity.
    pub(super) fn step(&mut self, queue: Queue, anyway: bool) -> Step {
        let number = self.list(queue).oldest;
        let Some(object) = self.get(number) else { return Step::Empty };
        let hits = object.hits();
        match queue {
            _ if anyway => Step::Evict(number),
            Queue::Small if hits >= PROVED => {
                self.unlink(number);
                self.link(number, Queue::Main);
                Step::Kept
            }
            Queue::Small => {
                let fingerprint = fingerprint(object);
                self.ghosts.add(fingerprint, self.live());
                Step::Evict(number)
            }
            Queue::Main if hits > 0 => {
                object.set_hits(hits - 1);
                self.unlink(number);
                self.link(number, Queue::Main);
                Step::Kept
            }
            Queue::Main => Step::Evict(number),
        }
    }

    fn list(&mut self, queue: Queue) -> &mut List {
        match queue {
            Queue::Small => &mut self.small,
            Queue::Main => &mut self.main,
        }
    }

    fn link(&mut self, number: u32, queue: Queue) {
        let list = self.list(queue);
        let older = std::mem::replace(&mut list.newest, number);
        if older == NONE {
            list.oldest = number;
        } else {
            self.nodes[older as usize].newer = number;
        }
        let node = &mut self.nodes[number as usize];
        (node.queue, node.older, node.newer) = (queue, older, NONE);
        self.sums.of(queue).fetch_add(node.size(), Ordering::Relaxed);
    }

    fn unlink(&mut self, number: u32) {
        let node = &self.nodes[number as usize];
        let Node { queue, older, newer, .. } = *node;
        self.sums.of(queue).fetch_sub(node.size(), Ordering::Relaxed);
        match older {
            NONE => self.list(queue).oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
        match newer {
            NONE => self.list(queue).newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
    }
}

/// What stays of an object that is gone. Two objects of one fingerprint only share a chance.
fn fingerprint(object: &Object) -> u64 {
    object.key.hash ^ object.variant().hash().rotate_left(32)
}

#[derive(Debug, Default)]
struct Ghosts {
    order: VecDeque<u64>,
    set: HashSet<u64, ahash::RandomState>,
}

impl Ghosts {
    /// As many as there are objects.
    fn add(&mut self, fingerprint: u64, objects: usize) {
        self.order.push_back(fingerprint);
        self.set.insert(fingerprint);
        while self.order.len() > objects.max(FEW_GHOSTS) {
            if let Some(oldest) = self.order.pop_front() {
                self.set.remove(&oldest);
            }
        }
    }

    fn remove(&mut self, fingerprint: u64) -> bool {
        self.set.remove(&fingerprint)
    }
}
