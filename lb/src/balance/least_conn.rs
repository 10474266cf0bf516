//! `least_conn`: the lowest in flight ÷ weight; ties by [smooth weighted round robin](super::smooth).
//!
//! Two passes over the ranks: what is the lowest, and a step among those that have it. A heap would find the lowest faster in a large
//! pool, but nginx's rule for ties looks at all the tied anyway, and both passes over a thousand servers take half a microsecond.

use rand::rngs::SmallRng;

use super::rank::{compare, is_exact, lowest};
use super::{Algorithm, Entrant, Field, NOT_ELIGIBLE, smooth};

/// See the module.
pub(super) struct LeastConn {
    max_weight: u32,
}

impl LeastConn {
    pub(super) fn new(entrants: &[Entrant]) -> Self {
        Self {
            max_weight: entrants.iter().map(|entrant| entrant.weight).max().unwrap_or(0),
        }
    }
}

impl Algorithm for LeastConn {
    fn pick(&self, field: &mut Field<'_>, _: u64, _: &mut SmallRng) -> Option<usize> {
        let low = lowest(field.ranks);
        if low == NOT_ELIGIBLE {
            return None;
        }
        if is_exact(self.max_weight, low) {
            smooth::step(field, |_, rank| rank == low)
        } else {
            among_rounded(field, low)
        }
    }
}

/// For weights or loads so large that ranks may be equal where quotients are not.
fn among_rounded(field: &mut Field<'_>, low: u32) -> Option<usize> {
    let (loads, weights) = (field.loads, field.weights);
    let quotient = |position: usize| (loads[position], weights[position]);
    let near = (0..field.ranks.len()).filter(|&position| field.ranks[position] == low);
    let best = near.map(quotient).min_by(|a, b| compare(*a, *b))?;
    smooth::step(field, |position, rank| rank == low && compare(quotient(position), best).is_eq())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Pool, entrants};
    use super::*;
    use proptest::prelude::*;

    fn least_conn(weights: &[u32]) -> (LeastConn, Pool) {
        (LeastConn::new(&entrants(weights)), Pool::new(weights))
    }

    #[test]
    fn arrivals_on_an_idle_pool_of_equals_give_one_each() {
        let (algorithm, mut pool) = least_conn(&[1; 7]);
        for _ in 0..7 {
            let chosen = pool.pick(&algorithm, 0).expect("somebody");
            pool.add(chosen, 1);
        }
        assert_eq!(pool.loads, [1; 7]);
    }

    #[test]
    fn one_at_a_time_splits_by_weight() {
        let (algorithm, mut pool) = least_conn(&[1, 3]);
        let mut counts = [0; 2];
        for _ in 0..40 {
            counts[pool.pick(&algorithm, 0).expect("somebody")] += 1;
        }
        assert_eq!(counts, [10, 30]);
    }

    #[test]
    fn one_at_a_time_over_equals_leaves_nobody_out() {
        let (algorithm, mut pool) = least_conn(&[1; 5]);
        let mut counts = [0; 5];
        for _ in 0..50 {
            counts[pool.pick(&algorithm, 0).expect("somebody")] += 1;
        }
        assert_eq!(counts, [10; 5]);
    }

    fn servers(weight: impl Strategy<Value = u32>) -> impl Strategy<Value = Vec<(u32, u32, bool)>> {
        prop::collection::vec((weight, prop_oneof![0u32..4, 0u32..200_000, any::<u32>()], any::<bool>()), 1..20)
    }

    fn check_lowest(servers: &[(u32, u32, bool)]) -> Result<(), TestCaseError> {
        let weights: Vec<u32> = servers.iter().map(|server| server.0).collect();
        let (algorithm, mut pool) = least_conn(&weights);
        for (position, server) in servers.iter().enumerate() {
            pool.add(position, server.1);
            if !server.2 {
                pool.ranks[position] = NOT_ELIGIBLE;
            }
        }
        let eligible: Vec<_> = servers.iter().filter(|server| server.2).collect();
        match pool.pick(&algorithm, 0) {
            None => prop_assert!(eligible.is_empty()),
            Some(chosen) => {
                let (weight, load, may) = servers[chosen];
                prop_assert!(may);
                for other in eligible {
                    prop_assert!(u64::from(load) * u64::from(other.0) <= u64::from(other.1) * u64::from(weight));
                }
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn the_chosen_one_is_always_one_of_the_lowest(servers in servers(1u32..12)) {
            check_lowest(&servers)?;
        }

        #[test]
        fn also_with_weights_that_ranks_cannot_tell_apart(servers in servers(u32::MAX - 50..=u32::MAX)) {
            check_lowest(&servers)?;
        }

        #[test]
        fn leases_that_come_and_go_never_unbalance_it(steps in prop::collection::vec(any::<prop::sample::Index>(), 1..200)) {
            let weights = [1, 2, 3];
            let (algorithm, mut pool) = least_conn(&weights);
            let mut held = Vec::new();
            for step in steps {
                if step.index(3) == 0 && !held.is_empty() {
                    let gone = held.swap_remove(step.index(held.len()));
                    pool.sub(gone);
                    continue;
                }
                let chosen = pool.pick(&algorithm, 0).expect("all are eligible");
                for other in 0..weights.len() {
                    prop_assert!(compare((pool.loads[chosen], weights[chosen]), (pool.loads[other], weights[other])).is_le());
                }
                pool.add(chosen, 1);
                held.push(chosen);
            }
        }
    }
}
