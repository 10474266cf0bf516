//! The protocol over a simulated Redis: real caches, real members and fences, and any order of events.
//!
//! Each step of a reader or writer that talks to Redis is two here, what Redis does and what is made of its answer, so that others come in
//! between. Redis goes away, comes back with or without what it had, and forgets parts of it. Every `lb` has a clock that goes wrong by up to
//! some percent, and any of them may do nothing for any time. What must hold is the promise to clients.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::FutureExt;
use proptest::prelude::*;

use super::fence::{Fence, Lease};
use super::log::Entry;
use super::member::{Member, Next, Report};
use super::outbox::{Batch, Mode, Settled};
use super::reader::{apply, drop_all};
use crate::cache::testing::{Steps, answer, get};
use crate::cache::{Answered, Cache, Follower, Joined, Lead, Lookup, Now, Purge, Rules};

const NODES: usize = 3;
const URI: &str = "http://h/number";

/// What the scripts do, in the same order: see [`super::log`].
#[derive(Default)]
struct Bus {
    up: bool,
    run: u64,
    epoch: u64,
    epochs: u64,
    end: u64,
    log: VecDeque<(u64, usize, Vec<u8>)>,
    leases: BTreeMap<usize, (u64, u64)>,
    count: u64,
    at: u64,
    known_run: u64,
}

impl Bus {
    fn begin(&mut self, now: u64) {
        self.epochs += 1;
        self.epoch = self.epochs;
        self.end = 0;
        self.log.clear();
        self.leases.clear();
        self.at = now;
        self.known_run = self.run;
    }

    fn script(&mut self, now: u64) {
        if self.known_run != self.run {
            self.begin(now);
        }
    }

    fn append(&mut self, from: usize, message: Vec<u8>, now: u64) -> (String, u64) {
        self.script(now);
        self.end += 1;
        self.log.push_back((self.end, from, message));
        (self.epoch.to_string(), self.end)
    }

    fn report(&mut self, from: usize, member: &Member, now: u64) -> Report {
        self.script(now);
        let mut kept = false;
        if member.leases() {
            if now - self.at > 1750 {
                self.begin(now);
            }
            if member.epoch() == self.epoch.to_string() {
                kept = self.leases.contains_key(&from);
                self.count += 1;
                self.leases.insert(from, (self.count, member.last()));
                self.at = now;
            }
        }
        Report {
            epoch: self.epoch.to_string(),
            end: self.end,
            kept,
        }
    }

    fn look(&mut self, lapsed: &[(String, u64)], now: u64) -> (String, Vec<Lease>) {
        self.script(now);
        for (member, count) in lapsed {
            let member = member.parse().unwrap();
            if self.leases.get(&member).is_some_and(|lease| lease.0 == *count) {
                self.leases.remove(&member);
            }
        }
        let lease = |(member, &(count, done)): (&usize, &(u64, u64))| Lease {
            member: member.to_string(),
            count,
            done,
        };
        (self.epoch.to_string(), self.leases.iter().map(lease).collect())
    }

    fn read(&self, after: u64) -> Vec<Entry> {
        let later = self.log.iter().filter(|(number, ..)| *number > after);
        let entry = |(number, from, message): &(u64, usize, Vec<u8>)| Entry {
            number: *number,
            from: from.to_string(),
            message: message.clone(),
        };
        later.map(entry).collect()
    }
}

enum Reading {
    Report,
    Reported(Instant, Report),
    Read,
    Came(Vec<Entry>),
}

enum Writing {
    Idle,
    Appended(String, u64),
    Looked(String, Vec<Lease>),
}

struct Node {
    cache: Arc<Cache>,
    start: Instant,
    /// Parts of a thousand by which its clock is wrong.
    drift: i64,
    member: Member,
    reading: Reading,
    fence: Fence,
    writing: Writing,
    batch: Option<Batch>,
    connected: bool,
    leads: VecDeque<(Lead, u64)>,
    followers: Vec<(Follower, u64)>,
    writes: Vec<(Settled, u64)>,
}

