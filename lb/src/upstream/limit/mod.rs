//! `adaptive_concurrency`: how many requests a server is given at once, learned from how long it takes.
//!
//! `max_connections` is a number that somebody has to know, for each server, for all times. Too low, it wastes the server; too high, it does not
//! help: a server that is given more than it can do answers all of it late. Here the limit is found by the [`rule`] and follows the server.
//!
//! What counts is requests whose server has not given the head of an answer yet, and what is measured is the time until then. Long downloads, event
//! streams and tunnels are therefore no load in this sense: they would fill any limit, and say nothing about how busy the server is.
//!
//! Samples are gathered in windows. A change of the limit shows only after the requests from before it are answered, so a window begins one latency after
//! the end of the one before; it lasts as long as an answer takes at least, so that quick ones are not over-represented, and until there are
//! [`ENOUGH`] samples. A sample counts for [`LONGEST`] times what is usual at most: one slow request among many says little about the server.
//!
//! A client that leaves teaches nothing, unless it has waited for so long that its patience was not the problem ([`LATE`]). Where everybody leaves, there
//! would otherwise be no samples at all, and a server that answers all too late would keep its limit for ever.

mod rule;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use http::StatusCode;
use rule::{Learned, Window};

/// Samples that tell something together.
const ENOUGH: u32 = 16;
/// No window is shorter: a moment's pause of the machine would fill a whole one.
const SHORTEST: Duration = Duration::from_millis(100);
/// What a sample counts for at most, in multiples of what is usual.
const LONGEST: f64 = 8.0;
/// Between two trials of a limit in use; a tenth more or less.
const TRIAL: Duration = Duration::from_secs(30);
/// And in multiples of what is usual: a trial takes a few, so that it costs next to nothing.
const TRIAL_COSTS: f64 = 100.0;

/// What a try has come to, as far as it tells something about its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A good answer.
    Good,
    /// None in time, or one that says that the server has too much to do.
    Overloaded,
    /// Something else that is wrong.
    Bad,
}

impl From<StatusCode> for Heard {
    /// An answer of this status, or a failure that counts as one: 504 is no answer in time.
    fn from(status: StatusCode) -> Self {
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Heard::Overloaded,
            StatusCode::BAD_GATEWAY => Heard::Bad,
            _ => Heard::Good,
        }
    }
}

/// See the module. A default one knows nothing.
#[derive(Debug, Clone, Copy, Default)]
struct Limit {
    learned: Learned,
    gathered: Gathered,
    next_trial: Option<Instant>,
}

/// The window under way.
#[derive(Debug, Clone, Copy, Default)]
struct Gathered {
    from: Option<Instant>,
    answers: u32,
    lost: u32,
    /// Of answers, in seconds.
    latency: f64,
    /// Of losses, too.
    took: f64,
    most: u32,
}

/// A server's limit, and what does not count towards it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Room {
    limit: Limit,
    /// Requests in flight whose answer has begun.
    answered: u32,
    /// `max_connections` as the configuration in force has it; `None`: it does not have the server.
    in_force: Option<u32>,
}

impl Room {
    /// Requests at once.
    pub(super) fn limit(&self) -> u32 {
        self.limit.get()
    }

    /// `max_connections`, where `own` is what a configuration says that may be an earlier one.
    pub(super) fn most(&self, own: u32) -> u32 {
        self.in_force.unwrap_or(own)
    }

    /// This is what the configuration in force says of `max_connections`. Whether that is news.
    pub(super) fn bind(&mut self, in_force: Option<u32>) -> bool {
        std::mem::replace(&mut self.in_force, in_force) != in_force
    }

    /// Whether a server with so many requests in flight gets no more, as far as is known of it.
    pub(super) fn is_full(&self, load: u32) -> bool {
        self.waiting(load) >= self.limit.get()
    }

    fn waiting(&self, load: u32) -> u32 {
        load.saturating_sub(self.answered)
    }

