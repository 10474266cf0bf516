//! The course of events: arrivals, ends of tries, outages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_config::Balance;

use super::check::Checks;
use super::event::{Event, Events};
use super::flight::{Failure, Flight, Flights, Held, Phase};
use super::machine::Working;
use super::queue::Bell;
use super::random::{Draws, Purpose};
use super::tally::{End, Tally};
use super::{Arrival, Outcome, Plan};
use crate::upstream::{NoServer, Upstream, Wanted};

/// Arrivals between two reports of progress.
const STRIDE: u64 = 4096;

/// See the module. All times are nanoseconds from the start.
pub(super) struct Simulation<'a> {
    pub(super) plan: &'a Plan,
    pub(super) upstream: Upstream,
    /// The moment that stands for 0.
    pub(super) start: Instant,
    pub(super) now: u64,
    pub(super) events: Events,
    pub(super) flights: Flights,
    servers: Vec<Working>,
    pub(super) tally: Tally,
    /// `timeouts.read`: after this time without an answer, the next server is asked.
    patience: u64,
    /// `timeouts.request`.
    limit: Option<u64>,
    /// Whether there is a queue.
    pub(super) queues: bool,
    checks: Checks,
    pub(super) bell: Arc<Bell>,
}

impl<'a> Simulation<'a> {
    pub(super) fn new(plan: &'a Plan, balance: &Balance) -> Self {
        let start = Instant::now();
        let config = lb_config::Upstream {
            balance: balance.clone(),
            ..plan.upstream.clone()
        };
        let mut events = Events::default();
        for (server, machine) in (0u32..).zip(&plan.machines) {
            for (from, to) in &machine.down {
                events.push(*from, Event::Down(server));
                events.push(*to, Event::Up(server));
            }
        }
        let mut checks = Checks::new(plan);
        (0u32..)
            .zip(&plan.machines)
            .for_each(|(server, _)| checks.first(server, &mut events));
        Self {
            plan,
            checks,
            patience: nanos(config.timeouts.read),
            limit: config.timeouts.request.map(nanos),
            queues: config.queue.is_some(),
            bell: Arc::default(),
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
        let ejections = servers.map(|server| server.ejections()).collect();
        self.tally.outcome(self.upstream.config(), ejections, self.now)
    }

    /// The time as the balancer is told it.
    pub(super) fn at(&self) -> Instant {
        self.start + Duration::from_nanos(self.now)
    }

    fn step(&mut self) {
        let Some((at, event)) = self.events.pop() else { return };
        self.now = at;
        if self.queues {
            self.upstream.tell_time(self.at());
        }
        match event {
            Event::Due { flight, stamp } if self.flights.is_current(flight, stamp) => self.due(flight),
            Event::Look { flight, stamp } if self.flights.is_current(flight, stamp) => self.look(flight, stamp),
            Event::Due { .. } | Event::Look { .. } => {}
            Event::Down(server) => self.goes_down(server as usize),
            Event::Up(server) => self.servers[server as usize].start(),
            Event::Check(server) => {
                let passed = !self.servers[server as usize].is_down();
                self.upstream.checked(server as usize, passed);
                self.checks.next(server, at, &mut self.events);
            }
        }
        self.serve();
    }

    fn arrive(&mut self, arrival: Arrival, number: u64) {
        self.now = arrival.at;
        if self.queues {
            self.upstream.tell_time(self.at());
        }
        self.upstream.request_seen_at(self.at());
        let id = self.flights.insert(Flight::new(arrival, number, self.limit));
        self.ask(id);
        self.serve();
    }

    /// Takes a server that this request has not tried.
    pub(super) fn pick(&mut self, id: u32) -> Result<Held, NoServer> {
        let now = self.at();
        let flight = self.flights.get(id).ok_or(NoServer::NoneHealthy)?;
        let wanted = Wanted {
            hash: flight.hash,
            tried: &flight.tried,
            sticky: None,
        };
        let lease = self.upstream.pick_at(&wanted, now)?;
        let server = self.upstream.position(lease.server());
        let load = self.tally.taken(server, self.now);
        debug_assert!(
            self.queues || load == lease.server().in_flight(),
            "what is counted here and by the pool"
        );
        Ok((lease, server))
    }

    /// A server has nothing more to do for a request.
    pub(super) fn give_back(&mut self, held: Option<Held>) {
        if let Some((_, server)) = held {
            self.tally.left(server, self.now);
        }
    }

    /// Sends the request to the server that it holds or to one that has room, and to others as long as there is no connection.
    pub(super) fn ask(&mut self, id: u32) {
        if !self.holds(id) {
            return;
        }
        while !self.send(id) {
            if !self.failed(id, Failure::Connect) {
                return;
            }
        }
    }

    /// Whether the server takes it. If so, what comes of it is an event.
    fn send(&mut self, id: u32) -> bool {
        let (now, seed) = (self.now, self.plan.seed);
        let Some(flight) = self.flights.get(id) else { return true };
        let Some((_, server)) = flight.held else { return true };
        debug_assert!(flight.place.is_none());
        flight.asked = now;
        self.tally.asked(server);
        if self.servers[server].is_down() {
            return false;
        }
        let draw = flight.draw();
        flight.count += 1;
        let machine = &self.plan.machines[server];
        let work = machine.latency.draw(&mut Draws::new(seed, Purpose::Work, draw));
        let done = self.servers[server].take(now, work);
        let late = now.saturating_add(self.patience).min(flight.deadline);
        flight.phase = if done > late {
            Phase::TimedOut
        } else if machine.fail > 0.0 && Draws::new(seed, Purpose::Luck, draw).unit() < machine.fail {
            Phase::Status
        } else {
            Phase::Answered
        };
        self.schedule(id, done.min(late));
        true
    }

    /// What the request does now is over then.
    pub(super) fn schedule(&mut self, id: u32, at: u64) -> u32 {
        let stamp = self.flights.stamp(id);
        self.events.push(at, Event::Due { flight: id, stamp });
        stamp
    }

    fn due(&mut self, id: u32) {
        let Some(flight) = self.flights.get(id) else { return };
        match std::mem::replace(&mut flight.phase, Phase::Paused) {
            Phase::Paused => self.ask(id),
            Phase::Waiting => self.waited(id, NoServer::TooLong),
            Phase::Answered => self.answered(id),
            Phase::Status => self.status(id),
            Phase::TimedOut => {
                self.failed(id, Failure::Timeout);
            }
        }
    }

    fn goes_down(&mut self, server: usize) {
        self.servers[server].stop();
        for id in self.flights.at(server) {
            self.flights.stamp(id);
            if let Some(flight) = self.flights.get(id) {
                flight.phase = Phase::Paused;
            }
            self.failed(id, Failure::Reset);
        }
    }

    /// The request is over.
    pub(super) fn end(&mut self, id: u32, end: End) {
        let Some(flight) = self.flights.remove(id) else { return };
        // An answer that was set aside is better than none.
        let end = match end {
            End::Failed(_) if flight.spare.is_some() => End::Status,
            end => end,
        };
        self.give_back(flight.held);
        self.give_back(flight.spare);
        self.tally.ended(end, self.now - flight.arrived);
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