struct World {
    strict: bool,
    time: u64,
    bus: Bus,
    nodes: Vec<Node>,
    number: u64,
    /// What the writes had written whose answers have begun.
    floor: u64,
    hits: u64,
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Read(usize),
    Finish(usize),
    Write(usize),
    Reader(usize),
    Writer(usize),
    Sleep(u64),
    Down,
    Up,
    Restart,
    Trim,
}

impl Node {
    fn new(me: usize, strict: bool, drift: i64) -> Self {
        let cache = Cache::new(1 << 16, 1 << 12);
        cache.shared.outbox.set(if strict { Mode::Wait } else { Mode::Tell });
        if strict {
            cache.shared.distrust();
        }
        Self {
            start: cache.shared.base,
            cache,
            drift,
            member: Member::new(strict),
            reading: Reading::Report,
            fence: Fence::new(&me.to_string()),
            writing: Writing::Idle,
            batch: None,
            connected: false,
            leads: VecDeque::new(),
            followers: Vec::new(),
            writes: Vec::new(),
        }
    }

    fn now(&self, time: u64) -> Now {
        let passed = Duration::from_micros((time as i64 * (1000 + self.drift)) as u64);
        Now {
            mono: self.start + passed,
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + passed,
        }
    }
}

impl World {
    fn new(strict: bool, drifts: &[i64]) -> Self {
        let mut bus = Bus {
            up: true,
            run: 1,
            ..Bus::default()
        };
        bus.begin(0);
        Self {
            strict,
            time: 0,
            bus,
            nodes: (0..NODES).map(|me| Node::new(me, strict, drifts[me])).collect(),
            number: 0,
            floor: 0,
            hits: 0,
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Read(at) => self.read(at),
            Op::Finish(at) => self.finish(at),
            Op::Write(at) => self.write(at),
            Op::Reader(at) => self.reader(at),
            Op::Writer(at) => self.writer(at),
            Op::Sleep(time) => self.time += time,
            Op::Down => self.down(),
            Op::Up => self.bus.up = true,
            Op::Restart => {
                self.bus = Bus {
                    up: true,
                    run: self.bus.run + 1,
                    epochs: self.bus.epochs,
                    ..Bus::default()
                };
            }
            Op::Trim => self.bus.log.clear(),
        }
    }

    /// Redis goes away. Whoever was trying to reach it has noticed by then that it was there: it does not come and go faster than it is tried.
    fn down(&mut self) {
        for at in 0..NODES {
            let trying = |world: &Self| world.nodes[at].fence.is_trying(world.nodes[at].now(world.time).mono);
            while self.bus.up && trying(self) {
                self.writer(at);
            }
        }
        self.bus.up = false;
    }

    fn check(&mut self, text: &[Bytes], floor: u64) {
        let number: u64 = std::str::from_utf8(&text.concat()).unwrap().parse().unwrap();
        assert!(
            !self.strict || number >= floor,
            "{number} was served after {floor} had been answered"
        );
        self.hits += 1;
    }

    fn read(&mut self, at: usize) {
        let (now, floor) = (self.nodes[at].now(self.time), self.floor);
        match self.nodes[at].cache.ask(URI, &get(), now) {
            Lookup::Hit(hit, _) => self.check(hit.body(), floor),
            Lookup::Lead(lead) | Lookup::Alone(lead) => self.nodes[at].leads.push_back((lead, self.number)),
            Lookup::Wait(follower) => self.nodes[at].followers.push((follower, floor)),
            other => panic!("{other:?}"),
        }
    }

