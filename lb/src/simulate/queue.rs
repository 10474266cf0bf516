//! Waiting for a server that has room.
//!
//! The queue is that of [`crate::upstream`]. A task would be woken by its waker when the queue has something for it; here the waker notes the
//! request's place, and after each event those that are noted fetch what they have got.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

use super::engine::{Simulation, nanos};
use super::event::Event;
use super::flight::{Held, Phase};
use super::tally::End;
use crate::upstream::{Entry, Lease, NoServer, Wanted};

/// Requests that the queue has something for, in the order in which it told them.
#[derive(Debug, Default)]
pub(super) struct Bell(Mutex<Vec<u32>>);

/// One request's waker.
struct Rope(u32, Arc<Bell>);

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.1.0.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
    }
}

impl Simulation<'_> {
    /// Whether the request holds a server now. Otherwise it waits for one, or is over.
    pub(super) fn holds(&mut self, id: u32) -> bool {
        let now = self.at();
        let Some(flight) = self.flights.get(id) else { return false };
        if flight.held.is_some() {
            return true;
        }
        if !self.queues {
            return match self.pick(id) {
                Ok(held) => self.hold(id, held),
                Err(why) => self.refused(id, why),
            };
        }
        let wanted = Wanted {
            hash: flight.hash,
            tried: &flight.tried,
            sticky: None,
        };
        match self.upstream.line_up_at(&wanted, now) {
            Ok(Entry::Lease(lease)) => {
                let held = self.take(lease);
                self.hold(id, held)
            }
            Ok(Entry::Place(place)) => {
                flight.place = Some(place);
                flight.phase = Phase::Waiting;
                let patience = self.plan.upstream.queue.map_or(0, |queue| nanos(queue.timeout));
                let until = self.now.saturating_add(patience).min(flight.deadline);
                let stamp = self.schedule(id, until);
                self.look(id, stamp);
                false
            }
            Err(why) => self.refused(id, why),
        }
    }

    fn hold(&mut self, id: u32, held: Held) -> bool {
        if let Some(flight) = self.flights.get(id) {
            flight.held = Some(held);
        }
        true
    }

    fn refused(&mut self, id: u32, why: NoServer) -> bool {
        self.end(id, End::NoServer(why));
        false
    }

    fn take(&mut self, lease: Lease) -> Held {
        let server = self.upstream.position(lease.server());
        self.tally.taken(server, self.now);
        (lease, server)
    }

    /// Has the request told when the queue has something for it; looks again when an ejection ends.
    pub(super) fn look(&mut self, id: u32, stamp: u32) {
        let (bell, start, now) = (self.bell.clone(), self.start, self.at());
        let Some(place) = self.flights.get(id).and_then(|flight| flight.place.as_ref()) else {
            return;
        };
        let waker = Waker::from(Arc::new(Rope(id, bell)));
        if place.poll_at(&Context::from_waker(&waker), now).is_ready() {
            waker.wake();
        } else if let Some(next) = place.next_look() {
            self.events
                .push(nanos(next.saturating_duration_since(start)), Event::Look { flight: id, stamp });
        }
    }

    /// Those that the queue has told something go on.
    pub(super) fn serve(&mut self) {
        loop {
            let told = std::mem::take(&mut *self.bell.0.lock().unwrap_or_else(PoisonError::into_inner));
            if told.is_empty() {
                return;
            }
            for id in told {
                self.told(id);
            }
        }
    }

    fn told(&mut self, id: u32) {
        let now = self.at();
        let Some(place) = self.flights.get(id).and_then(|flight| flight.place.as_ref()) else {
            return;
        };
        match place.outcome_at(now) {
            Some(Ok(granted)) => {
                let lease = self.upstream.lease(granted);
                let Some(flight) = self.flights.get(id) else { return };
                (flight.place, flight.phase) = (None, Phase::Paused);
                self.flights.stamp(id);
                if let Some(lease) = lease {
                    let held = self.take(lease);
                    self.hold(id, held);
                }
                self.ask(id);
            }
            Some(Err(why)) => self.waited(id, why),
            None => {
                let stamp = self.flights.current(id);
                self.look(id, stamp);
            }
        }
    }

    /// The waiting was in vain.
    pub(super) fn waited(&mut self, id: u32, why: NoServer) {
        if let Some(flight) = self.flights.get(id) {
            flight.place = None;
        }
        self.end(id, End::NoServer(why));
    }
}
