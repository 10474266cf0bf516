//! How long an upstream's servers take: an estimate of the percentiles of the last seconds, shared by all workers without a lock.
//!
//! Durations are counted in buckets that grow with them, four to each doubling, as in an HDR histogram (Tene, 2012), so that a percentile is found by adding up
//! counts and is too long by a quarter at most. To forget what is old, counts are kept for periods of ten seconds, of which this one and the
//! one before are looked at; a cell is emptied by whoever is the first to count in a new period. Counting is relaxed: a few counts may be lost at such a
//! change, which no percentile shows.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a period is.
const PERIOD: Duration = Duration::from_secs(10);
/// One more than are looked at, for the one that is being emptied.
const PERIODS: usize = 3;
/// Fewer durations than that tell nothing about the last percents of them.
pub(super) const ENOUGH: u64 = 100;
/// Microseconds below that have a bucket each.
const EXACT: u64 = 8;
/// The last doubling that is told apart, from 67 s on.
const LAST: u64 = 26;
const BUCKETS: usize = (EXACT + (LAST - 2) * 4) as usize;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Latencies {
    start: Instant,
    periods: [Counts; PERIODS],
}

#[derive(Debug)]
struct Counts {
    /// Which period they are of; 0: none.
    period: AtomicU64,
    buckets: [AtomicU32; BUCKETS],
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            period: AtomicU64::new(0),
            buckets: [const { AtomicU32::new(0) }; BUCKETS],
        }
    }
}

impl Latencies {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            start: now,
            periods: std::array::from_fn(|_| Counts::default()),
        }
    }

    fn period(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / PERIOD.as_secs() + 1
    }

    /// Counts how long a server took.
    pub(super) fn observe(&self, latency: Duration, now: Instant) {
        let period = self.period(now);
        let counts = &self.periods[period as usize % PERIODS];
        let seen = counts.period.load(Ordering::Relaxed);
        if seen < period
            && counts
                .period
                .compare_exchange(seen, period, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            counts.buckets.iter().for_each(|bucket| bucket.store(0, Ordering::Relaxed));
        }
        counts.buckets[bucket(latency)].fetch_add(1, Ordering::Relaxed);
    }

    /// What `percent` of the durations of the last ten to twenty seconds did not exceed; `None`: there were fewer than [`ENOUGH`].
    pub(super) fn percentile(&self, percent: u8, now: Instant) -> Option<Duration> {
        let period = self.period(now);
        let current = |counts: &&Counts| {
            let counted = counts.period.load(Ordering::Relaxed);
            counted == period || counted + 1 == period && counted > 0
        };
        let mut sums = [0_u64; BUCKETS];
        for counts in self.periods.iter().filter(current) {
            for (sum, count) in sums.iter_mut().zip(&counts.buckets) {
                *sum += u64::from(count.load(Ordering::Relaxed));
            }
        }
        let total: u64 = sums.iter().sum();
        let wanted = (total * u64::from(percent)).div_ceil(100);
        let mut below = 0;
        let found = sums.iter().position(|sum| {
            below += sum;
            below >= wanted
        });
        found.filter(|_| total >= ENOUGH).map(bound)
    }
}

/// Where a duration is counted.
fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).min((1 << (LAST + 1)) - 1);
    if micros < EXACT {
        return micros as usize;
    }
    let doubling = u64::from(micros.ilog2());
    let quarter = (micros >> (doubling - 2)) & 3;
    (EXACT + (doubling - 3) * 4 + quarter) as usize
}

/// What no duration of a bucket exceeds.
fn bound(bucket: usize) -> Duration {
    let bucket = bucket as u64;
    let micros = match bucket.checked_sub(EXACT) {
        None => bucket + 1,
        Some(above) => (4 + above % 4 + 1) << (above / 4 + 1),
    };
    Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_percentile_is_what_so_many_did_not_exceed() {
        let now = Instant::now();
        let latencies = Latencies::new(now);
        (1..=1000).for_each(|n| latencies.observe(millis(n), now));
        for percent in [50, 90, 95, 99] {
            let found = latencies.percentile(percent, now).unwrap();
            let exact = millis(u64::from(percent) * 10);
            assert!(found >= exact && found <= exact.mul_f64(1.25), "p{percent} is {found:?}");
        }
    }

    #[test]
    fn a_few_tell_nothing() {
        let now = Instant::now();
        let latencies = Latencies::new(now);
        (1..ENOUGH).for_each(|_| latencies.observe(millis(1), now));
        assert_eq!(latencies.percentile(50, now), None);
        latencies.observe(millis(1), now);
        assert!(latencies.percentile(50, now).is_some());
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let start = Instant::now();
        let latencies = Latencies::new(start);
        let mut now = start;
        (0..200).for_each(|_| latencies.observe(millis(500), now));
        now += PERIOD;
        (0..200).for_each(|_| latencies.observe(millis(1), now));
        assert!(latencies.percentile(75, now).unwrap() >= millis(500), "the period before counts");
        now += PERIOD;
        (0..200).for_each(|_| latencies.observe(millis(1), now));
        assert!(latencies.percentile(99, now).unwrap() < millis(2), "the one before that does not");
        now += PERIOD * 2;
        assert_eq!(latencies.percentile(50, now), None);
        // The cells come round again.
        (0..200).for_each(|_| latencies.observe(millis(20), now));
        assert!(latencies.percentile(50, now).unwrap() < millis(26));
    }

    #[test]
    fn whatever_is_longest_has_a_place() {
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        assert_eq!(bucket(Duration::ZERO), 0);
        assert!(bound(BUCKETS - 1) >= Duration::from_secs(120));
    }

    proptest! {
        #[test]
        fn a_bound_is_beyond_its_durations_and_not_far(micros in 0..120_000_000_u64, more in 0..1_000_000_u64) {
            let (latency, longer) = (Duration::from_micros(micros), Duration::from_micros(micros + more));
            let bound = bound(bucket(latency));
            prop_assert!(bound > latency && bound <= latency.mul_f64(1.25) + Duration::from_micros(1));
            prop_assert!(bucket(longer) >= bucket(latency));
        }
    }
}