    /// The oldest fetch comes back, with what the origin had when it was asked.
    fn finish(&mut self, at: usize) {
        let now = self.nodes[at].now(self.time);
        let Some((lead, number)) = self.nodes[at].leads.pop_front() else {
            return;
        };
        let tagged = answer("max-age=600").with("cache-tag", "number");
        if let Answered::Store(mut filler) = lead.answer(&get(), &tagged, &Rules::default(), now.mono, now) {
            filler.push(Bytes::from(number.to_string()));
            filler.finish();
        }
        for (follower, floor) in std::mem::take(&mut self.nodes[at].followers) {
            // Pinned here and dropped when it has nothing to say yet: as a client that leaves.
            match follower.wait(&get()).now_or_never() {
                Some(Joined::Hit(hit)) => self.check(hit.body(), floor),
                Some(Joined::Stream(mut reader)) => {
                    let body = reader.next().now_or_never().unwrap().unwrap();
                    self.check(&body.into_iter().collect::<Vec<_>>(), floor);
                }
                Some(Joined::Lead(lead) | Joined::Alone(lead)) => self.nodes[at].leads.push_back((lead, self.number)),
                Some(Joined::Again) | None => {}
            }
        }
    }

    fn write(&mut self, at: usize) {
        self.number += 1;
        let cache = &self.nodes[at].cache;
        cache.purge(&Purge::Tags {
            upstream: Some("users"),
            tags: &[b"number"],
        });
        match cache.settled() {
            Some(settled) => self.nodes[at].writes.push((settled, self.number)),
            None => self.floor = self.floor.max(self.number),
        }
    }

    fn reader(&mut self, at: usize) {
        let Self { bus, nodes, time, .. } = self;
        let node = &mut nodes[at];
        let now = node.now(*time).mono;
        let reading = std::mem::replace(&mut node.reading, Reading::Report);
        node.reading = match reading {
            Reading::Report | Reading::Read if !bus.up => Reading::Report,
            Reading::Report => Reading::Reported(now, bus.report(at, &node.member, *time)),
            Reading::Reported(sent, report) => match node.member.reported(sent, report) {
                Next::Drop => {
                    drop_all(&node.cache, &node.member);
                    Reading::Report
                }
                Next::Trust(until) => {
                    node.cache.shared.trust_until(until);
                    Reading::Read
                }
                Next::GoOn => Reading::Read,
            },
            Reading::Read => Reading::Came(bus.read(node.member.last())),
            Reading::Came(entries) => {
                apply(&node.cache, &at.to_string(), &mut node.member, &entries);
                if entries.is_empty() && !node.member.read_nothing() {
                    drop_all(&node.cache, &node.member);
                }
                Reading::Report
            }
        };
    }

    fn writer(&mut self, at: usize) {
        let Self { bus, nodes, time, .. } = self;
        let node = &mut nodes[at];
        let now = node.now(*time).mono;
        let outbox = &node.cache.shared.outbox;
        match std::mem::replace(&mut node.writing, Writing::Idle) {
            Writing::Idle if !bus.up => {
                node.connected = false;
                if node.fence.failed(now) && self.strict {
                    outbox.finish(outbox.last());
                }
            }
            Writing::Idle => {
                node.batch = node.batch.take().or_else(|| outbox.take());
                node.writing = match &node.batch {
                    Some(batch) if node.connected => {
                        let (epoch, number) = bus.append(at, batch.message.clone(), *time);
                        Writing::Appended(epoch, number)
                    }
                    _ => {
                        let (epoch, leases) = bus.look(&node.fence.lapsed(now), *time);
                        Writing::Looked(epoch, leases)
                    }
                };
            }
            Writing::Appended(epoch, number) => {
                if let Some(batch) = node.batch.take() {
                    node.fence.appended(now, epoch, number, batch.ticket);
                    if !self.strict {
                        outbox.finish(batch.ticket);
                    }
                }
            }
            Writing::Looked(epoch, leases) => {
                node.connected = true;
                if let Some(ticket) = node.fence.looked(now, &epoch, &leases) {
                    outbox.finish(ticket);
                }
            }
        }
        let (done, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut node.writes)
            .into_iter()
            .partition(|(settled, _)| settled.is_done());
        node.writes = waiting;
        self.floor = done.iter().map(|(_, number)| *number).fold(self.floor, u64::max);
    }

