//! The live state of an upstream: one for each name, kept as long as anything refers to it, whatever configurations come and go.
//!
//! Everything that must agree stands under one short lock: choosing and taking are one step, and what is returned is returned under the
//! same lock. So "the lowest in flight ÷ weight" and "never above `max_connections`" hold exactly, and not only on average, whatever the
//! number of threads. Under the lock nothing waits, logs or allocates, but for what a reload or a change of health brings.
//!
//! A server is known by its address. It has a [`Slot`] for as long as a configuration or a lease holds it: one that is removed while
//! requests are under way, and then comes back, finds its count as it is.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use lb_config::PassiveHealth;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::budget::Budget;
use super::epoch::Epoch;
use super::locked::Locked;
use super::queue::{Handed, Queue};
use super::slot::Slot;
use super::view::{Live, Placed, View};
use super::{NoServer, ResolvedAddress, ServerId, Wanted};
use crate::balance::Latency;

/// See the module.
pub(super) struct Pool {
    name: Arc<str>,
    /// Advanced whenever a check changes its mind.
    pub(super) epoch: Arc<Epoch>,
    state: Mutex<State>,
    pub(super) budget: Arc<Budget>,
}

pub(super) struct State {
    /// By slot, like the three after it.
    slots: Vec<Slot>,
    loads: Vec<u32>,
    turns: Vec<i32>,
    latencies: Vec<Latency>,
    by_address: HashMap<ResolvedAddress, usize>,
    free: BTreeSet<usize>,
    generation: u32,
    views: Vec<View>,
    next_view: u64,
    /// The view of the configuration in force; 0: none yet.
    current: u64,
    pub(super) queue: Queue,
    /// When the first ejection ends.
    next_return: Option<Instant>,
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
}

