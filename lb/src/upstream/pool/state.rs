//! What happens under the lock of a [`Pool`](super::Pool): every change of live state, and the choices that are made of it.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::task::Waker;
use std::time::{Duration, Instant};

use lb_config::PassiveHealth;
use rand::Rng;

use super::{News, State};
use crate::balance::Latency;
use crate::upstream::NoServer;
use crate::upstream::ResolvedAddress;
use crate::upstream::ServerId;
use crate::upstream::Wanted;
use crate::upstream::limit::{Heard, Room};
use crate::upstream::queue::Handed;
use crate::upstream::resolve::ResolvedServer;
use crate::upstream::slot::Slot;
use crate::upstream::slow_start;
use crate::upstream::slow_start::Warmth;
use crate::upstream::view::Live;
use crate::upstream::view::View;

impl State {
    pub(in crate::upstream) fn now(&self) -> Instant {
        self.told.unwrap_or_else(Instant::now)
    }

    pub(super) fn pin(&mut self, address: &ResolvedAddress) -> ServerId {
        let slot = match self.by_address.get(address) {
            Some(slot) => *slot,
            None => self.place(address),
        };
        self.slots[slot].pins += 1;
        ServerId::new(slot, self.slots[slot].generation)
    }

    pub(super) fn place(&mut self, address: &ResolvedAddress) -> usize {
        self.generation = self.generation.wrapping_add(1);
        let late = self.views.iter().any(View::any_usable);
        let fresh = Slot::new(address.clone(), self.generation, Warmth::new(late));
        let slot = match self.free.pop_first() {
            Some(slot) => {
                self.slots[slot] = fresh;
                self.turns[slot] = 0;
                self.latencies[slot] = Latency::default();
                self.rooms[slot] = Room::default();
                slot
            }
            None => {
                self.slots.push(fresh);
                self.loads.push(0);
                self.turns.push(0);
                self.latencies.push(Latency::default());
                self.rooms.push(Room::default());
                self.slots.len() - 1
            }
        };
        self.by_address.insert(address.clone(), slot);
        slot
    }

    pub(super) fn unpin(&mut self, slot: usize) {
        self.slots[slot].pins -= 1;
        if self.slots[slot].pins == 0
            && let Some(address) = self.slots[slot].address.take()
        {
            self.by_address.remove(&address);
            self.free.insert(slot);
        }
    }

    /// Ends what is over by now, and brings every view up to date.
    pub(super) fn catch_up(&mut self, epoch: u64, now: Instant) -> News {
        let mut news = News::default();
        if self.next_end.is_some_and(|first| first <= now) {
            let back = self
                .slots
                .iter_mut()
                .filter_map(|slot| slot.return_by(now).then(|| slot.address.clone()).flatten());
            news.returned.extend(back);
            self.ends_changed();
        }
        let mut looked = false;
        for view in &mut self.views {
            if !view.is_current(epoch) {
                view.refresh(epoch, &self.slots, &self.loads, &self.rooms);
                looked = true;
            }
        }
        if looked {
            slow_start::look(&mut self.slots, &self.views, now);
            news.panic = self.look_for_panic();
        }
        for view in &mut self.views {
            if looked || view.grows_by(now) {
                view.grow(now, &self.slots, &self.loads, &self.rooms);
            }
        }
        news
    }

    /// Brings everything up to date and serves those who wait, if anything has changed for them. Who is to be woken, and what is to be told.
    pub(in crate::upstream) fn settle(&mut self, epoch: u64, now: Instant) -> (Vec<Waker>, News) {
        let news = self.catch_up(epoch, now);
        let (mut changed, mut opened) = (false, false);
        for view in &mut self.views {
            changed |= std::mem::take(&mut view.refreshed);
            opened |= std::mem::take(&mut view.opened);
        }
        if !changed && !opened {
            return (Vec::new(), news);
        }
        let mut queue = std::mem::take(&mut self.queue);
        let mut woken = queue.serve(|view, wanted| self.serve(view, wanted, changed, now));
        if changed {
            woken.extend(queue.wake_all());
        }
        self.queue = queue;
        (woken, news)
    }

