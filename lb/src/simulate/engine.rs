//! The course of events.
//!
//! What follows a failure is what [`crate::exchange`] does about it: which server is charged, whether the request may be repeated, and whether the
//! budget allows it. The order of the steps is the same too, since a lease that is given back before or after the next one is taken
//! makes another choice.

use std::time::{Duration, Instant};

use lb_config::Balance;

use super::event::{Event, Events};
use super::flight::{Failure, Fate, Flight, Flights};
use super::machine::Working;
use super::random::{Draws, Purpose};
use super::tally::{End, Tally};
use super::{Arrival, Outcome, Plan};
use crate::upstream::{Lease, NoServer, Upstream, Wanted};

/// Tries of one request that have draws of their own.
const TRIES: u64 = 1 << 16;
/// Arrivals between two reports of progress.
const STRIDE: u64 = 4096;

/// See the module. All times are nanoseconds from the start.
pub(super) struct Simulation<'a> {
    plan: &'a Plan,
    upstream: Upstream,
    /// The moment that stands for 0.
    start: Instant,
    now: u64,
    events: Events,
    flights: Flights,
    servers: Vec<Working>,
    tally: Tally,
    /// After this time without an answer, the next server is asked.
    patience: u64,
}

impl<'a> Simulation<'a> {
    pub(super) fn new(plan: &'a Plan, balance: &Balance) -> Self {
        let start = Instant::now();
        let config = lb_config::Upstream {
            balance: balance.clone(),
            health_check: None,
            ..plan.upstream.clone()
        };
        let mut events = Events::default();
        for (server, machine) in (0u32..).zip(&plan.machines) {
            for (from, to) in &machine.down {
                events.push(*from, Event::Down(server));
                events.push(*to, Event::Up(server));
            }
        }
        Self {
            plan,
            patience: nanos(config.timeouts.read),
            upstream: Upstream::simulated(&config, Draws::new(plan.seed, Purpose::Balancer, 0).next(), start),
            start,
            now: 0,
            events,
            flights: Flights::default(),
            servers: plan.machines.iter().map(Working::new).collect(),
            tally: Tally::new(plan.machines.len()),
        }
    }

    /// To the end.
    pub(super) fn run(mut self, progress: &dyn Fn(u64)) -> Outcome {
        let mut arrivals = self.plan.arrivals.stream(self.plan.seed).zip(0..).peekable();
        let mut unsaid = 0;
        loop {
            match (arrivals.peek(), self.events.next_at()) {
                // A request that arrives as another one ends finds its server free.
                (Some((arrival, _)), Some(due)) if due <= arrival.at => self.step(),
                (Some(_), _) => {
                    if let Some((arrival, number)) = arrivals.next() {
                        self.arrive(arrival, number);
                        unsaid += 1;
                    }
                    if unsaid == STRIDE {
                        progress(std::mem::take(&mut unsaid));
                    }
                }
                (None, Some(_)) if self.flights.len() > 0 => self.step(),
                (None, _) => break,
            }
        }
        progress(unsaid);
        let servers = self.upstream.servers().iter();
        debug_assert!(servers.clone().all(|server| server.in_flight() == 0), "every lease has come back");
        let ejections = servers.map(|server| server.ejections());
        self.tally.outcome(self.upstream.config(), ejections.collect(), self.now)
    }

    fn at(&self) -> Instant {
        self.start + Duration::from_nanos(self.now)
    }

    fn step(&mut self) {
        let Some((at, event)) = self.events.pop() else { return };
        self.now = at;
        match event {
            Event::Ended { flight, stamp } if self.flights.is_current(flight, stamp) => self.ended(flight),
            Event::Ended { .. } => {}
            Event::Down(server) => self.goes_down(server as usize),
            Event::Up(server) => self.servers[server as usize].start(),
        }
    }

    fn arrive(&mut self, arrival: Arrival, number: u64) {
        self.now = arrival.at;
        self.upstream.request_seen_at(self.at());
        let id = self.flights.insert(Flight {
            arrived: arrival.at,
            number,
            hash: arrival.hash,
            idempotent: arrival.idempotent,
            held: None,
            asked: arrival.at,
            fate: Fate::Answered,
            tried: Vec::new(),
            count: 0,
            charged: false,
            permit: None,
        });
        match self.pick(id) {
            Ok(held) => {
                if let Some(flight) = self.flights.get(id) {
                    flight.held = Some(held);
                }
                self.ask(id);
            }
            Err(NoServer::AllFull) => self.end(id, End::Full),
            Err(NoServer::AllTried | NoServer::NoneHealthy) => self.end(id, End::NoServer),
        }
    }

    fn pick(&mut self, id: u32) -> Result<(Lease, usize), NoServer> {
        let now = self.at();
        let flight = self.flights.get(id).ok_or(NoServer::NoneHealthy)?;
        let wanted = Wanted {
            hash: flight.hash,
            tried: &flight.tried,
            sticky: None,
        };
        let lease = self.upstream.pick_at(&wanted, || now)?;
        let server = self.upstream.position(lease.server());
        let load = self.tally.taken(server, self.now);
        debug_assert_eq!(load, lease.server().in_flight(), "what is counted here and by the pool");
        Ok((lease, server))
    }