impl Pool {
    pub(super) fn new(name: Arc<str>, epoch: Arc<Epoch>, now: Instant) -> Self {
        let state = State {
            slots: Vec::new(),
            loads: Vec::new(),
            turns: Vec::new(),
            latencies: Vec::new(),
            by_address: HashMap::new(),
            free: BTreeSet::new(),
            generation: 0,
            views: Vec::new(),
            next_view: 0,
            current: 0,
            queue: Queue::default(),
            next_return: None,
            random: SmallRng::from_os_rng(),
            told: None,
        };
        Self {
            name,
            epoch,
            state: Mutex::new(state),
            budget: Arc::new(Budget::new(now)),
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

    /// A view over servers that are pinned for as long as it lasts.
    pub(super) fn open_view(&self, balance: &lb_config::Balance, servers: &[Placed<'_>]) -> u64 {
        let id = {
            let mut state = self.lock();
            state.next_view += 1;
            state.next_view
        };
        // Not under the lock: a hash ring takes its time.
        let view = View::new(id, balance, servers);
        let mut state = self.lock();
        // A turn is a debt in weights: with other weights it would be paid back in a burst.
        if state.views.last().is_some_and(|last| last.shares_differ(&view)) {
            state.turns.fill(0);
        }
        state.views.push(view);
        id
    }

    pub(super) fn close_view(&self, id: u64) {
        let mut state = self.lock();
        let at = state.views.iter().position(|view| view.id == id);
        let closed = at.map(|at| state.views.remove(at));
        state.queue.leave_view(id);
        drop(state);
        drop(closed);
    }

    /// Chooses a server and takes it, in one step. The caller owes a [`release`](Self::release).
    pub(super) fn take(&self, view: u64, wanted: &Wanted<'_>, now: Instant) -> Result<usize, NoServer> {
        let epoch = self.epoch.now();
        let mut state = self.lock();
        let returned = state.catch_up(epoch, now);
        let taken = state.take(view, wanted, now);
        drop(state);
        self.log_returned(&returned);
        taken
    }

    /// The end of what [`take`](Self::take) began; `succeeded`: with a good answer.
    pub(super) fn release(&self, id: ServerId, succeeded: bool) {
        self.lock().release(id.slot(), succeeded);
    }

    /// What a try has taught about a server's latency.
    pub(super) fn observed(&self, id: ServerId, latency: Duration, ok: bool, now: Instant) {
        self.lock().latencies[id.slot()].observe(latency, ok, now);
    }

    /// A server was given up on that had not answered after so long.
    pub(super) fn unanswered(&self, id: ServerId, after: Duration, now: Instant) {
        self.lock().latencies[id.slot()].observe_unanswered(after, now);
    }

    /// A failure that is this server's. It may be what ejects it.
    pub(super) fn failed(&self, id: ServerId, passive: Option<&PassiveHealth>, now: Instant) {
        let epoch = self.epoch.now();
        let mut state = self.lock();
        let returned = state.catch_up(epoch, now);
        let ejected = state.failed(id.slot(), passive, now);
        drop(state);
        self.log_returned(&returned);
        if let (Some(address), Some(passive)) = (ejected, passive) {
            let (failures, window, eject) = (passive.failures, passive.window, passive.eject);
            tracing::warn!(upstream = %self.name, server = %address, "ejected for {eject:?} after {failures} failures within {window:?}");
        }
    }

    /// As [`take`](Self::take); where all are full, the request lines up, unless `size` do already. The ticket, then.
    pub(super) fn take_or_join(&self, view: u64, wanted: &Wanted<'_>, size: usize, now: Instant) -> Result<Result<usize, u64>, NoServer> {
        let mut state = self.lock();
        let returned = state.catch_up(self.epoch.now(), now);
        let taken = match state.take(view, wanted, now) {
            Err(NoServer::AllFull) if state.queue.waiting() >= size => Err(NoServer::QueueFull),
            Err(NoServer::AllFull) => {
                let newest = state.newest(view);
                Ok(Err(state.queue.join(view, newest, wanted)))
            }
            taken => taken.map(Ok),
        };
        drop(state);
        self.log_returned(&returned);
        taken
    }

    /// Something outside has changed: those who wait may be served now.
    pub(super) fn look_again(&self) {
        drop(self.lock());
    }

    /// Does something with the queue at a time.
    pub(super) fn queue_at<T>(&self, now: Instant, act: impl FnOnce(&mut Queue) -> T) -> T {
        let mut state = self.lock();
        let returned = state.catch_up(self.epoch.now(), now);
        let done = act(&mut state.queue);
        drop(state);
        self.log_returned(&returned);
        done
    }

    /// How many wait.
    pub(super) fn queued(&self) -> usize {
        self.lock().queue.waiting()
    }

    /// When the first ejection ends.
    pub(super) fn next_return(&self) -> Option<Instant> {
        self.lock().next_return
    }

    /// Steps out of the line; what was handed over already goes to the next.
    pub(super) fn leave_queue(&self, ticket: u64) {
        let mut state = self.lock();
        if let Some(handed) = state.queue.leave(ticket) {
            state.hand_back(handed);
        }
    }

    /// What was handed over is not used.
    pub(super) fn hand_back(&self, handed: Handed) {
        self.lock().hand_back(handed);
    }

    /// What was handed over is used, by somebody who holds the server.
    pub(super) fn let_go(&self, slot: usize) {
        self.lock().unpin(slot);
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

    /// Whether there is anybody to send requests to.
    pub(super) fn any_usable(&self, view: u64, now: Instant) -> bool {
        let epoch = self.epoch.now();
        let mut state = self.lock();
        let returned = state.catch_up(epoch, now);
        let usable = state.views.iter().any(|candidate| candidate.id == view && candidate.any_usable());
        drop(state);
        self.log_returned(&returned);
        usable
    }

    pub(super) fn glance(&self, id: ServerId, now: Instant) -> Glance {
        let state = self.lock();
        let (slot, load) = (&state.slots[id.slot()], state.loads[id.slot()]);
        let left = slot.ejected_until().map(|until| until.saturating_duration_since(now));
        Glance {
            in_flight: load,
            ejections: slot.ejections,
            ejected_for: left.filter(|left| !left.is_zero()),
            consecutive_failures: slot.consecutive_failures,
        }
    }

    /// Servers that are held, and views that are open.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        let state = self.lock();
        (state.slots.len(), state.views.len())
    }

    pub(super) fn log_returned(&self, returned: &[ResolvedAddress]) {
        for address in returned {
            tracing::info!(upstream = %self.name, server = %address, "back after an ejection");
        }
    }
}

impl State {
    pub(super) fn now(&self) -> Instant {
        self.told.unwrap_or_else(Instant::now)
    }

    fn pin(&mut self, address: &ResolvedAddress) -> ServerId {
        let slot = match self.by_address.get(address) {
            Some(slot) => *slot,
            None => self.place(address),
        };
        self.slots[slot].pins += 1;
        ServerId::new(slot, self.slots[slot].generation)
    }

    fn place(&mut self, address: &ResolvedAddress) -> usize {
        self.generation = self.generation.wrapping_add(1);
        let fresh = Slot::new(address.clone(), self.generation);
        let slot = match self.free.pop_first() {
            Some(slot) => {
                self.slots[slot] = fresh;
                self.turns[slot] = 0;
                self.latencies[slot] = Latency::default();
                slot
            }
            None => {
                self.slots.push(fresh);
                self.loads.push(0);
                self.turns.push(0);
                self.latencies.push(Latency::default());
                self.slots.len() - 1
            }
        };
        self.by_address.insert(address.clone(), slot);
        slot
    }

    fn unpin(&mut self, slot: usize) {
        self.slots[slot].pins -= 1;
        if self.slots[slot].pins == 0
            && let Some(address) = self.slots[slot].address.take()
        {
            self.by_address.remove(&address);
            self.free.insert(slot);
        }
    }

    /// Ends ejections whose time is over, and brings every view up to date. Who has returned.
    fn catch_up(&mut self, epoch: u64, now: Instant) -> Vec<ResolvedAddress> {
        let mut returned = Vec::new();
        if self.next_return.is_some_and(|first| first <= now) {
            let back = self
                .slots
                .iter_mut()
                .filter_map(|slot| slot.return_by(now).then(|| slot.address.clone()).flatten());
            returned.extend(back);
            self.ejections_changed();
        }
        for view in &mut self.views {
            if !view.is_current(epoch) {
                view.refresh(epoch, &self.slots, &self.loads);
            }
        }
        returned
    }

    /// Brings every view up to date and serves those who wait, if anything has changed for them. Who is to be woken.
    pub(super) fn settle(&mut self, epoch: u64, now: Instant) -> Vec<Waker> {
        for view in &mut self.views {
            if !view.is_current(epoch) {
                view.refresh(epoch, &self.slots, &self.loads);
            }
        }
        let (mut changed, mut opened) = (false, false);
        for view in &mut self.views {
            changed |= std::mem::take(&mut view.refreshed);
            opened |= std::mem::take(&mut view.opened);
        }
        if !changed && !opened {
            return Vec::new();
        }
        let mut queue = std::mem::take(&mut self.queue);
        let mut woken = queue.serve(|view, wanted| self.serve(view, wanted, changed, now));
        if changed {
            woken.extend(queue.wake_all());
        }
        self.queue = queue;
        woken
    }

    /// What comes of waiting in this view; `None`: more waiting. `changed`: not only room may have come, but servers may have gone.
    fn serve(&mut self, view: u64, wanted: &Wanted<'_>, changed: bool, now: Instant) -> Option<Result<Handed, NoServer>> {
        let found = self.views.iter().find(|candidate| candidate.id == view);
        let hopeless = found.is_some_and(|view| !view.has_room() && (!changed || (wanted.tried.is_empty() && view.any_usable())));
        if hopeless {
            return None;
        }
        match self.take(view, wanted, now) {
            Ok(slot) => {
                // No lease holds the server yet.
                self.slots[slot].pins += 1;
                Some(Ok(Handed { view, slot }))
            }
            Err(NoServer::AllFull) => None,
            Err(why) => Some(Err(why)),
        }
    }

    /// The view that a request waits in which began in `home`.
    fn newest(&mut self, home: u64) -> u64 {
        match self.views.iter_mut().find(|view| view.id == self.current) {
            Some(current) => {
                // There may be room that there was none of at home.
                current.opened |= current.id != home;
                current.id
            }
            None => home,
        }
    }

    fn hand_back(&mut self, handed: Handed) {
        self.add(handed.slot, -1);
        self.unpin(handed.slot);
    }

    fn ejections_changed(&mut self) {
        self.next_return = self.slots.iter().filter_map(Slot::ejected_until).min();
        self.views.iter_mut().for_each(|view| view.stale = true);
    }

    fn take(&mut self, view: u64, wanted: &Wanted<'_>, now: Instant) -> Result<usize, NoServer> {
        let Self {
            slots,
            loads,
            turns,
            latencies,
            views,
            random,
            ..
        } = self;
        let view = views
            .iter_mut()
            .find(|candidate| candidate.id == view)
            .ok_or(NoServer::NoneHealthy)?;
        let slots = &*slots;
        let known = |id: &&ServerId| slots.get(id.slot()).is_some_and(|slot| slot.generation == id.generation());
        let tried = wanted.tried.iter().filter(known).map(|id| id.slot());
        let sticky = wanted.sticky.as_ref().filter(known).map(|id| id.slot());
        let kept = sticky.filter(|slot| view.keeps(*slot, loads) && !tried.clone().any(|tried| tried == *slot));
        let slot = match kept {
            Some(slot) => slot,
            None => {
                let mut live = Live {
                    loads,
                    latencies,
                    turns,
                    random,
                };
                view.choose(&mut live, tried, wanted.hash, now)?
            }
        };
        self.add(slot, 1);
        Ok(slot)
    }

    fn release(&mut self, slot: usize, succeeded: bool) {
        if succeeded {
            self.slots[slot].consecutive_failures = 0;
        }
        self.add(slot, -1);
    }

    fn add(&mut self, slot: usize, requests: i32) {
        let load = self.loads[slot].saturating_add_signed(requests);
        self.loads[slot] = load;
        for view in &mut self.views {
            view.update(slot, load);
        }
    }

    /// Notes a failure; views are current. The server's address if that ejects it.
    fn failed(&mut self, slot: usize, passive: Option<&PassiveHealth>, now: Instant) -> Option<ResolvedAddress> {
        let server = &mut self.slots[slot];
        server.consecutive_failures = server.consecutive_failures.saturating_add(1);
        let passive = passive?;
        if server.is_ejected() || !server.failures.note(now, passive.failures.get(), passive.window) {
            return None;
        }
        let mut views = self.views.iter();
        if !views.clone().any(|view| view.uses(slot)) || !views.all(|view| view.may_eject(slot, &self.slots, passive.max_ejected_percent)) {
            return None;
        }
        self.slots[slot].eject(now + passive.eject);
        self.ejections_changed();
        self.slots[slot].address.clone()
    }
}
