//! When a second server is asked for a slow request (Dean and Barroso, *The Tail at Scale*, 2013).
//!
//! Most slow answers are slow for a reason of one server's own: a collection of garbage, a full queue, a bad disk. Another server, asked once the
//! first has taken longer than nearly all do, most likely answers first, and the slowest requests become as quick as the others, for a few percent
//! more load. The bound on that load is what makes it safe: where *every* server is slow, second requests would only make it worse.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lb_config::HedgeAfter;

use super::Upstream;

/// For how long a percentile that was worked out is used.
const FRESH: Duration = Duration::from_millis(100);

/// The delay that was worked out last.
#[derive(Debug)]
pub(super) struct Delay {
    start: Instant,
    /// Microseconds; 0: not known.
    micros: AtomicU64,
    /// Until when it is used, in milliseconds since the start.
    until: AtomicU64,
}

impl Delay {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            start: now,
            micros: AtomicU64::new(0),
            until: AtomicU64::new(0),
        }
    }

    /// The delay, worked out anew where it is old.
    fn get(&self, now: Instant, work_out: impl FnOnce() -> Option<Duration>) -> Option<Duration> {
        let since = now.saturating_duration_since(self.start).as_millis() as u64;
        if since >= self.until.load(Ordering::Relaxed) {
            // Another thread may do the same meanwhile, and comes to the same.
            self.until.store(since + FRESH.as_millis() as u64, Ordering::Relaxed);
            let micros = work_out().map_or(0, |delay| delay.as_micros() as u64);
            self.micros.store(micros, Ordering::Relaxed);
        }
        match self.micros.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }
}

impl Upstream {
    /// How long a server has before a second one is asked; `None`: none is, or nobody knows yet what is slow.
    pub fn hedge_delay(&self) -> Option<Duration> {
        match self.config.hedge.as_ref()?.after {
            HedgeAfter::Delay(delay) => Some(delay),
            HedgeAfter::Percentile(percent) => {
                let now = Instant::now();
                self.delay.get(now, || self.pool.latencies.percentile(percent, now))
            }
        }
    }

    /// Takes note of how long a server took, or had taken when another one was quicker.
    pub fn took(&self, latency: Duration) {
        if let Some(hedge) = &self.config.hedge
            && matches!(hedge.after, HedgeAfter::Percentile(_))
        {
            self.pool.latencies.observe(latency, Instant::now());
        }
    }

    /// Counts a second server for a slow request, if the upstream's share of them allows it.
    pub fn try_hedge(&self) -> bool {
        let percent = self.config.hedge.as_ref().map_or(0, |hedge| hedge.max_percent);
        self.pool.budget.try_hedge(percent, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_worked_out_now_and_then_and_not_for_each_request() {
        let start = Instant::now();
        let delay = Delay::new(start);
        let ms = Duration::from_millis;
        assert_eq!(delay.get(start, || Some(ms(5))), Some(ms(5)));
        assert_eq!(delay.get(start + ms(50), || unreachable!()), Some(ms(5)));
        assert_eq!(delay.get(start + ms(150), || None), None);
        assert_eq!(delay.get(start + ms(200), || unreachable!()), None);
        assert_eq!(delay.get(start + ms(300), || Some(ms(7))), Some(ms(7)));
    }
}
