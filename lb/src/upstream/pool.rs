//! The live state of an upstream: one for each name, kept as long as anything refers to it, whatever configurations come and go.
//!
//! Everything that must agree stands under one short lock: choosing and taking are one step, and what is returned is returned under the
//! same lock. So "the lowest in flight ÷ weight" and "never above `max_connections`" hold exactly, and not only on average, whatever the
//! number of threads. Under the lock nothing waits, logs or allocates, but for what a reload, a change of health or a
//! slow start brings.
//!
//! A server is known by its address. It has a [`Slot`] for as long as a configuration or a lease holds it: one that is removed while
//! requests are under way, and then comes back, finds its count as it is.

mod state;
mod waiting;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lb_config::PassiveHealth;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::breaker::Breaker;
use super::budget::Budget;
use super::check::Status;
use super::epoch::Epoch;
use super::latency::Latencies;
use super::limit::{Heard, Room};
use super::locked::Locked;
use super::orders::Order;
use super::queue::Queue;
use super::resolve::ResolvedServer;
use super::server::Learns;
use super::slot::Slot;
use super::standing::Facts;
use super::view::{Plan, View};
use super::{NoServer, ResolvedAddress, ServerId, Wanted};
use crate::balance::Latency;

/// How long a server that has announced its drain gets no request, after the last answer that said so, where no check could tell that it
/// is back.
pub(super) const ANNOUNCED: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Pool {
    name: Arc<str>,
    /// Advanced whenever a check changes its mind.
    pub(super) epoch: Arc<Epoch>,
    state: Mutex<State>,
    /// Held by whoever makes views, so that none is made from weights that have just changed. Taken before `state`.
    shaping: Mutex<()>,
    pub(super) budget: Arc<Budget>,
    pub(super) breaker: Arc<Breaker>,
    pub(super) latencies: Latencies,
}

pub(super) struct State {
    /// By slot, like the four after it.
    slots: Vec<Slot>,
    loads: Vec<u32>,
    turns: Vec<i32>,
    latencies: Vec<Latency>,
    rooms: Vec<Room>,
    by_address: HashMap<ResolvedAddress, usize>,
    free: BTreeSet<usize>,
    generation: u32,
    views: Vec<View>,
    next_view: u64,
    /// The view of the configuration in force; 0: none yet.
    current: u64,
    pub(super) queue: Queue,
    /// When the first ejection or announced drain ends.
    next_end: Option<Instant>,
    /// Whether the latest view panics, and how often that has begun.
    panic: bool,
    panics: u64,
    random: SmallRng,
    /// The time, where it is not the clock's.
    told: Option<Instant>,
}

/// What a slot says about its server, for people.
pub(super) struct Glance {
    pub(super) in_flight: u32,
    pub(super) ejections: u64,
    /// What is left of an ejection.
    pub(super) ejected_for: Option<Duration>,
    pub(super) consecutive_failures: u32,
    pub(super) facts: Facts,
    /// What it can take at once, as far as is known.
    pub(super) limit: u32,
    /// What an operator has put in the place of the file's.
    pub(super) weight: Option<u32>,
}

/// What has happened by itself since somebody looked.
#[derive(Default)]
pub(super) struct News {
    /// Whose ejections are over.
    returned: Vec<ResolvedAddress>,
    panic: Option<bool>,
}

impl Pool {
    pub(super) fn new(name: Arc<str>, epoch: Arc<Epoch>, now: Instant) -> Self {
        let state = State {
            slots: Vec::new(),
            loads: Vec::new(),
            turns: Vec::new(),
            latencies: Vec::new(),
            rooms: Vec::new(),
            by_address: HashMap::new(),
            free: BTreeSet::new(),
            generation: 0,
            views: Vec::new(),
            next_view: 0,
            current: 0,
            queue: Queue::default(),
            next_end: None,
            panic: false,
            panics: 0,
            random: SmallRng::from_os_rng(),
            told: None,
        };
        Self {
            name,
            epoch,
            state: Mutex::new(state),
            shaping: Mutex::new(()),
            budget: Arc::new(Budget::new(now)),
            breaker: Arc::default(),
            latencies: Latencies::new(now),
        }
    }

    /// One whose choices depend on nothing but the seed and what it is told.
    pub(super) fn seeded(name: Arc<str>, start: Instant, seed: u64) -> Self {
        let pool = Self::new(name, Arc::default(), start);
        pool.lock().random = SmallRng::seed_from_u64(seed);
        pool.tell_time(start);
        pool
    }

