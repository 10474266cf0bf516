//! The retry budget: a bound on how much retries may add.
//!
//! When all servers of an upstream fail, retrying each request doubles the load just when there is least to spare. A budget lets retries
//! be a share of the requests of the last ten seconds (as in Finagle and linkerd), and beside that a few a second, so that a quiet
//! upstream can retry at all.
//!
//! A retry counts from the moment it is permitted until ten seconds later, and longer while it is still waiting or under way. Requests
//! count when they arrive and not while they last, so the base does not shrink as first tries end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Seconds that count, the current one included.
const WINDOW: u64 = 10;
/// Cells of a [`Window`]: more than are ever read together.
const CELLS: usize = 16;
/// Retries a second that the share does not limit; also how many may come at once.
const FLOOR: u32 = 10;

/// What happened in each of the last seconds.
#[derive(Debug, Default)]
struct Window {
    /// The second in the upper half, the count in the lower.
    cells: [AtomicU64; CELLS],
}

impl Window {
    fn add(&self, second: u64) {
        let cell = &self.cells[second as usize % CELLS];
        let current = cell.load(Ordering::Relaxed);
        if current >> 32 > second {
            // Too long ago to matter: the cell serves a later second already.
        } else if current >> 32 == second {
            cell.fetch_add(1, Ordering::Relaxed);
        } else if cell
            .compare_exchange(current, second << 32 | 1, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            // Somebody else opened this second in between.
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sum(&self, now: u64) -> u64 {
        let counts = self.cells.iter().map(|cell| cell.load(Ordering::Relaxed));
        counts
            .filter(|count| now.saturating_sub(count >> 32) < WINDOW)
            .map(|count| count & 0xffff_ffff)
            .sum()
    }
}

/// One for each upstream name; it outlives configurations.
#[derive(Debug)]
pub(super) struct Budget {
    start: Instant,
    requests: Window,
    retries: Mutex<Retries>,
    hedges: Mutex<Window>,
}

#[derive(Debug)]
struct Retries {
    /// Those that have ended, by the second in which they were permitted.
    ended: Window,
    under_way: u64,
    /// What is left of the floor, in thousandths of a retry.
    floor: u64,
    filled: Duration,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        let retries = Retries {
            ended: Window::default(),
            under_way: 0,
            floor: u64::from(FLOOR) * 1000,
            filled: Duration::ZERO,
        };
        Self {
            start: now,
            requests: Window::default(),
            retries: Mutex::new(retries),
            hedges: Mutex::default(),
        }
    }

    /// Seconds since the start, beginning where a fresh cell is out of the window.
    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() + WINDOW
    }

    fn retries(&self) -> MutexGuard<'_, Retries> {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has arrived.
    pub(super) fn request_seen(&self, now: Instant) {
        self.requests.add(self.second(now));
    }

    /// Permission for one retry, out of `percent` of the requests or else out of the floor.
    pub(super) fn try_retry(self: &Arc<Self>, percent: u8, now: Instant) -> Option<RetryPermit> {
        let second = self.second(now);
        let share = self.requests.sum(second) * u64::from(percent) / 100;
        let mut retries = self.retries();
        let from_floor = retries.under_way + retries.ended.sum(second) >= share;
        if from_floor {
            retries.fill(now.saturating_duration_since(self.start));
            retries.floor = retries.floor.checked_sub(1000)?;
        } else {
            retries.under_way += 1;
        }
        Some(RetryPermit {
            budget: self.clone(),
            second,
            from_floor,
        })
    }

    /// Counts a second server for a slow request, if `percent` of the requests allow it. Nothing beside the share: where there are few
    /// requests, none is worth a second server.
    pub(super) fn try_hedge(&self, percent: u8, now: Instant) -> bool {
        let second = self.second(now);
        let share = self.requests.sum(second) * u64::from(percent) / 100;
        let hedges = self.hedges.lock().unwrap_or_else(PoisonError::into_inner);
        let may = hedges.sum(second) < share;
        if may {
            hedges.add(second);
        }
        may
    }
}

impl Retries {
    fn fill(&mut self, elapsed: Duration) {
        let millis = elapsed.saturating_sub(self.filled).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        self.filled += Duration::from_millis(millis);
        self.floor = millis
            .saturating_mul(u64::from(FLOOR))
            .saturating_add(self.floor)
            .min(u64::from(FLOOR) * 1000);
    }
}

