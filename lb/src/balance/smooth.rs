//! Smooth weighted round robin, as nginx has it (`ngx_http_upstream_get_peer`, since nginx 1.3.1).
//!
//! At each step every participant's turn grows by its weight; the one with the highest turn is chosen, the first of equals, and pays the
//! weight of all. Weights 5, 1, 1 give `a a b a c a a` and not `a a a a a b c`: as even as the weights allow, at any moment.
//!
//! The participants may differ from step to step. Turns of those left out stand still.

use super::Field;

/// The sum of shares that leaves turns far from the end of their range, however participation changes.
const MAX_TOTAL: u64 = 1 << 20;

/// What weights count here: themselves, or halved together until their sum is small enough. At least 1 for each that is above 0.
pub fn shares(weights: &[u32]) -> Vec<i32> {
    let share = |weight: u32, halvings: u32| if weight == 0 { 0 } else { (weight >> halvings).max(1) };
    let total = |halvings: u32| weights.iter().map(|weight| u64::from(share(*weight, halvings))).sum::<u64>();
    let halvings = (0..31).find(|halvings| total(*halvings) <= MAX_TOTAL).unwrap_or(31);
    weights
        .iter()
        .map(|weight| i32::try_from(share(*weight, halvings)).unwrap_or(i32::MAX))
        .collect()
}

/// One step among those that `takes_part` holds for, given their position and rank.
///
/// Without branches, since in a busy pool it is a coin toss who takes part, and so that the compiler can take four at a time.
#[inline]
pub(super) fn step(field: &mut Field<'_>, takes_part: impl Fn(usize, u32) -> bool) -> Option<usize> {
    let (mut total, mut highest) = (0i32, i32::MIN);
    let candidates = field.ranks.iter().zip(field.shares).zip(field.turns.iter_mut());
    for (position, ((rank, share), turn)) in candidates.enumerate() {
        let mask = -i32::from(takes_part(position, *rank));
        total = total.wrapping_add(*share & mask);
        *turn = turn.wrapping_add(*share & mask);
        highest = highest.max((*turn & mask) | (i32::MIN & !mask));
    }
    let chosen = find(field, |position, rank, turn| takes_part(position, rank) & (turn == highest))?;
    let turn = field.turns.get_mut(chosen)?;
    *turn = turn.wrapping_sub(total);
    Some(chosen)
}

/// The first position that `hit` holds for; looked for in blocks, which is what the compiler can take four at a time.
#[inline]
fn find(field: &Field<'_>, hit: impl Fn(usize, u32, i32) -> bool) -> Option<usize> {
    const BLOCK: usize = 16;
    let blocks = field.ranks.as_chunks::<BLOCK>().0.iter().zip(field.turns.as_chunks::<BLOCK>().0);
    let mut start = 0;
    for (ranks, turns) in blocks {
        if (0..BLOCK).fold(false, |any, n| any | hit(start + n, ranks[n], turns[n])) {
            break;
        }
        start += BLOCK;
    }
    let rest = field.ranks[start..].iter().zip(&field.turns[start..]).enumerate();
    rest.map(|(n, (rank, turn))| (start + n, *rank, *turn))
        .find(|(position, rank, turn)| hit(*position, *rank, *turn))
        .map(|found| found.0)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Pool, random};
    use super::super::{Algorithm, NOT_ELIGIBLE, round_robin::RoundRobin};
    use super::*;
    use proptest::prelude::*;

    fn sequence(weights: &[u32], picks: usize) -> Vec<usize> {
        let mut pool = Pool::new(weights);
        (0..picks).map(|_| pool.pick(&RoundRobin, 0).expect("somebody")).collect()
    }

    #[test]
    fn the_sequence_is_that_of_nginx() {
        assert_eq!(sequence(&[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(sequence(&[1, 1, 1], 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(sequence(&[1; 40], 80), (0..40).chain(0..40).collect::<Vec<_>>());
    }

    #[test]
    fn those_who_do_not_take_part_are_neither_chosen_nor_changed() {
        let mut pool = Pool::new(&[1, 1, 1]);
        pool.turns[1] = 7;
        pool.ranks[1] = NOT_ELIGIBLE;
        for _ in 0..10 {
            assert_ne!(pool.pick(&RoundRobin, 0), Some(1));
        }
        assert_eq!(pool.turns[1], 7);
        pool.ranks.fill(NOT_ELIGIBLE);
        assert_eq!(RoundRobin.pick(&mut pool.field(), 0, &mut random()), None);
    }

    #[test]
    fn absurd_weights_keep_their_proportions_and_stay_small() {
        assert_eq!(shares(&[1, 0, 3]), [1, 0, 3]);
        let big = shares(&[u32::MAX, u32::MAX / 2, 1]);
        assert!(big[0] + big[1] <= 1 << 20 && big[0] / big[1] == 2 && big[2] == 1, "{big:?}");
    }

    /// nginx's loop, as plainly as it can be written.
    fn plain(taking: &[bool], weights: &[u32], turns: &mut [i64]) -> Option<usize> {
        let mut best: Option<usize> = None;
        let mut total = 0;
        for n in (0..taking.len()).filter(|n| taking[*n]) {
            turns[n] += i64::from(weights[n]);
            total += i64::from(weights[n]);
            if best.is_none_or(|best| turns[n] > turns[best]) {
                best = Some(n);
            }
        }
        best.inspect(|best| turns[*best] -= total)
    }

    proptest! {
        #[test]
        fn it_does_what_the_plain_loop_does(
            weights in prop::collection::vec(1u32..10, 1..70),
            rounds in prop::collection::vec(prop::collection::vec(any::<bool>(), 70), 1..30),
        ) {
            let mut pool = Pool::new(&weights);
            let mut turns = vec![0; weights.len()];
            for round in rounds {
                let taking = &round[..weights.len()];
                for (rank, taking) in pool.ranks.iter_mut().zip(taking) {
                    *rank = if *taking { 0 } else { NOT_ELIGIBLE };
                }
                prop_assert_eq!(pool.pick(&RoundRobin, 0), plain(taking, &weights, &mut turns));
            }
        }

        #[test]
        fn no_server_is_ever_far_from_its_share(weights in prop::collection::vec(1u32..20, 1..8)) {
            let total: u32 = weights.iter().sum();
            let mut counts = vec![0f64; weights.len()];
            for (n, pick) in sequence(&weights, 2 * total as usize).into_iter().enumerate() {
                counts[pick] += 1.0;
                for (count, weight) in counts.iter().zip(&weights) {
                    let ideal = (n + 1) as f64 * f64::from(*weight) / f64::from(total);
                    prop_assert!((count - ideal).abs() <= 2.0, "{count} for an ideal {ideal}");
                }
            }
            for (count, weight) in counts.iter().zip(&weights) {
                prop_assert_eq!(*count, f64::from(2 * weight));
            }
        }
    }
}
