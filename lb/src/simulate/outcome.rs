//! What a simulation has come to.

use hdrhistogram::Histogram;

/// Of one plan with one algorithm.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// As the configuration file names it.
    pub algorithm: &'static str,
    /// Requests that arrived; each has ended, one way or another.
    pub requests: u64,
    /// Those that got no good answer.
    pub failed: Failed,
    /// Tries after the first of a request.
    pub retries: u64,
    /// From arrival to the good answer, tries before it included, in microseconds. Failed requests are not in it.
    pub latency: Histogram<u64>,
    /// Requests under way at a server, on average over time and servers.
    pub mean_load: f64,
    /// From the start to the last answer, in simulated seconds.
    pub seconds: f64,
    /// Each of them, in file order.
    pub servers: Vec<ServerOutcome>,
}

/// Requests without a good answer, by what the client got instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Failed {
    /// No server accepted a connection.
    pub connect: u64,
    /// The server went down.
    pub reset: u64,
    /// No answer within `timeouts.read`.
    pub timeout: u64,
    /// A server's 503.
    pub status: u64,
    /// Every server was at its `max_connections`.
    pub full: u64,
    /// The queue was full besides.
    pub queue_full: u64,
    /// It waited for a server for as long as it may.
    pub queued_too_long: u64,
    /// No server was up.
    pub no_server: u64,
}

impl Failed {
    /// Together.
    pub fn total(&self) -> u64 {
        self.connect + self.reset + self.timeout + self.status + self.full + self.queue_full + self.queued_too_long + self.no_server
    }
}

/// One server's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerOutcome {
    /// Its address as the file has it.
    pub name: String,
    /// Its share.
    pub weight: u32,
    /// Whether it was used only while no other was usable.
    pub backup: bool,
    /// How often it was asked, refused connections included.
    pub tries: u64,
    /// How many of those failed.
    pub failures: u64,
    /// How often it was ejected.
    pub ejections: u64,
    /// The most requests that it had under way at once.
    pub max_load: u32,
}

/// An empty histogram of microseconds: three digits, up to a day and a half, what is beyond counts as that.
pub(super) fn histogram() -> Histogram<u64> {
    #[allow(clippy::expect_used, reason = "the bounds are constant and right, as every test shows")]
    Histogram::new_with_bounds(1, 1 << 37, 3).expect("1, 2³⁷ and 3 digits are bounds that a histogram can have")
}

impl Outcome {
    /// The time, in seconds, within which this share (0 to 1) of the good answers came; `None` without any.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        (!self.latency.is_empty()).then(|| self.latency.value_at_quantile(share) as f64 / 1e6)
    }

    /// The most requests that any server had under way at once.
    pub fn max_load(&self) -> u32 {
        self.servers.iter().map(|server| server.max_load).max().unwrap_or(0)
    }

    /// Times that a server was ejected.
    pub fn ejections(&self) -> u64 {
        self.servers.iter().map(|server| server.ejections).sum()
    }

    /// The share of all tries, 0 to 1, that this server got.
    pub fn share(&self, server: &ServerOutcome) -> f64 {
        let all: u64 = self.servers.iter().map(|server| server.tries).sum();
        server.tries as f64 / all.max(1) as f64
    }

    /// How uneven the tries were: `max ÷ mean` of the tries of a unit of weight, over all servers but backup ones and those of weight 0;
    /// and their coefficient of variation (standard deviation ÷ mean). Even is 1 and 0.
    pub fn imbalance(&self) -> (f64, f64) {
        let counted = self.servers.iter().filter(|server| server.weight > 0 && !server.backup);
        let each: Vec<f64> = counted.map(|server| server.tries as f64 / f64::from(server.weight)).collect();
        let mean = each.iter().sum::<f64>() / each.len().max(1) as f64;
        if mean == 0.0 {
            return (1.0, 0.0);
        }
        let most = each.iter().copied().fold(0.0, f64::max);
        let variance = each.iter().map(|tries| (tries - mean) * (tries - mean)).sum::<f64>() / each.len() as f64;
        (most / mean, variance.sqrt() / mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(servers: &[(u32, u64)]) -> Outcome {
        let server = |(weight, tries): &(u32, u64)| ServerOutcome {
            name: "10.0.0.1:80".into(),
            weight: *weight,
            backup: false,
            tries: *tries,
            failures: 0,
            ejections: 0,
            max_load: 0,
        };
        Outcome {
            algorithm: "random",
            requests: 0,
            failed: Failed::default(),
            retries: 0,
            latency: histogram(),
            mean_load: 0.0,
            seconds: 0.0,
            servers: servers.iter().map(server).collect(),
        }
    }

    #[test]
    fn imbalance_is_by_weight() {
        assert_eq!(outcome(&[(1, 10), (3, 30), (0, 0)]).imbalance(), (1.0, 0.0));
        let (most, variation) = outcome(&[(1, 10), (1, 30)]).imbalance();
        assert_eq!((most, variation), (1.5, 0.5));
        assert_eq!(outcome(&[(1, 0), (1, 0)]).imbalance(), (1.0, 0.0));
    }

    #[test]
    fn quantiles_are_right_to_three_digits() {
        let mut outcome = outcome(&[]);
        assert_eq!(outcome.quantile(0.5), None);
        for millis in 1..=1000u64 {
            outcome.latency.saturating_record(millis * 1000);
        }
        for (share, seconds) in [(0.5, 0.5), (0.99, 0.99), (1.0, 1.0)] {
            let found = outcome.quantile(share).expect("some");
            assert!((found / seconds - 1.0).abs() < 0.001, "{found}");
        }
    }
}