    /// Everybody gets on for so long.
    fn rest(&mut self, time: u64) {
        let until = self.time + time;
        while self.time < until {
            for at in 0..NODES {
                (0..6).for_each(|_| self.reader(at));
                (0..3).for_each(|_| self.writer(at));
            }
            self.time += 100;
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    let node = 0..NODES;
    prop_oneof![
        10 => node.clone().prop_map(Op::Read),
        6 => node.clone().prop_map(Op::Finish),
        4 => node.clone().prop_map(Op::Write),
        24 => node.clone().prop_map(Op::Reader),
        16 => node.prop_map(Op::Writer),
        8 => (0_u64..300).prop_map(Op::Sleep),
        1 => (300_u64..2500).prop_map(Op::Sleep),
        1 => Just(Op::Down),
        2 => Just(Op::Up),
        1 => Just(Op::Restart),
        1 => Just(Op::Trim),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    // Either anything, or a while in which everybody gets on, and then anything: so that leases are held when it begins.
    proptest::collection::vec(op(), 20..150)
}

fn drifts() -> impl Strategy<Value = Vec<i64>> {
    proptest::collection::vec(-50_i64..50, NODES)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, max_shrink_iters: 100_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_served_what_was_purged_before_a_write_was_answered(drifts in drifts(), warm in any::<bool>(), ops in ops()) {
        let mut world = World::new(true, &drifts);
        if warm {
            world.rest(2500);
        }
        for op in ops {
            world.step(op);
        }
        world.step(Op::Up);
        world.rest(6000);
        prop_assert!(world.nodes.iter().all(|node| node.writes.is_empty()), "a write waits for ever");
        prop_assert_eq!(world.floor, world.number);
        for at in 0..NODES {
            prop_assert!(world.nodes[at].cache.shared.trusts(world.nodes[at].now(world.time)), "a lease is never got again");
            world.read(at);
        }
    }

    #[test]
    fn without_leases_everybody_comes_to_the_same_in_the_end(drifts in drifts(), ops in ops()) {
        let mut world = World::new(false, &drifts);
        for op in ops {
            world.step(op);
        }
        world.step(Op::Up);
        // What Redis has lost with its life cannot reach anybody, but everybody drops what they had.
        world.rest(2000);
        for at in 0..NODES {
            while !world.nodes[at].leads.is_empty() {
                world.finish(at);
            }
        }
        world.floor = world.number;
        world.strict = true;
        (0..NODES).for_each(|at| world.read(at));
    }
}

#[test]
fn when_all_is_well_reads_are_hits_and_a_write_takes_one_round() {
    let mut world = World::new(true, &[0; NODES]);
    world.rest(2500);
    for round in 0..10 {
        for at in 0..NODES {
            world.read(at);
            world.finish(at);
            world.read(at);
        }
        assert_eq!(world.hits, (round + 1) * NODES as u64);
        world.write(1);
        world.rest(200);
        assert_eq!(world.floor, round + 1);
    }
}

#[test]
fn one_that_sleeps_through_a_write_serves_nothing_old_when_it_wakes() {
    let mut world = World::new(true, &[0; NODES]);
    world.rest(2500);
    for at in 0..NODES {
        world.read(at);
        world.finish(at);
    }
    world.write(0);
    // Node 2 does nothing for so long.
    while world.floor < 1 {
        for at in 0..2 {
            (0..4).for_each(|_| world.reader(at));
            (0..3).for_each(|_| world.writer(at));
        }
        world.time += 50;
        assert!(world.time < 10_000, "the write waits for ever");
    }
    world.read(2);
    assert_eq!(world.hits, 0);
    world.rest(300);
    // What it fetched before it had caught up is not kept.
    world.finish(2);
    world.read(2);
    assert_eq!(world.hits, 0);
    world.finish(2);
    world.read(2);
    assert_eq!(world.hits, 1);
}
