//! What a balancing configuration would do, found out by doing it: the real algorithms, on simulated servers, in simulated time.
//!
//! This is a discrete-event simulation: nothing happens between two events, so the clock jumps from one to the next, and an hour of traffic
//! takes seconds. What chooses servers is [`crate::upstream`] itself, with its pool, its ties, its limits, its ejections and its
//! retry budget, told the time instead of looking at a clock. What is simulated is everything else: [`Arrivals`], the servers
//! ([`Machine`]), and, in `engine`, the rules of [`crate::exchange`] about what follows a failure.
//!
//! A [`Plan`] says everything, its seed included: the same plan gives the same [`Outcome`], bit for bit, on every machine. Between
//! algorithms, too, only the choices differ: each request comes at the same time and is the same work ([`random`]).
//!
//! Not simulated: connecting and sending (part of the latency), caching, several `lb`s, and what a configuration says about these.
//! `docs/SIMULATE.md` has the list.

mod arrivals;
mod check;
mod engine;
mod event;
mod flight;
mod latency;
pub mod log;
mod machine;
mod outcome;
pub mod plot;
mod queue;
mod random;
pub mod report;
mod tally;
mod tries;
pub mod units;

#[cfg(test)]
mod tests;

pub use arrivals::{Arrival, Arrivals};
pub use latency::Latency;
pub use machine::Machine;
pub use outcome::{Failed, Outcome, ServerOutcome};

use lb_config::Balance;

/// A simulation. It needs nothing else.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The upstream, as its configuration has it.
    pub upstream: lb_config::Upstream,
    /// How each of its servers behaves, in their order.
    pub machines: Vec<Machine>,
    /// The requests.
    pub arrivals: Arrivals,
    /// Where chance starts from.
    pub seed: u64,
}

impl Plan {
    /// Requests a second that those servers can do for ever which get any, backup servers aside; `None`: any number.
    pub fn capacity(&self) -> Option<f64> {
        let servers = self.upstream.servers.iter().zip(&self.machines);
        let working = servers.filter(|(server, _)| server.weight > 0 && !server.backup);
        working.map(|(_, machine)| machine.capacity()).sum()
    }
}

/// Runs the plan with this algorithm to its end: until every request has been answered or has failed. `progress` is told, now and then,
/// how many more have arrived.
pub fn run(plan: &Plan, balance: &Balance, progress: &dyn Fn(u64)) -> Outcome {
    engine::Simulation::new(plan, balance).run(progress)
}

/// Runs the plan with each of the algorithms, on as many threads as there are processors. The outcomes are in the order of `balances`.
pub fn compare(plan: &Plan, balances: &[Balance], progress: &(dyn Fn(u64) + Sync)) -> Vec<Outcome> {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(balances.len());
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, balance)) = take(balances, next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run(plan, balance, progress);
                    done.lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .push((index, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

fn take(balances: &[Balance], index: usize) -> Option<(usize, &Balance)> {
    balances.get(index).map(|balance| (index, balance))
}
