//! How long things took, as counts of fixed ranges.
//!
//! prometheus' own histogram keeps two sets of buckets and a lock for scrapes, so that a scrape is exact. Ours is two relaxed additions;
//! a scrape in between may see a count without its sum, which no graph shows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in nanoseconds, each included in its own. One more bucket is for what is longer.
const BOUNDS: [u64; 15] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// A histogram of durations.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// Nanoseconds, which is enough for 584 years.
    sum: AtomicU64,
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().filter(|&&bound| nanos > bound).count();
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What it has come to.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            buckets: self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.sum.load(Ordering::Relaxed)),
        }
    }
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    buckets: [u64; BOUNDS.len() + 1],
    /// All durations together.
    pub sum: Duration,
}

impl Snapshot {
    /// How many durations there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// For each finite bound, in seconds, how many were not longer.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        BOUNDS.iter().zip(self.buckets).scan(0, |below, (&bound, count)| {
            *below += count;
            Some((bound as f64 / 1e9, *below))
        })
    }

    /// The bound that a share of the durations (0 to 1) did not exceed; `None` where there were none, or where they were beyond the last.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let wanted = ((count as f64 * share).ceil() as u64).max(1);
        let (bound, _) = self.cumulative().find(|&(_, below)| below >= wanted)?;
        Some(Duration::from_secs_f64(bound))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(500));
        histogram.observe(Duration::from_nanos(500_001));
        histogram.observe(Duration::from_secs(30));
        histogram.observe(Duration::MAX);
        let cumulative: Vec<_> = histogram.snapshot().cumulative().collect();
        assert_eq!(cumulative[..2], [(0.0005, 1), (0.001, 2)]);
        assert_eq!(cumulative[13..], [(10.0, 2), (30.0, 3)]);
        assert_eq!(histogram.snapshot().count(), 4);
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let histogram = Histogram::default();
        assert_eq!(histogram.snapshot().quantile(0.5), None);
        for millis in 1..=100 {
            histogram.observe(Duration::from_millis(millis));
        }
        assert_eq!(histogram.snapshot().quantile(0.0), Some(Duration::from_millis(1)));
        assert_eq!(histogram.snapshot().quantile(0.5), Some(Duration::from_millis(50)));
        assert_eq!(histogram.snapshot().quantile(0.99), Some(Duration::from_millis(100)));
    }

    proptest! {
        #[test]
        fn counts_never_fall_and_nothing_is_lost(micros in proptest::collection::vec(0..40_000_000u64, 0..50)) {
            let histogram = Histogram::default();
            micros.iter().for_each(|&micros| histogram.observe(Duration::from_micros(micros)));
            let snapshot = histogram.snapshot();
            prop_assert_eq!(snapshot.count(), micros.len() as u64);
            prop_assert_eq!(snapshot.sum, Duration::from_micros(micros.iter().sum()));
            for (bound, below) in snapshot.cumulative() {
                let expected = micros.iter().filter(|&&micros| micros as f64 / 1e6 <= bound).count();
                prop_assert_eq!(below, expected as u64);
            }
        }
    }
}