    /// What comes of waiting in this view; `None`: more waiting. `changed`: not only room may have come, but servers may have gone.
    pub(super) fn serve(&mut self, view: u64, wanted: &Wanted<'_>, changed: bool, now: Instant) -> Option<Result<Handed, NoServer>> {
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
    pub(super) fn newest(&mut self, home: u64) -> u64 {
        match self.views.iter_mut().find(|view| view.id == self.current) {
            Some(current) => {
                // There may be room that there was none of at home.
                current.opened |= current.id != home;
                current.id
            }
            None => home,
        }
    }

    pub(super) fn hand_back(&mut self, handed: Handed) {
        self.add(handed.slot, -1);
        self.unpin(handed.slot);
    }

    /// What the latest configuration calls panic counts, once each time that it begins. Whether it has just begun or ended.
    pub(super) fn look_for_panic(&mut self) -> Option<bool> {
        let now = self.views.last().is_some_and(|view| view.panic);
        let changed = now != self.panic;
        self.panic = now;
        self.panics += u64::from(changed && now);
        changed.then_some(now)
    }

    pub(super) fn ends_changed(&mut self) {
        self.next_end = self.slots.iter().filter_map(Slot::next_end).min();
        self.views.iter_mut().for_each(|view| view.stale = true);
    }

    /// The weights that operators have ordered, by slot.
    pub(super) fn ordered(&self) -> HashMap<usize, u32> {
        let ordered = |(n, slot): (usize, &Slot)| Some((n, slot.orders.weight?));
        self.slots.iter().enumerate().filter_map(ordered).collect()
    }

    /// Puts views in the place of those that they were made from, and has all look again who may be used. What they replace is given back,
    /// to be dropped when the lock is free.
    pub(super) fn reshape(&mut self, fresh: Vec<View>) -> Vec<View> {
        if !fresh.is_empty() {
            self.turns.fill(0);
        }
        let mut replaced = Vec::with_capacity(fresh.len());
        for fresh in fresh {
            if let Some(view) = self.views.iter_mut().find(|view| view.id == fresh.id) {
                replaced.push(std::mem::replace(view, fresh));
            }
        }
        self.views.iter_mut().for_each(|view| view.stale = true);
        replaced
    }

    pub(super) fn take(&mut self, view: u64, wanted: &Wanted<'_>, now: Instant) -> Result<usize, NoServer> {
        let Self {
            slots,
            loads,
            turns,
            latencies,
            rooms,
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
        let kept = sticky.filter(|slot| view.keeps(*slot, loads, rooms) && !tried.clone().any(|tried| tried == *slot));
        let slot = match kept {
            Some(slot) => slot,
            None => {
                let mut live = Live {
                    loads,
                    latencies,
                    rooms,
                    turns,
                    random,
                };
                view.choose(&mut live, tried, wanted.hash, now)?
            }
        };
        self.add(slot, 1);
        Ok(slot)
    }

    pub(super) fn release(&mut self, slot: usize, succeeded: bool, answered: bool) {
        if answered {
            self.rooms[slot].left();
        }
        if succeeded {
            self.slots[slot].consecutive_failures = 0;
        }
        self.add(slot, -1);
    }

    pub(super) fn add(&mut self, slot: usize, requests: i32) {
        self.loads[slot] = self.loads[slot].saturating_add_signed(requests);
        self.update(slot);
    }

    /// The configuration in force says this of `max_connections`; requests that began under an earlier one heed it, too.
    pub(super) fn bind(&mut self, said: &HashMap<usize, &ResolvedServer>) {
        let most = |server: &&ResolvedServer| server.max_connections.map_or(u32::MAX, NonZeroU32::get);
        let mut news = false;
        for (slot, room) in self.rooms.iter_mut().enumerate() {
            news |= room.bind(said.get(&slot).map(most));
        }
        if news {
            self.views.iter_mut().for_each(|view| view.stale = true);
        }
    }

    /// All views are told how busy a server is.
    fn update(&mut self, slot: usize) {
        let (load, room) = (self.loads[slot], &self.rooms[slot]);
        for view in &mut self.views {
            view.update(slot, load, room);
        }
    }

    /// A server has answered one of its requests, or failed it.
    pub(super) fn answered(&mut self, slot: usize, heard: Heard, after: Duration, now: Instant) {
        let random = self.random.random();
        self.rooms[slot].answered(heard, after, self.loads[slot], random, now);
        self.update(slot);
    }

    /// Nobody waits any longer for one of its answers.
    pub(super) fn unanswered(&mut self, slot: usize, after: Duration, now: Instant) {
        let random = self.random.random();
        self.rooms[slot].unanswered(after, self.loads[slot], random, now);
        self.update(slot);
    }

    /// Notes a failure; views are current. The server's address, and for how long it is out, if that ejects it.
    pub(super) fn failed(&mut self, slot: usize, passive: Option<&PassiveHealth>, now: Instant) -> Option<(ResolvedAddress, Duration)> {
        let server = &mut self.slots[slot];
        server.consecutive_failures = server.consecutive_failures.saturating_add(1);
        let passive = passive?;
        // Who is out already has nothing to be ejected from.
        if !server.is_on_duty() || server.is_ejected() || !server.failures.note(now, passive.failures.get(), passive.window) {
            return None;
        }
        let mut views = self.views.iter();
        if !views.clone().any(|view| view.uses(slot)) || !views.all(|view| view.may_eject(slot, &self.slots, passive.max_ejected_percent)) {
            return None;
        }
        let lasts = self.slots[slot].eject(now, passive);
        self.ends_changed();
        self.slots[slot].address.clone().map(|address| (address, lasts))
    }
}
