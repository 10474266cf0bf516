//! The live state of an upstream: one for each name, kept as long as anything refers to it, whatever configurations come and go.
//!
//! Everything that must agree stands under one short lock: choosing and taking are one step, and what is returned is returned under the
//! same lock. So "the lowest in flight ÷ weight" and "never above `max_connections`" hold exactly, and not only on average, whatever the
//! number of threads. Under the lock nothing waits, logs or allocates, but for what a reload or a change of health brings.
//!
//! A server is known by its address. It has a [`Slot`] for as long as a configuration or a lease holds it: one that is removed while
//! requests are under way, and then comes back, finds its count as it is.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lb_config::PassiveHealth;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::budget::Budget;
use super::slot::Slot;
use super::view::{Placed, View};
use super::{NoServer, ResolvedAddress, ServerId, Wanted};

/// See the module.
pub(super) struct Pool {
    name: Arc<str>,
    /// Advanced whenever a check changes its mind.
    epoch: Arc<AtomicU64>,
    state: Mutex<State>,
    pub(super) budget: Arc<Budget>,
}

struct State {
    /// By slot, like the two after it.
    slots: Vec<Slot>,
    loads: Vec<u32>,
    turns: Vec<i32>,
    by_address: HashMap<ResolvedAddress, usize>,
    free: BTreeSet<usize>,
    generation: u32,
    views: Vec<View>,
    next_view: u64,
    /// When the first ejection ends.
    next_return: Option<Instant>,
    random: SmallRng,
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
    pub(super) fn new(name: Arc<str>, epoch: Arc<AtomicU64>, now: Instant) -> Self {
        let state = State {
            slots: Vec::new(),
            loads: Vec::new(),
            turns: Vec::new(),
            by_address: HashMap::new(),
            free: BTreeSet::new(),
            generation: 0,
            views: Vec::new(),
            next_view: 0,
            next_return: None,
            random: SmallRng::from_os_rng(),
        };
        Self {
            name,
            epoch,
            state: Mutex::new(state),
            budget: Arc::new(Budget::new(now)),
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        drop(state);
        drop(closed);
    }

    /// Chooses a server and takes it, in one step. The caller owes a [`release`](Self::release).
    pub(super) fn take(&self, view: u64, wanted: &Wanted<'_>, now: impl FnOnce() -> Instant) -> Result<usize, NoServer> {
        let epoch = self.epoch.load(Ordering::Acquire);
        let mut state = self.lock();
        let returned = state.catch_up(epoch, now);
        let taken = state.take(view, wanted);
        drop(state);
        self.log_returned(&returned);
        taken
    }

    /// The end of what [`take`](Self::take) began; `succeeded`: with a good answer.
    pub(super) fn release(&self, id: ServerId, succeeded: bool) {
        self.lock().release(id.slot(), succeeded);
    }

    /// A failure that is this server's. It may be what ejects it.
    pub(super) fn failed(&self, id: ServerId, passive: Option<&PassiveHealth>, now: Instant) {
        let epoch = self.epoch.load(Ordering::Acquire);
        let mut state = self.lock();
        let returned = state.catch_up(epoch, || now);
        let ejected = state.failed(id.slot(), passive, now);
        drop(state);
        self.log_returned(&returned);
        if let (Some(address), Some(passive)) = (ejected, passive) {
            let (failures, window, eject) = (passive.failures, passive.window, passive.eject);
            tracing::warn!(upstream = %self.name, server = %address, "ejected for {eject:?} after {failures} failures within {window:?}");
        }
    }

    /// Whether there is anybody to send requests to.
    pub(super) fn any_usable(&self, view: u64, now: Instant) -> bool {
        let epoch = self.epoch.load(Ordering::Acquire);
        let mut state = self.lock();
        let returned = state.catch_up(epoch, || now);
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

    fn log_returned(&self, returned: &[ResolvedAddress]) {
        for address in returned {
            tracing::info!(upstream = %self.name, server = %address, "back after an ejection");
        }
    }
}

impl State {
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
                slot
            }
            None => {
                self.slots.push(fresh);
                self.loads.push(0);
                self.turns.push(0);
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
    fn catch_up(&mut self, epoch: u64, now: impl FnOnce() -> Instant) -> Vec<ResolvedAddress> {
        let mut returned = Vec::new();
        if let Some(first) = self.next_return {
            let now = now();
            if first <= now {
                let back = self
                    .slots
                    .iter_mut()
                    .filter_map(|slot| slot.return_by(now).then(|| slot.address.clone()).flatten());
                returned.extend(back);
                self.ejections_changed();
            }
        }
        for view in &mut self.views {
            if !view.is_current(epoch) {
                view.refresh(epoch, &self.slots, &self.loads);
            }
        }
        returned
    }

    fn ejections_changed(&mut self) {
        self.next_return = self.slots.iter().filter_map(Slot::ejected_until).min();
        self.views.iter_mut().for_each(|view| view.stale = true);
    }

    fn take(&mut self, view: u64, wanted: &Wanted<'_>) -> Result<usize, NoServer> {
        let Self {
            slots,
            loads,
            turns,
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
            None => view.choose(loads, turns, tried, wanted.hash, random)?,
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
