//! The simulated servers.
//!
//! A server has workers, each of which does one request at a time; what comes while all are busy waits, first come, first served. Work is
//! done to its end, also when `lb` has stopped waiting for it, as most servers would. Because the queue is in order and the work of a request is
//! known when it arrives, so is the time of its end: it goes to the worker that will be free first. No event but the end is needed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;

use super::Latency;

/// How a server behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// How long a worker needs for a request.
    pub latency: Latency,
    /// Requests that it works on at once; `None`: any number.
    pub workers: Option<NonZeroU32>,
    /// The share of its answers, 0 to 1, that are a 503.
    pub fail: f64,
    /// When it is down, from and to, in nanoseconds from the start. What it works on then is cut, and connections are refused.
    pub down: Vec<(u64, u64)>,
}

impl Machine {
    /// Up all the time, without failures.
    pub fn new(latency: Latency, workers: Option<NonZeroU32>) -> Self {
        Self {
            latency,
            workers,
            fail: 0.0,
            down: Vec::new(),
        }
    }

    /// Requests a second that it can do for ever; `None`: any number.
    pub fn capacity(&self) -> Option<f64> {
        self.workers
            .map(|workers| f64::from(workers.get()) / self.latency.mean().as_secs_f64())
    }
}

/// A server at work.
#[derive(Debug)]
pub(super) struct Working {
    workers: Option<NonZeroU32>,
    /// When each worker that has ever worked is free again.
    free: BinaryHeap<Reverse<u64>>,
    /// Outages that it is in.
    down: u32,
}

impl Working {
    pub(super) fn new(machine: &Machine) -> Self {
        Self {
            workers: machine.workers,
            free: BinaryHeap::new(),
            down: 0,
        }
    }

    pub(super) fn is_down(&self) -> bool {
        self.down > 0
    }

    /// An outage begins: all work is lost.
    pub(super) fn stop(&mut self) {
        self.down += 1;
        self.free.clear();
    }

    /// An outage ends.
    pub(super) fn start(&mut self) {
        self.down = self.down.saturating_sub(1);
    }

    /// Takes a request that comes at `now` and is work for so long. When it will be done.
    pub(super) fn take(&mut self, now: u64, work: u64) -> u64 {
        let Some(workers) = self.workers else {
            return now.saturating_add(work);
        };
        if self.free.len() < workers.get() as usize {
            let end = now.saturating_add(work);
            self.free.push(Reverse(end));
            return end;
        }
        let Some(mut first) = self.free.peek_mut() else {
            return now.saturating_add(work);
        };
        first.0 = first.0.max(now).saturating_add(work);
        first.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn working(workers: u32) -> Working {
        Working::new(&Machine::new(Latency::Constant(0.01), NonZeroU32::new(workers)))
    }

    #[test]
    fn what_finds_no_free_worker_waits_for_the_first_that_will_be() {
        let mut server = working(2);
        assert_eq!(server.take(0, 10), 10);
        assert_eq!(server.take(1, 3), 4);
        assert_eq!(server.take(2, 10), 14, "the second worker is free at 4");
        assert_eq!(server.take(2, 1), 11, "the first one at 10");
        assert_eq!(server.take(100, 5), 105);
    }

    #[test]
    fn without_a_number_of_workers_nothing_waits() {
        let mut server = working(0);
        assert!((0..100).all(|_| server.take(5, 10) == 15));
    }

    #[test]
    fn an_outage_takes_all_work_with_it() {
        let mut server = working(1);
        server.take(0, 1000);
        server.stop();
        server.stop();
        server.start();
        assert!(server.is_down());
        server.start();
        assert!(!server.is_down());
        assert_eq!(server.take(10, 5), 15);
    }

    #[test]
    fn capacity_is_workers_by_time() {
        let machine = Machine::new(Latency::Constant(0.02), NonZeroU32::new(10));
        assert!((machine.capacity().expect("a number") - 500.0).abs() < 1e-9);
        assert_eq!(Machine::new(Latency::Constant(0.02), None).capacity(), None);
    }
}