    /// From now on it is this time, for all that nobody tells the time.
    pub(super) fn tell_time(&self, now: Instant) {
        self.lock().told = Some(now);
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// When this is let go, nobody waits who could be served.
    fn lock(&self) -> Locked<'_> {
        Locked::new(self, self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Holds the server at this address, until [`unpin`](Self::unpin).
    pub(super) fn pin(&self, address: &ResolvedAddress) -> ServerId {
        self.lock().pin(address)
    }

    pub(super) fn unpin(&self, id: ServerId) {
        self.lock().unpin(id.slot());
    }

    fn shaping(&self) -> MutexGuard<'_, ()> {
        self.shaping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A view over servers that are pinned for as long as it lasts.
    pub(super) fn open_view(&self, plan: Plan) -> u64 {
        let _shaping = self.shaping();
        let (id, ordered) = {
            let mut state = self.lock();
            state.next_view += 1;
            (state.next_view, state.ordered())
        };
        // Not under the lock: a hash ring takes its time.
        let view = View::new(id, Arc::new(plan), |slot| ordered.get(&slot).copied());
        let mut state = self.lock();
        // A turn is a debt in weights: with other weights it would be paid back in a burst.
        if state.views.last().is_some_and(|last| last.shares_differ(&view)) {
            state.turns.fill(0);
        }
        state.views.push(view);
        id
    }

    /// Carries out what an operator wants of a server, in one step for all who choose.
    pub(super) fn order(&self, id: ServerId, order: Order) {
        let _shaping = self.shaping();
        let slot = id.slot();
        let fresh = order.weight.map(|weight| {
            let mut ordered = self.lock().ordered();
            ordered.insert(slot, weight);
            self.shape(&ordered)
        });
        let mut state = self.lock();
        state.slots[slot].orders.take(order);
        let replaced = state.reshape(fresh.unwrap_or_default());
        drop(state);
        drop(replaced);
    }

    /// A configuration has come into force that says this of the servers that are pinned here. Orders end where it says something new, and its
    /// `max_connections` hold for all.
    pub(super) fn agree(&self, said: &HashMap<usize, &ResolvedServer>) {
        let _shaping = self.shaping();
        let mut state = self.lock();
        let mut ended = Vec::new();
        for (n, slot) in state.slots.iter_mut().enumerate() {
            if slot.orders.agree(said.get(&n).copied()) {
                ended.extend(slot.address.clone());
            }
        }
        state.bind(said);
        let ordered = state.ordered();
        drop(state);
        if ended.is_empty() {
            return;
        }
        let fresh = self.shape(&ordered);
        let replaced = self.lock().reshape(fresh);
        drop(replaced);
        for address in ended {
            tracing::info!(upstream = %self.name, server = %address, "the file says something new: what was ordered by hand is over");
        }
    }

    /// Every view anew, with these weights in place of the plan's.
    fn shape(&self, ordered: &HashMap<usize, u32>) -> Vec<View> {
        let plans: Vec<_> = self.lock().views.iter().map(|view| (view.id, view.plan.clone())).collect();
        let anew = |(id, plan)| View::new(id, plan, |slot| ordered.get(&slot).copied());
        plans.into_iter().map(anew).collect()
    }

    pub(super) fn close_view(&self, id: u64) {
        let mut state = self.lock();
        let at = state.views.iter().position(|view| view.id == id);
        let closed = at.map(|at| state.views.remove(at));
        state.queue.leave_view(id);
        // A server that only that one had is out from now on, also while it ends its requests.
        state.views.iter_mut().for_each(|view| view.stale = true);
        drop(state);
        drop(closed);
    }

    /// Chooses a server and takes it, in one step. The caller owes a [`release`](Self::release).
    pub(super) fn take(&self, view: u64, wanted: &Wanted<'_>, now: Instant) -> Result<usize, NoServer> {
        let epoch = self.epoch.now();
        let mut state = self.lock();
        let news = state.catch_up(epoch, now);
        let taken = state.take(view, wanted, now);
        drop(state);
        self.tell(&news);
        taken
    }

    /// The end of what [`take`](Self::take) began; `succeeded`: with a good answer. `answered`: the limit was told of it.
    pub(super) fn release(&self, id: ServerId, succeeded: bool, answered: bool) {
        self.lock().release(id.slot(), succeeded, answered);
    }

    /// What a try has taught about a server.
    pub(super) fn observed(&self, id: ServerId, learns: Learns, heard: Heard, latency: Duration, now: Instant) {
        let mut state = self.lock();
        if learns.latency {
            state.latencies[id.slot()].observe(latency, heard == Heard::Good, now);
        }
        if learns.limit {
            state.answered(id.slot(), heard, latency, now);
        }
    }

    /// A server was given up on that had not answered after so long.
    pub(super) fn unanswered(&self, id: ServerId, learns: Learns, after: Duration, now: Instant) {
        let mut state = self.lock();
        if learns.latency {
            state.latencies[id.slot()].observe_unanswered(after, now);
        }
        if learns.limit {
            state.unanswered(id.slot(), after, now);
        }
    }

    /// A failure that is this server's. It may be what ejects it.
    pub(super) fn failed(&self, id: ServerId, passive: Option<&PassiveHealth>, now: Instant) {
        let epoch = self.epoch.now();
        let mut state = self.lock();
        let news = state.catch_up(epoch, now);
        let ejected = state.failed(id.slot(), passive, now);
        drop(state);
        self.tell(&news);
        if let (Some((address, lasts)), Some(passive)) = (ejected, passive) {
            let (failures, window) = (passive.failures, passive.window);
            tracing::warn!(upstream = %self.name, server = %address, "ejected for {lasts:?} after {failures} failures within {window:?}");
        }
    }

    /// This view is that of the configuration in force.
    pub(super) fn make_current(&self, view: u64) {
        let mut state = self.lock();
        if state.current != view {
            state.current = view;
            state.queue.move_to(view);
            state.views.iter_mut().for_each(|view| view.stale = true);
        }
    }

    /// The server says that it is about to leave, and no check keeps count of that.
    pub(super) fn announce(&self, id: ServerId, now: Instant) {
        let mut state = self.lock();
        if state.slots[id.slot()].announce(now + ANNOUNCED) {
            state.ends_changed();
            let address = state.slots[id.slot()].address.clone();
            drop(state);
            let address = address.map(tracing::field::display);
            tracing::info!(upstream = %self.name, server = address, "announces that it drains");
        }
    }

    /// The server stays after all.
    pub(super) fn retract(&self, id: ServerId) {
        let mut state = self.lock();
        if state.slots[id.slot()].retract() {
            state.ends_changed();
        }
    }

    /// Whether ejected servers are used because too few others are left, and how often that has begun.
    pub(super) fn panics(&self, now: Instant) -> (bool, u64) {
        let epoch = self.epoch.now();
        let mut state = self.lock();
        let news = state.catch_up(epoch, now);
        let panics = (state.panic, state.panics);
        drop(state);
        self.tell(&news);
        panics
    }

    /// Whether there is anybody to send requests to.
    pub(super) fn any_usable(&self, view: u64, now: Instant) -> bool {
        let epoch = self.epoch.now();
        let mut state = self.lock();
        let news = state.catch_up(epoch, now);
        let usable = state.views.iter().any(|candidate| candidate.id == view && candidate.any_usable());
        drop(state);
        self.tell(&news);
        usable
    }

    /// `status` is what the server's checks say.
    pub(super) fn glance(&self, id: ServerId, status: Status, now: Instant) -> Glance {
        let state = self.lock();
        let (slot, load) = (&state.slots[id.slot()], state.loads[id.slot()]);
        let left = slot.ejected_until().map(|until| until.saturating_duration_since(now));
        let left = left.filter(|left| !left.is_zero());
        Glance {
            facts: Facts {
                ejected: left.is_some(),
                announced: slot.announced_until().is_some_and(|until| until > now),
                ..slot.facts(status)
            },
            weight: slot.orders.weight,
            limit: state.rooms[id.slot()].limit(),
            in_flight: load,
            ejections: slot.ejections,
            ejected_for: left,
            consecutive_failures: slot.consecutive_failures,
        }
    }

    /// Servers that are held, and views that are open.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        let state = self.lock();
        (state.slots.len(), state.views.len())
    }

    pub(super) fn tell(&self, news: &News) {
        for address in &news.returned {
            tracing::info!(upstream = %self.name, server = %address, "back after an ejection");
        }
        match news.panic {
            Some(true) => tracing::warn!(upstream = %self.name, "too few servers are healthy: ejected ones are used again"),
            Some(false) => tracing::info!(upstream = %self.name, "enough servers are healthy: ejected ones stay out"),
            None => {}
        }
    }
}
