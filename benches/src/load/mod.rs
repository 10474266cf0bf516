//! The loads. What asks as fast as answers come (a closed loop) says what a request costs; what asks at a fixed rate (an open loop) says how
//! long requests take, because a slow answer does not hold back the requests after it.

pub mod client;
pub mod handshakes;
pub mod idle;
pub mod origin;
pub mod paced;
pub mod slowloris;
pub mod wrk;

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
    /// Connections that failed or broke, timeouts, and answers that were not 2xx or 3xx.
    pub errors: u64,
}

impl Load {
    /// From every single latency, in microseconds, and the seconds that they took together.
    pub fn of(mut latencies: Vec<f64>, errors: u64, seconds: f64) -> Load {
        latencies.sort_by(f64::total_cmp);
        // The smallest one that so many in a hundred do not exceed.
        let percentile = |percent: usize| {
            let rank = (latencies.len() * percent).div_ceil(100).max(1);
            latencies.get(rank - 1).copied().unwrap_or(f64::NAN)
        };
        Load {
            requests: latencies.len() as u64,
            rate: latencies.len() as f64 / seconds,
            p50_us: percentile(50),
            p99_us: percentile(99),
            errors,
        }
    }
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
}
