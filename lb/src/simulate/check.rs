//! When servers are checked, where the configuration has active checks.
//!
//! As in [`crate::upstream`]: at once, and then every `interval`, give or take 10 %. A check takes no time, passes while the server is up, and
//! does not queue in it: most servers answer checks beside their work.

use std::time::Duration;

use super::Plan;
use super::engine::nanos;
use super::event::{Event, Events};
use super::random::{Draws, Purpose};

/// First checks are spread over so long.
const FIRST: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Debug)]
pub(super) struct Checks {
    /// Nanoseconds; `None`: nothing is checked.
    interval: Option<u64>,
    draws: Draws,
}

impl Checks {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            interval: plan.upstream.health_check.as_ref().map(|check| nanos(check.interval)),
            draws: Draws::new(plan.seed, Purpose::Checks, 0),
        }
    }

    /// The first check of a server.
    pub(super) fn first(&mut self, server: u32, events: &mut Events) {
        if let Some(interval) = self.interval {
            let at = self.draws.unit() * interval.min(nanos(FIRST)) as f64;
            events.push(at as u64, Event::Check(server));
        }
    }

    /// The one after that at `now`.
    pub(super) fn next(&mut self, server: u32, now: u64, events: &mut Events) {
        if let Some(interval) = self.interval {
            let after = interval as f64 * (0.9 + 0.2 * self.draws.unit());
            events.push(now.saturating_add((after as u64).max(1)), Event::Check(server));
        }
    }
}
