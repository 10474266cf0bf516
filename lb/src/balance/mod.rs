//! Choosing a server.
//!
//! An algorithm is a function over plain data: it is handed a [`Field`] of candidates and answers with the position of one of them. It
//! knows no health, no lock, no clock and no socket; the time is part of the field. Whether a candidate may be chosen at all (healthy, not full, not tried before) has
//! been folded into its [rank](rank()) by the caller, so "not eligible" is one comparison for every algorithm.
//!
//! A field is a struct of arrays and not an array of structs: the scan of `least_conn` touches nothing but ranks and turns, a few
//! bytes a server, and takes four servers at a time. Positions with weight 0 are holes, and stand for servers that belong to other
//! configurations of the same upstream.
//!
//! A new algorithm is a file here, a variant of [`lb_config::Balance`] and an arm in [`build`].

mod ewma;
mod hash;
mod latency;
mod least_conn;
mod lottery;
mod maglev;
mod p2c;
mod random;
mod rank;
mod round_robin;
mod smooth;

#[cfg(test)]
mod fixture;

use std::sync::Arc;
use std::time::Instant;

use lb_config::Balance;
use rand::rngs::SmallRng;

pub use hash::{hash_address, hash_key};
pub use latency::Latency;
pub use rank::{NOT_ELIGIBLE, rank};
pub use smooth::shares;

/// The candidates of one pick. All slices have the same length.
#[derive(Debug)]
pub struct Field<'a> {
    /// In flight ÷ weight as [`rank()`] has it, or [`NOT_ELIGIBLE`].
    pub ranks: &'a [u32],
    /// Weights; 0 is a hole.
    pub weights: &'a [u32],
    /// What the weights count in smooth weighted round robin: see [`shares`].
    pub shares: &'a [i32],
    /// Requests in flight.
    pub loads: &'a [u32],
    /// How long servers take. It belongs to the server and outlives configurations.
    pub latencies: &'a [Latency],
    /// The time of the pick.
    pub now: Instant,
    /// What smooth weighted round robin remembers: nginx's `current_weight`. It belongs to the server and outlives configurations.
    pub turns: &'a mut [i32],
}

/// How one of a [`Field`] is chosen.
///
/// What it answers must be the position of an eligible candidate, and it must find one whenever there is one. It may keep tables that
/// were made from the weights at [`build`] time, but nothing that changes with a pick: that lives in the field.
pub trait Algorithm: Send + Sync {
    /// The position of the chosen candidate; `None` when none is eligible. `hash` is what [`hash_key`] made of the request.
    fn pick(&self, field: &mut Field<'_>, hash: u64, random: &mut SmallRng) -> Option<usize>;
}

/// One server, as the tables of an algorithm are built from it.
#[derive(Debug, Clone)]
pub struct Entrant {
    /// Its position in the field.
    pub position: usize,
    /// Its share, above 0.
    pub weight: u32,
    /// What identifies it to hash algorithms, the same in every process.
    pub name: Arc<str>,
}

/// The algorithm that a configuration asks for, over `entrants` in a field of `width` positions.
pub fn build(balance: &Balance, entrants: &[Entrant], width: usize) -> Box<dyn Algorithm> {
    match balance {
        Balance::LeastConn => Box::new(least_conn::LeastConn::new(entrants)),
        Balance::RoundRobin => Box::new(round_robin::RoundRobin),
        Balance::Random => Box::new(random::Random::new(entrants, width)),
        Balance::P2c => Box::new(p2c::P2c::new(entrants, width)),
        Balance::Ewma => Box::new(ewma::Ewma::new(entrants, width)),
        Balance::Hash(_) => Box::new(hash::Ring::new(entrants)),
        Balance::Maglev(_) => Box::new(maglev::Maglev::new(entrants)),
    }
}