    /// Sends the request to the server that it holds, and to others as long as there is no connection.
    fn ask(&mut self, id: u32) {
        while !self.send(id) {
            if !self.failed(id, Failure::Connect) {
                return;
            }
        }
    }

    /// Whether the server takes it. If so, its end is an event.
    fn send(&mut self, id: u32) -> bool {
        let (now, seed) = (self.now, self.plan.seed);
        let Some(flight) = self.flights.get(id) else { return true };
        let Some((_, server)) = flight.held else { return true };
        flight.asked = now;
        self.tally.asked(server);
        if self.servers[server].is_down() {
            return false;
        }
        let draw = flight.number.wrapping_mul(TRIES).wrapping_add(flight.count.into());
        flight.count += 1;
        let machine = &self.plan.machines[server];
        let work = machine.latency.draw(&mut Draws::new(seed, Purpose::Work, draw));
        let done = self.servers[server].take(now, work);
        let late = now.saturating_add(self.patience);
        flight.fate = if done > late {
            Fate::TimedOut
        } else if machine.fail > 0.0 && Draws::new(seed, Purpose::Luck, draw).unit() < machine.fail {
            Fate::Status
        } else {
            Fate::Answered
        };
        let stamp = self.flights.stamp(id);
        self.events.push(done.min(late), Event::Ended { flight: id, stamp });
        true
    }

    fn ended(&mut self, id: u32) {
        let now = self.at();
        let Some(flight) = self.flights.get(id) else { return };
        match flight.fate {
            Fate::Answered => {
                let took = Duration::from_nanos(self.now - flight.asked);
                if let Some((lease, _)) = &flight.held {
                    lease.observed_at(took, true, now);
                    lease.succeeded();
                }
                self.end(id, End::Answered);
            }
            Fate::Status => self.status(id),
            Fate::TimedOut => self.fails(id, Failure::Timeout),
        }
    }

    fn goes_down(&mut self, server: usize) {
        self.servers[server].stop();
        for id in self.flights.at(server) {
            self.flights.stamp(id);
            self.fails(id, Failure::Reset);
        }
    }

    fn fails(&mut self, id: u32, failure: Failure) {
        if self.failed(id, failure) {
            self.ask(id);
        }
    }

    /// The server gave no answer. Whether there is another one to ask now; otherwise the request has failed.
    fn failed(&mut self, id: u32, failure: Failure) -> bool {
        let now = self.at();
        let Some(flight) = self.flights.get(id) else { return false };
        let reached = failure != Failure::Connect;
        if let Some((lease, server)) = flight.held.take() {
            lease.observed_at(Duration::from_nanos(self.now - flight.asked), false, now);
            if !reached || !flight.charged {
                lease.failed_at(now);
            }
            flight.charged |= reached;
            flight.tried.push(lease.server().id());
            self.tally.failed(server);
            self.tally.left(server, self.now);
        }
        let again = self.may_retry(id, failure) && self.switch(id);
        if !again {
            self.end(id, End::Failed(failure));
        }
        again
    }

    fn may_retry(&mut self, id: u32, failure: Failure) -> bool {
        let (Some(retry), Some(flight)) = (&self.plan.upstream.retry, self.flights.get(id)) else {
            return false;
        };
        match failure {
            Failure::Connect => retry.on.connect,
            Failure::Reset => retry.on.reset && flight.idempotent && flight.count < retry.attempts.get(),
            Failure::Timeout => retry.on.timeout && flight.idempotent && flight.count < retry.attempts.get(),
        }
    }

    /// The server answered 503: another one is asked, or the answer stands.
    fn status(&mut self, id: u32) {
        let now = self.at();
        let retry = self.plan.upstream.retry.as_ref();
        let Some(flight) = self.flights.get(id) else { return };
        let may = retry.is_some_and(|retry| retry.on.status_503 && flight.idempotent && flight.count < retry.attempts.get());
        let Some((lease, server)) = flight.held.take() else { return };
        lease.observed_at(Duration::from_nanos(self.now - flight.asked), false, now);
        self.tally.failed(server);
        // The next server is taken first, and this one given back then.
        flight.tried.push(lease.server().id());
        let again = may && self.switch(id);
        let Some(flight) = self.flights.get(id) else { return };
        if !std::mem::replace(&mut flight.charged, true) {
            lease.failed_at(now);
        }
        self.tally.left(server, self.now);
        drop(lease);
        if again {
            self.ask(id);
        } else {
            self.end(id, End::Status);
        }
    }

    /// Takes a server that was not tried yet, within the budget.
    fn switch(&mut self, id: u32) -> bool {
        let now = self.at();
        let Ok((lease, server)) = self.pick(id) else { return false };
        let Some(flight) = self.flights.get(id) else { return false };
        // Tries that got no connection put no load on anything, and cost nothing.
        if flight.count > 0 {
            match self.upstream.try_retry_at(now) {
                Some(permit) => flight.permit = Some(permit),
                None => {
                    self.tally.left(server, self.now);
                    return false;
                }
            }
        }
        flight.held = Some((lease, server));
        self.tally.retried();
        true
    }

    fn end(&mut self, id: u32, end: End) {
        let Some(flight) = self.flights.remove(id) else { return };
        if let Some((_, server)) = flight.held {
            self.tally.left(server, self.now);
        }
        self.tally.ended(end, self.now - flight.arrived);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
