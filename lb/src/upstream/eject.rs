//! Passive health: taking out a server whose answers fail.
//!
//! Active checks ask whether a server could work; this looks at whether it did. So many failures within a window take it out for a
//! while. The danger is in the other direction: a request that breaks every server, or a fault of the network on this side, must not take
//! out a whole upstream. Hence the bounds: never more than a share of the servers, rounded down and counted with the new one, and never
//! the last that is eligible.
//!
//! A server that fails again as soon as it is back is better left alone for longer. So the n-th ejection in a row lasts `eject` × 2ⁿ⁻¹,
//! up to [`LONGEST`] (as in Envoy's outlier detection, which multiplies by n). How many are in a row is forgotten by and by: one for each
//! [calm](row_after) time that it is back and not ejected again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lb_config::PassiveHealth;

/// No ejection lasts longer, unless `eject` itself does.
pub(super) const LONGEST: Duration = Duration::from_secs(300);

/// The next ejection after so many in a row: how many it makes, and how long it lasts. The number stops where the time does, so that it
/// is forgotten in time.
pub(super) fn next(before: u32, passive: &PassiveHealth) -> (u32, Duration) {
    let longest = LONGEST.max(passive.eject);
    let lasts = |row: u32| {
        let factor = 1u32.checked_shl(row - 1).unwrap_or(u32::MAX);
        passive.eject.saturating_mul(factor).min(longest)
    };
    match before {
        0 => (1, lasts(1)),
        _ if lasts(before) == longest => (before, longest),
        _ => (before + 1, lasts(before + 1)),
    }
}

/// What is left of a row of ejections when the last of them ended so long ago: one less for each `eject` or `window`, whichever is longer.
pub(super) fn row_after(row: u32, ago: Duration, passive: &PassiveHealth) -> u32 {
    let calm = passive.eject.max(passive.window).as_nanos().max(1);
    row.saturating_sub(u32::try_from(ago.as_nanos() / calm).unwrap_or(u32::MAX))
}

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

    fn passive(eject: u64, window: u64) -> PassiveHealth {
        PassiveHealth {
            failures: std::num::NonZeroU32::MIN,
            window: Duration::from_secs(window),
            eject: Duration::from_secs(eject),
            max_ejected_percent: 50,
        }
    }

    #[test]
    fn each_ejection_in_a_row_lasts_twice_as_long_up_to_five_minutes() {
        let passive = passive(10, 10);
        let mut row = 0;
        let mut times = Vec::new();
        for _ in 0..8 {
            let (now, lasts) = next(row, &passive);
            row = now;
            times.push(lasts.as_secs());
        }
        assert_eq!(times, [10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(row, 6, "the number stops where the time does");
    }

    #[test]
    fn an_eject_beyond_the_longest_stays_as_it_is() {
        let passive = passive(3_600, 10);
        assert_eq!(next(0, &passive), (1, Duration::from_secs(3_600)));
        assert_eq!(next(1, &passive), (1, Duration::from_secs(3_600)));
    }

    #[test]
    fn the_row_is_forgotten_one_by_one_while_it_is_calm() {
        let passive = passive(10, 30);
        let after = |seconds| row_after(3, Duration::from_secs(seconds), &passive);
        assert_eq!(
            [after(0), after(29), after(30), after(60), after(90), after(9_999)],
            [3, 3, 2, 1, 0, 0]
        );
    }

    proptest! {
        #[test]
        fn an_ejection_is_never_shorter_than_eject_nor_longer_than_the_bound(before in 0u32..200, eject in 1u64..10_000) {
            let passive = passive(eject, 10);
            let (row, lasts) = next(before, &passive);
            prop_assert!(row >= 1 && row <= before + 1);
            prop_assert!(lasts >= passive.eject && lasts <= LONGEST.max(passive.eject));
        }

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
