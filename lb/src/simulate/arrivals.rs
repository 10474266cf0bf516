//! Who asks, and when.

use super::random::{Draws, Purpose};
use crate::balance::hash_key;

/// The requests of a simulation.
#[derive(Debug, Clone, PartialEq)]
pub enum Arrivals {
    /// A Poisson process: many clients that do not know of each other.
    Random {
        /// Requests a second.
        rate: f64,
        /// How many there are.
        requests: u64,
        /// How many different clients, paths or cookies they have, all alike: what `hash` and `maglev` go by. At least 1.
        keys: u32,
    },
    /// What was once recorded, in the order of the times.
    Recorded(Vec<Arrival>),
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// In nanoseconds from the start.
    pub at: u64,
    /// What [`hash_key`] makes of what `hash_on` names.
    pub hash: u64,
    /// Whether it may be repeated after it has reached a server.
    pub idempotent: bool,
}

impl Arrivals {
    /// How many there are.
    pub fn count(&self) -> u64 {
        match self {
            Self::Random { requests, .. } => *requests,
            Self::Recorded(all) => all.len() as u64,
        }
    }

    /// One after the other.
    pub(super) fn stream(&self, seed: u64) -> Stream<'_> {
        match self {
            Self::Random { rate, requests, keys } => Stream::Random {
                gap: 1e9 / rate,
                left: *requests,
                keys: (*keys).max(1),
                at: 0,
                gaps: Draws::new(seed, Purpose::Arrivals, 0),
                clients: Draws::new(seed, Purpose::Clients, 0),
            },
            Self::Recorded(all) => Stream::Recorded(all.iter()),
        }
    }
}

/// Requests still to come.
#[derive(Debug)]
pub(super) enum Stream<'a> {
    Random {
        /// The mean, in nanoseconds.
        gap: f64,
        left: u64,
        keys: u32,
        at: u64,
        gaps: Draws,
        clients: Draws,
    },
    Recorded(std::slice::Iter<'a, Arrival>),
}

impl Iterator for Stream<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        match self {
            Self::Recorded(all) => all.next().copied(),
            Self::Random {
                gap,
                left,
                keys,
                at,
                gaps,
                clients,
            } => {
                *left = left.checked_sub(1)?;
                *at = at.saturating_add((-*gap * libm::log(gaps.unit())) as u64);
                Some(Arrival {
                    at: *at,
                    // As an IPv4 address would be.
                    hash: hash_key(&clients.below(*keys).to_be_bytes()),
                    idempotent: true,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_at_the_rate_in_order_and_the_same_each_time() {
        let arrivals = Arrivals::Random {
            rate: 1000.0,
            requests: 50_000,
            keys: 10,
        };
        let all: Vec<_> = arrivals.stream(3).collect();
        assert_eq!(all.len(), 50_000);
        assert!(all.windows(2).all(|pair| pair[0].at <= pair[1].at));
        let seconds = all[49_999].at as f64 / 1e9;
        assert!((seconds - 50.0).abs() < 1.0, "{seconds}");
        let keys: std::collections::HashSet<_> = all.iter().map(|arrival| arrival.hash).collect();
        assert_eq!(keys.len(), 10);
        assert!(arrivals.stream(3).eq(all.iter().copied()));
        assert!(!arrivals.stream(4).eq(all.iter().copied()));
        // Of a Poisson process, the share of gaps beyond the mean is 1/e.
        let long = all.windows(2).filter(|pair| pair[1].at - pair[0].at > 1_000_000).count();
        assert!((17_800..=19_000).contains(&long), "{long}");
    }
}
