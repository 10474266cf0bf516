//! A field that owns its arrays, for tests.

use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::{Algorithm, Entrant, Field, Latency, rank, shares};

/// Servers without anything else.
pub(super) struct Pool {
    pub(super) ranks: Vec<u32>,
    pub(super) weights: Vec<u32>,
    pub(super) loads: Vec<u32>,
    pub(super) turns: Vec<i32>,
    pub(super) latencies: Vec<Latency>,
    pub(super) now: Instant,
    shares: Vec<i32>,
    random: SmallRng,
}

impl Pool {
    /// Idle, all of them eligible.
    pub(super) fn new(weights: &[u32]) -> Self {
        Self {
            ranks: weights.iter().map(|weight| rank(0, *weight)).collect(),
            weights: weights.to_vec(),
            loads: vec![0; weights.len()],
            turns: vec![0; weights.len()],
            latencies: vec![Latency::default(); weights.len()],
            now: Instant::now(),
            shares: shares(weights),
            random: random(),
        }
    }

    pub(super) fn field(&mut self) -> Field<'_> {
        Field {
            ranks: &self.ranks,
            weights: &self.weights,
            shares: &self.shares,
            loads: &self.loads,
            latencies: &self.latencies,
            now: self.now,
            turns: &mut self.turns,
        }
    }

    pub(super) fn pick(&mut self, algorithm: &dyn Algorithm, hash: u64) -> Option<usize> {
        let mut field = Field {
            ranks: &self.ranks,
            weights: &self.weights,
            shares: &self.shares,
            loads: &self.loads,
            latencies: &self.latencies,
            now: self.now,
            turns: &mut self.turns,
        };
        algorithm.pick(&mut field, hash, &mut self.random)
    }

    pub(super) fn add(&mut self, position: usize, requests: u32) {
        self.loads[position] += requests;
        self.ranks[position] = rank(self.loads[position], self.weights[position]);
    }

    pub(super) fn sub(&mut self, position: usize) {
        self.loads[position] -= 1;
        self.ranks[position] = rank(self.loads[position], self.weights[position]);
    }
}

/// Always the same sequence.
pub(super) fn random() -> SmallRng {
    SmallRng::seed_from_u64(7)
}

/// Entrants of these weights, in order; 0 is left out.
pub(super) fn entrants(weights: &[u32]) -> Vec<Entrant> {
    let all = weights.iter().enumerate().filter(|(_, weight)| **weight > 0);
    all.map(|(position, weight)| Entrant {
        position,
        weight: *weight,
        name: format!("10.0.0.{position}:80").into(),
    })
    .collect()
}

/// Entrants of these names and weights, in order.
pub(super) fn named(servers: &[(&str, u32)]) -> Vec<Entrant> {
    let all = servers.iter().enumerate();
    all.map(|(position, (name, weight))| Entrant {
        position,
        weight: *weight,
        name: (*name).into(),
    })
    .collect()
}