/// One permitted retry. Hold it until the retry has ended.
#[derive(Debug)]
#[must_use = "the retry counts as under way only while this is held"]
pub struct RetryPermit {
    budget: Arc<Budget>,
    second: u64,
    from_floor: bool,
}

impl Drop for RetryPermit {
    fn drop(&mut self) {
        if !self.from_floor {
            let mut retries = self.budget.retries();
            retries.under_way -= 1;
            retries.ended.add(self.second);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        budget: Arc<Budget>,
        now: Instant,
    }

    impl Case {
        fn new() -> Self {
            let now = Instant::now();
            Self {
                budget: Arc::new(Budget::new(now)),
                now,
            }
        }

        fn requests(&self, n: usize) {
            (0..n).for_each(|_| self.budget.request_seen(self.now));
        }

        /// How many of so many are permitted, all of them held.
        fn retries(&self, n: usize) -> Vec<RetryPermit> {
            (0..n).filter_map(|_| self.budget.try_retry(20, self.now)).collect()
        }

        fn pass(&mut self, millis: u64) {
            self.now += Duration::from_millis(millis);
        }
    }

    #[test]
    fn when_all_fail_together_retries_are_a_share_and_the_floor() {
        let mut case = Case::new();
        case.requests(100);
        case.pass(200);
        let second_tries = case.retries(100);
        assert_eq!(second_tries.len(), 20 + 10);
        case.pass(200);
        drop(second_tries);
        let third_tries = case.retries(30);
        assert_eq!(third_tries.len(), 2, "what ended still counts; the floor has grown by 10 a second");
    }

    #[test]
    fn lone_requests_after_a_storm_may_retry() {
        let mut case = Case::new();
        case.requests(100);
        drop(case.retries(100));
        for _ in 0..5 {
            case.pass(200);
            case.requests(1);
            assert_eq!(case.retries(1).len(), 1);
        }
    }

    #[test]
    fn a_quiet_upstream_may_retry() {
        let case = Case::new();
        case.requests(1);
        assert_eq!(case.retries(20).len(), 10);
    }

    #[test]
    fn the_base_and_what_was_spent_are_forgotten_together() {
        let mut case = Case::new();
        case.requests(100);
        drop(case.retries(100));
        case.pass(9_000);
        case.requests(50);
        assert_eq!(case.retries(100).len(), 10 + 10, "20 % of 150, less 20, and the floor");
        case.pass(10_000);
        assert_eq!(case.retries(100).len(), 10, "nothing but the floor after ten quiet seconds");
    }

    #[test]
    fn retries_that_wait_for_long_count_for_as_long() {
        let mut case = Case::new();
        case.requests(100);
        let waiting = case.retries(20);
        case.pass(30_000);
        case.requests(100);
        assert_eq!(case.retries(100).len(), 10, "the floor: the share is held by those that wait");
        drop(waiting);
        assert_eq!(case.retries(100).len(), 20);
    }

    #[test]
    fn a_steady_load_gets_its_share_and_ten_a_second() {
        let mut case = Case::new();
        let mut permitted = 0;
        for _ in 0..1200 {
            case.pass(50);
            case.requests(10);
            permitted += case.retries(10).len();
        }
        // 60 s of 200 requests a second.
        assert!(
            (2_900..=3_100).contains(&permitted),
            "{permitted} retries, expected 40 + 10 a second"
        );
    }

    #[test]
    fn hedges_are_a_share_of_the_last_ten_seconds_and_nothing_more() {
        let mut case = Case::new();
        let hedges = |case: &Case| (0..100).filter(|_| case.budget.try_hedge(5, case.now)).count();
        case.requests(19);
        assert_eq!(hedges(&case), 0, "less than one in twenty");
        case.requests(81);
        assert_eq!(hedges(&case), 5);
        case.pass(5_000);
        assert_eq!(hedges(&case), 0);
        case.requests(100);
        assert_eq!(hedges(&case), 5);
        case.pass(5_000);
        case.requests(20);
        assert_eq!(hedges(&case), 1, "5 % of 120, less 5");
    }

    #[test]
    fn threads_lose_no_count() {
        let case = Case::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| case.requests(10_000));
            }
        });
        assert_eq!(case.budget.requests.sum(case.budget.second(case.now)), 40_000);
    }
}
