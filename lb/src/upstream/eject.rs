//! Passive health: taking out a server whose answers fail.
//!
//! Active checks ask whether a server could work; this looks at whether it did. So many failures within a window take it out for a
//! while, after which it returns as if nothing had been. The danger is in the other direction: a request that breaks every server, or a
//! fault of the network on this side, must not take out a whole upstream. Hence the bounds: never more than a share of the servers,
//! rounded down and counted with the new one, and never the last that is eligible.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// When a server failed lately.
#[derive(Debug, Default)]
pub(super) struct Failures {
    times: VecDeque<Instant>,
}

impl Failures {
    /// Notes a failure. Whether there have now been `enough` within `window`.
    pub(super) fn note(&mut self, now: Instant, enough: u32, window: Duration) -> bool {
        self.times.push_back(now);
        let enough = enough as usize;
        let old = |time: &Instant| now.saturating_duration_since(*time) > window;
        while self.times.len() > enough || self.times.front().is_some_and(old) {
            self.times.pop_front();
        }
        self.times.len() >= enough
    }

    /// As if there had been none.
    pub(super) fn forget(&mut self) {
        self.times.clear();
    }
}

/// Whether one more of `total` servers may be out when `already` are.
pub(super) fn within_share(total: usize, already: usize, percent: u8) -> bool {
    (already + 1) * 100 <= total * usize::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn failures_count_only_within_the_window() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut failures = Failures::default();
        let window = Duration::from_secs(10);
        assert!(!failures.note(at(0), 3, window));
        assert!(!failures.note(at(9), 3, window));
        assert!(!failures.note(at(12), 3, window));
        assert!(failures.note(at(19), 3, window));
        assert!(failures.note(at(20), 3, window), "it stays so while it goes on");
        failures.forget();
        assert!(!failures.note(at(20), 3, window));
        assert!(failures.note(at(100), 1, window));
    }

    #[test]
    fn the_share_is_rounded_down_and_counts_the_new_one() {
        assert!(within_share(3, 0, 50) && !within_share(3, 1, 50));
        assert!(within_share(3, 1, 67) && !within_share(3, 2, 67));
        assert!(!within_share(1, 0, 50) && within_share(1, 0, 100));
        assert!(!within_share(100, 0, 0));
    }

    proptest! {
        #[test]
        fn memory_is_bounded_by_what_is_enough(enough in 1u32..20, gaps in prop::collection::vec(0u64..5, 0..200)) {
            let mut failures = Failures::default();
            let mut now = Instant::now();
            for gap in gaps {
                now += Duration::from_secs(gap);
                failures.note(now, enough, Duration::from_secs(10));
                prop_assert!(failures.times.len() <= enough as usize);
            }
        }
    }
}
