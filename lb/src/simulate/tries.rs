//! What follows an answer, or a failure.
//!
//! These are the rules of [`crate::exchange`]: which server is charged, whether the request may be repeated and after which pause, and whether
//! the budget and the deadline allow it. The order of the steps is the same too, since a lease that is given back before or after the
//! next one is taken makes another choice.

use std::time::Duration;

use super::engine::Simulation;
use super::flight::Failure;
use super::random::{Draws, Purpose};
use super::tally::End;
use crate::exchange::{UNREACHED, pause};
use crate::upstream::{Heard, NoServer};

impl Simulation<'_> {
    /// The server gave a good answer.
    pub(super) fn answered(&mut self, id: u32) {
        let now = self.at();
        let Some(flight) = self.flights.get(id) else { return };
        if let Some((lease, _)) = &flight.held {
            lease.observed_at(Duration::from_nanos(self.now - flight.asked), Heard::Good, now);
            lease.succeeded();
        }
        self.end(id, End::Answered);
    }

    /// The server answered 503: another one is asked, or the answer stands.
    pub(super) fn status(&mut self, id: u32) {
        let now = self.at();
        let retry = self.plan.upstream.retry.as_ref();
        let Some(flight) = self.flights.get(id) else { return };
        let listed = retry.is_some_and(|retry| retry.on.status_503 && flight.count < retry.attempts.get());
        let may = listed && flight.idempotent && self.now < flight.deadline;
        let Some((lease, server)) = flight.held.take() else { return };
        lease.observed_at(Duration::from_nanos(self.now - flight.asked), Heard::Overloaded, now);
        self.tally.failed(server);
        // The next server is taken first, and this one is kept while it is asked.
        flight.tried.push(lease.server().id());
        let waits = if may { self.switch(id, true, false) } else { None };
        let Some(flight) = self.flights.get(id) else { return };
        if !std::mem::replace(&mut flight.charged, true) {
            lease.failed_at(now);
        }
        let before = flight.spare.replace((lease, server));
        self.give_back(before);
        match waits {
            Some(pause) => self.go_on(id, pause),
            None => self.end(id, End::Status),
        }
    }

    /// The server gave no answer. Another one is asked, or the request has failed. Whether one is to be asked at once.
    pub(super) fn failed(&mut self, id: u32, failure: Failure) -> bool {
        let now = self.at();
        let limit = self.plan.upstream.timeouts.request;
        let Some(flight) = self.flights.get(id) else { return false };
        let reached = failure != Failure::Connect;
        let (late, took) = (flight.deadline <= self.now, Duration::from_nanos(self.now - flight.asked));
        // A server that got a request when most of its time was gone did nothing wrong.
        let to_blame = failure != Failure::Timeout || !late || limit.is_none_or(|limit| took * 2 >= limit);
        let held = flight.held.take();
        if let Some((lease, server)) = &held {
            match to_blame {
                true => lease.observed_at(took, failure.heard(), now),
                false => lease.unanswered_at(took, now),
            }
            if to_blame && (!reached || !std::mem::replace(&mut flight.charged, true)) {
                lease.failed_at(now);
            }
            flight.tried.push(lease.server().id());
            self.tally.failed(*server);
        }
        self.give_back(held);
        let waits = if !late && self.may_retry(id, failure) {
            self.switch(id, reached, true)
        } else {
            None
        };
        match waits {
            None => {
                self.end(id, End::Failed(failure));
                false
            }
            Some(0) if !reached => self.holds(id),
            Some(pause) => {
                self.go_on(id, pause);
                false
            }
        }
    }

    fn may_retry(&mut self, id: u32, failure: Failure) -> bool {
        let (Some(retry), Some(flight)) = (&self.plan.upstream.retry, self.flights.get(id)) else {
            return false;
        };
        let again = flight.idempotent && flight.count < retry.attempts.get();
        match failure {
            Failure::Connect => retry.on.connect && flight.tried.len().saturating_sub(flight.count as usize) < UNREACHED,
            Failure::Reset => retry.on.reset && again,
            Failure::Timeout => retry.on.timeout && again,
        }
    }

    /// Takes a server that was not tried yet, within the budget and the time that is left, and says how long to wait before it is asked.
    /// `reached`: the last one got a connection. `waits`: where all are full, it lines up after the pause; not when it has got an answer.
    fn switch(&mut self, id: u32, reached: bool, waits: bool) -> Option<u64> {
        let now = self.at();
        let flight = self.flights.get(id)?;
        let random = || Draws::new(self.plan.seed, Purpose::Pauses, flight.draw()).unit();
        let pause = if reached { pause(flight.count, random()) } else { None };
        let pause = pause.map_or(0, |pause| pause.as_nanos() as u64);
        if pause > 0 && self.now + pause >= flight.deadline {
            return None;
        }
        let waits = waits && self.queues && flight.spare.is_none();
        let held = match self.pick(id) {
            Ok(held) => Some(held),
            Err(NoServer::AllFull) if waits => None,
            Err(_) => return None,
        };
        let flight = self.flights.get(id)?;
        // Tries that got no connection put no load on anything, and cost nothing.
        if flight.count > 0 {
            match self.upstream.try_retry_at(now) {
                Some(permit) => flight.permit = Some(permit),
                None => {
                    self.give_back(held);
                    return None;
                }
            }
        }
        flight.held = held;
        self.tally.retried();
        Some(pause)
    }

    /// Asks the server that is held, after the pause.
    fn go_on(&mut self, id: u32, pause: u64) {
        match pause {
            0 => self.ask(id),
            _ => {
                self.schedule(id, self.now + pause);
            }
        }
    }
}
