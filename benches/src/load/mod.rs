//! The loads. What asks as fast as answers come (a closed loop) says what a request costs; what asks at a fixed rate (an open loop) says how
//! long requests take, because a slow answer does not hold back the requests after it.

pub mod client;
pub mod handshakes;
pub mod idle;
pub mod origin;
pub mod paced;
pub mod slowloris;
pub mod wrk;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::measure::median;

/// What a load saw.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Answers.
    pub requests: u64,
    /// Answers a second.
    pub rate: f64,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// 99th percentile in microseconds.
    pub p99_us: f64,
    /// The median over short windows of the 99th percentile within each; only of open loops.
    pub steady_p99_us: Option<f64>,
    /// Connections that failed or broke, timeouts, and answers that were not 2xx or 3xx.
    pub errors: u64,
}

impl Load {
    /// From every single latency, in microseconds, and the seconds that they took together.
    pub fn of(mut latencies: Vec<f64>, errors: u64, seconds: f64) -> Load {
        latencies.sort_by(f64::total_cmp);
        Load {
            requests: latencies.len() as u64,
            rate: latencies.len() as f64 / seconds,
            p50_us: percentile(&latencies, 50),
            p99_us: percentile(&latencies, 99),
            steady_p99_us: None,
            errors,
        }
    }
}

/// The smallest value that so many in a hundred do not exceed, of sorted ones.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// How long a window of [`steady_p99`] is.
const WINDOW: Duration = Duration::from_millis(200);

/// The median over windows of the 99th percentile within each, from latencies and the time since the start at which each request was due.
///
/// A virtual machine loses its cores for milliseconds now and then, which is enough to make the 99th percentile of a whole second. What a proxy does
/// by itself it does in most windows.
pub fn steady_p99(latencies: &[(Duration, f64)]) -> f64 {
    let mut windows: BTreeMap<u128, Vec<f64>> = BTreeMap::new();
    for (due, latency) in latencies {
        windows.entry(due.as_nanos() / WINDOW.as_nanos()).or_default().push(*latency);
    }
    let tails = windows.into_values().map(|mut window| {
        window.sort_by(f64::total_cmp);
        percentile(&window, 99)
    });
    median(tails.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_latency_that_was_seen() {
        let load = Load::of((1..=200).rev().map(f64::from).collect(), 0, 2.0);
        assert_eq!((load.requests, load.rate, load.p50_us, load.p99_us), (200, 100.0, 100.0, 198.0));
        assert!(Load::of(Vec::new(), 3, 1.0).p99_us.is_nan());
        assert_eq!(Load::of(vec![7.0], 0, 1.0).p99_us, 7.0);
    }

    #[test]
    fn a_moment_of_the_machine_does_not_make_the_steady_tail() {
        let of = |millis: u64| if (400..410).contains(&millis) { 9_000.0 } else { 100.0 };
        let latencies: Vec<_> = (0..1000).map(|millis| (Duration::from_millis(millis), of(millis))).collect();
        assert_eq!(steady_p99(&latencies), 100.0);
        let all: Vec<_> = latencies.iter().map(|(_, latency)| *latency).chain([9_000.0; 10]).collect();
        assert_eq!(Load::of(all, 0, 1.0).p99_us, 9_000.0);
    }
}
