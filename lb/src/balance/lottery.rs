//! Drawing a server with a probability that is proportional to its weight.
//!
//! The running sums of the weights are made once, so that a draw is a binary search. Whoever is drawn and not eligible is drawn again,
//! which leaves the proportions among the eligible as they are; after a few failures the eligible ones are counted out instead.

use rand::Rng;
use rand::rngs::SmallRng;

use super::{Entrant, Field, NOT_ELIGIBLE};

/// Draws before the eligible are counted out. With half of the servers gone, 1 pick in 256 needs that.
const DRAWS: usize = 8;

/// Tickets over a field.
pub(super) struct Lottery {
    /// For each position, the sum of the weights up to and with it.
    sums: Box<[u64]>,
}

impl Lottery {
    pub(super) fn new(entrants: &[Entrant], width: usize) -> Self {
        let mut sums = vec![0u64; width];
        for entrant in entrants {
            if let Some(weight) = sums.get_mut(entrant.position) {
                *weight += u64::from(entrant.weight);
            }
        }
        let mut sum = 0;
        for weight in &mut sums {
            sum += *weight;
            *weight = sum;
        }
        Self { sums: sums.into() }
    }

    /// An eligible position other than `but`.
    pub(super) fn draw(&self, field: &Field<'_>, but: Option<usize>, random: &mut SmallRng) -> Option<usize> {
        let total = self.sums.last().copied().filter(|total| *total > 0)?;
        let eligible = |position: usize| field.ranks[position] != NOT_ELIGIBLE && Some(position) != but;
        for _ in 0..DRAWS {
            let ticket = random.random_range(0..total);
            let position = self.sums.partition_point(|sum| *sum <= ticket);
            if eligible(position) {
                return Some(position);
            }
        }
        let candidates = || (0..field.ranks.len()).filter(|position| eligible(*position));
        let total: u64 = candidates().map(|position| u64::from(field.weights[position])).sum();
        let mut ticket = if total > 0 { random.random_range(0..total) } else { return None };
        candidates().find(|&position| {
            let weight = u64::from(field.weights[position]);
            let hit = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            hit
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Pool, entrants, random};
    use super::*;

    fn shares(weights: &[u32], out: &[usize], but: Option<usize>) -> Vec<f64> {
        let mut pool = Pool::new(weights);
        for position in out {
            pool.ranks[*position] = NOT_ELIGIBLE;
        }
        let lottery = Lottery::new(&entrants(weights), weights.len());
        let mut random = random();
        let mut counts = vec![0.0; weights.len()];
        for _ in 0..20_000 {
            counts[lottery.draw(&pool.field(), but, &mut random).expect("somebody")] += 1.0 / 20_000.0;
        }
        counts
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 0.02
    }

    #[test]
    fn draws_follow_the_weights() {
        let shares = shares(&[1, 0, 3, 6], &[], None);
        assert!(
            near(shares[0], 0.1) && shares[1] == 0.0 && near(shares[2], 0.3) && near(shares[3], 0.6),
            "{shares:?}"
        );
    }

    #[test]
    fn draws_follow_the_weights_of_the_eligible_also_where_few_are() {
        let mut weights = vec![1000; 50];
        weights.extend([1, 3]);
        let shares = shares(&weights, &(0..50).collect::<Vec<_>>(), None);
        assert!(near(shares[50], 0.25) && near(shares[51], 0.75), "{shares:?}");
    }

    #[test]
    fn the_excepted_one_is_never_drawn() {
        let shares = shares(&[1, 1000, 1], &[], Some(1));
        assert!(near(shares[0], 0.5) && shares[1] == 0.0 && near(shares[2], 0.5), "{shares:?}");
    }

    #[test]
    fn nobody_eligible_means_nobody_is_drawn() {
        let mut pool = Pool::new(&[1, 1]);
        pool.ranks.fill(NOT_ELIGIBLE);
        assert_eq!(Lottery::new(&entrants(&[1, 1]), 2).draw(&pool.field(), None, &mut random()), None);
        assert_eq!(Lottery::new(&[], 2).draw(&pool.field(), None, &mut random()), None);
    }
}
