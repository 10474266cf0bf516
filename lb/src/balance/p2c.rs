//! `p2c`: the less loaded of two servers drawn at random, by weight.
//!
//! The power of two choices (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 2001): looking at two
//! instead of one brings the longest queue from log n / log log n down to log log n, and herds less than the least loaded of all when
//! several balancers share the servers.

use rand::rngs::SmallRng;

use super::lottery::Lottery;
use super::rank::compare;
use super::{Algorithm, Entrant, Field};

/// See the module.
pub(super) struct P2c(Lottery);

impl P2c {
    pub(super) fn new(entrants: &[Entrant], width: usize) -> Self {
        Self(Lottery::new(entrants, width))
    }
}

impl Algorithm for P2c {
    fn pick(&self, field: &mut Field<'_>, _: u64, random: &mut SmallRng) -> Option<usize> {
        let first = self.0.draw(field, None, random)?;
        let Some(second) = self.0.draw(field, Some(first), random) else {
            return Some(first);
        };
        let quotient = |position: usize| (field.loads[position], field.weights[position]);
        Some(if compare(quotient(second), quotient(first)).is_lt() {
            second
        } else {
            first
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::NOT_ELIGIBLE;
    use super::super::fixture::{Pool, entrants};
    use super::*;

    fn p2c(weights: &[u32]) -> (P2c, Pool) {
        (P2c::new(&entrants(weights), weights.len()), Pool::new(weights))
    }

    #[test]
    fn the_most_loaded_one_is_never_chosen_while_two_are_eligible() {
        let (algorithm, mut pool) = p2c(&[1, 1, 1]);
        pool.add(1, 5);
        for _ in 0..1000 {
            assert_ne!(pool.pick(&algorithm, 0), Some(1));
        }
        pool.ranks[0] = NOT_ELIGIBLE;
        pool.ranks[2] = NOT_ELIGIBLE;
        assert_eq!(pool.pick(&algorithm, 0), Some(1));
    }

    #[test]
    fn held_requests_follow_the_weights() {
        let (algorithm, mut pool) = p2c(&[1, 1, 4]);
        for _ in 0..600 {
            let chosen = pool.pick(&algorithm, 0).expect("somebody");
            pool.add(chosen, 1);
        }
        assert!((380..=420).contains(&pool.loads[2]), "{:?}", pool.loads);
    }

    #[test]
    fn requests_one_at_a_time_follow_the_weights() {
        let (algorithm, mut pool) = p2c(&[1, 3]);
        let heavy = (0..10_000).filter(|_| pool.pick(&algorithm, 0) == Some(1)).count();
        assert!((7_200..=7_800).contains(&heavy), "{heavy}");
    }
}
