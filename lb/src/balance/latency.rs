//! How long a server takes to answer, as far as is known: a peak-sensitive, exponentially weighted moving average.
//!
//! This is what Finagle and linkerd call peak EWMA. A sample that is slower than the average replaces it at once, so that a server that
//! gets slow is noticed by its first slow answer; a faster one is only averaged in, by the time that has passed since the last. So the
//! weight of an old sample depends on its age and not on how many came after it: at 10 and at 10,000 requests a second a peak is
//! forgotten in the same time.
//!
//! While no sample comes the estimate fades to nothing. A server that was slow gets no requests, hence no samples that would show that it
//! is well again; fading is what makes somebody try it again.

use std::time::{Duration, Instant};

/// An estimate falls to 1/e in this time. What Finagle and linkerd have.
const DECAY: Duration = Duration::from_secs(10);
/// A failed try counts as so many times what is usual: an answer that fails at once must not look like a fast one.
const FAILURE: f64 = 4.0;
/// And at least as long as this.
const SHORTEST_FAILURE: Duration = Duration::from_millis(100);
/// Failures in a row do not count for more than this.
const LONGEST_FAILURE: Duration = Duration::from_secs(60);

/// What is known of one server's latency. A default one knows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Latency {
    /// Seconds, and when that was so.
    estimate: Option<(f64, Instant)>,
}

impl Latency {
    /// The estimate in seconds; `None`: there has been no sample.
    pub fn estimate(&self, now: Instant) -> Option<f64> {
        self.estimate.map(|(seconds, then)| seconds * fading(then, now))
    }

    /// Takes what a try took, from being asked to the head of the answer; `ok`: the answer was a good one.
    pub fn observe(&mut self, sample: Duration, ok: bool, now: Instant) {
        let sample = if ok { sample.as_secs_f64() } else { self.penalty(sample, now) };
        let next = match self.estimate {
            Some((seconds, then)) if seconds > sample => sample + (seconds - sample) * fading(then, now),
            _ => sample,
        };
        self.estimate = Some((next, now));
    }

    /// Takes that a server had not answered after so long, when nobody waited any longer. The true latency is higher, so this can only
    /// raise the estimate.
    pub fn observe_unanswered(&mut self, after: Duration, now: Instant) {
        if self.estimate(now).is_none_or(|known| known < after.as_secs_f64()) {
            self.estimate = Some((after.as_secs_f64(), now));
        }
    }

    fn penalty(&self, sample: Duration, now: Instant) -> f64 {
        let usual = self.estimate(now).unwrap_or_default() * FAILURE;
        let bounded = usual.clamp(SHORTEST_FAILURE.as_secs_f64(), LONGEST_FAILURE.as_secs_f64());
        bounded.max(sample.as_secs_f64())
    }
}

/// What is left of a value after this time, from 1 to 0.
fn fading(then: Instant, now: Instant) -> f64 {
    let age = now.saturating_duration_since(then);
    // The same on every machine, so that a simulation is.
    libm::exp(-age.as_secs_f64() / DECAY.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn near(estimate: Option<f64>, expected: Duration) -> bool {
        estimate.is_some_and(|seconds| (seconds - expected.as_secs_f64()).abs() < 0.01 * expected.as_secs_f64())
    }

    #[test]
    fn a_peak_counts_at_once_and_fades_by_time() {
        let start = Instant::now();
        let mut latency = Latency::default();
        assert_eq!(latency.estimate(start), None);
        latency.observe(10 * MILLISECOND, true, start);
        latency.observe(200 * MILLISECOND, true, start);
        assert!(near(latency.estimate(start), 200 * MILLISECOND));
        latency.observe(10 * MILLISECOND, true, start);
        assert!(near(latency.estimate(start), 200 * MILLISECOND), "no time has passed");
        latency.observe(10 * MILLISECOND, true, start + DECAY);
        let expected = Duration::from_secs_f64(0.010 + 0.190 / std::f64::consts::E);
        assert!(near(latency.estimate(start + DECAY), expected), "{latency:?}");
    }

    #[test]
    fn without_samples_the_estimate_fades_to_nothing() {
        let start = Instant::now();
        let mut latency = Latency::default();
        latency.observe(200 * MILLISECOND, true, start);
        assert!(near(
            latency.estimate(start + DECAY),
            Duration::from_secs_f64(0.2 / std::f64::consts::E)
        ));
        let later = start + 30 * DECAY;
        assert!(latency.estimate(later).is_some_and(|seconds| seconds < 1e-9));
        latency.observe(10 * MILLISECOND, true, later);
        assert!(near(latency.estimate(later), 10 * MILLISECOND), "what was is forgotten");
    }

    #[test]
    fn a_peak_is_forgotten_in_the_same_time_at_any_rate() {
        let after = |gap: Duration| {
            let start = Instant::now();
            let mut latency = Latency::default();
            latency.observe(1000 * MILLISECOND, true, start);
            let mut now = start;
            while now < start + DECAY {
                now += gap;
                latency.observe(10 * MILLISECOND, true, now);
            }
            latency.estimate(now).expect("samples")
        };
        let (rarely, often) = (after(1000 * MILLISECOND), after(MILLISECOND));
        assert!((rarely - often).abs() < 0.001, "{rarely} and {often}");
    }

    #[test]
    fn a_fast_failure_does_not_look_like_a_fast_answer() {
        let now = Instant::now();
        let mut latency = Latency::default();
        latency.observe(MILLISECOND, false, now);
        assert!(near(latency.estimate(now), SHORTEST_FAILURE));
        let mut slow = Latency::default();
        slow.observe(300 * MILLISECOND, true, now);
        slow.observe(MILLISECOND, false, now);
        assert!(near(slow.estimate(now), 1200 * MILLISECOND));
        (0..100).for_each(|_| slow.observe(MILLISECOND, false, now));
        assert!(near(slow.estimate(now), LONGEST_FAILURE), "{slow:?}");
    }

    #[test]
    fn waiting_in_vain_only_raises() {
        let now = Instant::now();
        let mut latency = Latency::default();
        latency.observe_unanswered(50 * MILLISECOND, now);
        assert!(near(latency.estimate(now), 50 * MILLISECOND));
        latency.observe_unanswered(20 * MILLISECOND, now);
        assert!(near(latency.estimate(now), 50 * MILLISECOND));
        latency.observe_unanswered(70 * MILLISECOND, now);
        assert!(near(latency.estimate(now), 70 * MILLISECOND));
    }

    proptest! {
        #[test]
        fn it_is_never_above_the_worst_nor_below_the_faded_best(steps in prop::collection::vec((0u64..5_000, 1u64..2_000), 1..50)) {
            let mut now = Instant::now();
            let mut latency = Latency::default();
            let (mut worst, mut best) = (0f64, f64::MAX);
            for (gap, sample) in steps {
                now += Duration::from_millis(gap);
                let sample = Duration::from_millis(sample);
                worst = worst.max(sample.as_secs_f64());
                best = best.min(sample.as_secs_f64());
                latency.observe(sample, true, now);
                let estimate = latency.estimate(now).expect("a sample");
                prop_assert!(estimate <= worst + 1e-9 && estimate >= best - 1e-9 && estimate >= sample.as_secs_f64() - 1e-9);
                let later = latency.estimate(now + Duration::from_secs(1)).expect("a sample");
                prop_assert!(later < estimate);
            }
        }
    }
}