    /// One of so many requests in flight has come to this. Whoever says so owes [`Room::left`].
    pub(super) fn answered(&mut self, heard: Heard, after: Duration, load: u32, random: f64, now: Instant) {
        self.limit.observe(heard, after, self.waiting(load), random, now);
        self.answered += 1;
    }

    /// Nobody waits any longer for the answer to one of so many requests in flight.
    pub(super) fn unanswered(&mut self, after: Duration, load: u32, random: f64, now: Instant) {
        self.limit.observe_unanswered(after, self.waiting(load), random, now);
    }

    /// A request is over whose answer had begun.
    pub(super) fn left(&mut self) {
        self.answered = self.answered.saturating_sub(1);
    }
}

impl Limit {
    /// Requests at once; never 0.
    fn get(&self) -> u32 {
        self.learned.limit as u32
    }

    /// A try has come to this after so long, while so many waited for an answer, itself included. `random`: from 0 to 1.
    fn observe(&mut self, heard: Heard, after: Duration, waiting: u32, random: f64, now: Instant) {
        if heard != Heard::Bad {
            self.gather(heard == Heard::Good, after.as_secs_f64(), waiting, random, now);
        }
    }

    /// Nobody waits any longer for an answer that had not come after so long.
    fn observe_unanswered(&mut self, after: Duration, waiting: u32, random: f64, now: Instant) {
        let after = after.as_secs_f64();
        let in_vain = match self.learned.usual {
            Some(usual) => after > usual,
            None => waiting >= self.get(),
        };
        if in_vain {
            self.gather(false, after, waiting, random, now);
        }
    }

    fn gather(&mut self, good: bool, after: f64, waiting: u32, random: f64, now: Instant) {
        let gathered = &mut self.gathered;
        let from = *gathered.from.get_or_insert(now);
        if now < from {
            return;
        }
        let after = self.learned.usual.map_or(after, |usual| after.min(LONGEST * usual));
        gathered.take(good, after, waiting);
        let samples = gathered.answers + gathered.lost;
        let (mean, lasted) = (gathered.took / f64::from(samples), now.saturating_duration_since(from));
        let shortest = if self.learned.is_fresh() { Duration::ZERO } else { SHORTEST };
        if samples >= ENOUGH && lasted >= shortest.max(Duration::from_secs_f64(mean)) {
            self.learn(mean, lasted, random, now);
        }
    }

    /// A window is over that lasted so long, in which tries took so many seconds.
    fn learn(&mut self, took: f64, lasted: Duration, random: f64, now: Instant) {
        let before = self.learned;
        let due = !before.is_fresh() && self.next_trial.is_none_or(|at| at <= now);
        self.learned = before.next(&self.gathered.window(lasted, due));
        if before.is_on_trial() && !self.learned.is_on_trial() {
            let usual = Duration::from_secs_f64(self.learned.usual.unwrap_or_default() * TRIAL_COSTS);
            self.next_trial = Some(now + TRIAL.max(usual).mul_f64(0.9 + 0.2 * random));
        }
        let settles = if self.learned.limit == before.limit { 0.0 } else { took };
        self.gathered = Gathered {
            from: Some(now + Duration::from_secs_f64(settles)),
            ..Gathered::default()
        };
    }
}

impl Gathered {
    fn take(&mut self, good: bool, after: f64, waiting: u32) {
        if good {
            self.answers += 1;
            self.latency += after;
        } else {
            self.lost += 1;
        }
        self.took += after;
        self.most = self.most.max(waiting);
    }

    fn window(&self, lasted: Duration, due: bool) -> Window {
        let samples = f64::from(self.answers + self.lost);
        // A clock may be too coarse for the quickest.
        let latency = (self.latency / f64::from(self.answers)).max(1e-6);
        Window {
            latency: (self.answers > 0).then_some(latency),
            throughput: f64::from(self.answers) / lasted.as_secs_f64(),
            most: self.most,
            lost: f64::from(self.lost) / samples,
            due,
        }
    }
}
