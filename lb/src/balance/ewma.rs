//! `ewma`: of two servers drawn at random by weight, the one that is likely to answer sooner.
//!
//! Peak EWMA with the power of two choices, as in Finagle and linkerd. The cost of a server is its [latency](super::latency) × (in
//! flight + 1) ÷ weight: how long a new request would wait, if those before it were answered one after the other. Latency sees what
//! counting requests cannot: a server that answers all, but slowly, or one that is far away. Counting sees what latency cannot yet: a
//! server that has just stopped answering.
//!
//! Two cases need a rule of their own:
//!
//! - A server of which nothing is known costs nothing while it is idle, and a lot once it has a request. So it gets one request at once and
//!   the others when that is answered: it is neither flooded nor left out, and a pool of nothing but new servers is filled by load.
//! - While both are idle and about as fast as each other, the draw stands. Their estimates differ by chance then, and in a calm pool
//!   chance would otherwise decide against the weights.

use rand::rngs::SmallRng;

use super::lottery::Lottery;
use super::{Algorithm, Entrant, Field};

/// Seconds that are assumed for a server that has requests and no sample.
const UNKNOWN: f64 = 1.0;
/// Seconds below which latencies are all the same: what differs there is chance, and one unlucky answer would cost a server its share for long.
const NOTHING: f64 = 1e-3;
/// Idle servers are as fast as each other up to this factor.
const ALIKE: f64 = 2.0;

/// See the module.
pub(super) struct Ewma(Lottery);

impl Ewma {
    pub(super) fn new(entrants: &[Entrant], width: usize) -> Self {
        Self(Lottery::new(entrants, width))
    }
}

impl Algorithm for Ewma {
    fn pick(&self, field: &mut Field<'_>, _: u64, random: &mut SmallRng) -> Option<usize> {
        let first = self.0.draw(field, None, random)?;
        let Some(second) = self.0.draw(field, Some(first), random) else {
            return Some(first);
        };
        Some(if is_better(field, second, first) { second } else { first })
    }
}

/// Whether `one` is a better choice than `other`, which was drawn before it.
fn is_better(field: &Field<'_>, one: usize, other: usize) -> bool {
    let [a, b] = [one, other].map(|position| latency(field, position));
    let is_idle = field.loads[one] == 0 && field.loads[other] == 0;
    if is_idle && a <= b * ALIKE && b <= a * ALIKE {
        return false;
    }
    let requests = |position: usize| f64::from(field.loads[position]) + 1.0;
    let weight = |position: usize| f64::from(field.weights[position]);
    a * requests(one) * weight(other) < b * requests(other) * weight(one)
}

fn latency(field: &Field<'_>, position: usize) -> f64 {
    match field.latencies[position].estimate(field.now) {
        Some(seconds) => seconds.max(NOTHING),
        None if field.loads[position] == 0 => 0.0,
        None => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::NOT_ELIGIBLE;
    use super::super::fixture::{Pool, entrants};
    use super::*;
    use proptest::prelude::*;

    fn ewma(weights: &[u32]) -> (Ewma, Pool) {
        (Ewma::new(&entrants(weights), weights.len()), Pool::new(weights))
    }

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Requests one at a time, each answered before the next: how many each server got.
    fn one_at_a_time(algorithm: &Ewma, pool: &mut Pool, requests: usize, latency: impl Fn(usize, usize) -> Duration) -> Vec<usize> {
        let mut counts = vec![0; pool.weights.len()];
        for n in 0..requests {
            let chosen = pool.pick(algorithm, 0).expect("somebody");
            counts[chosen] += 1;
            let took = latency(chosen, n);
            pool.now += took;
            pool.latencies[chosen].observe(took, true, pool.now);
        }
        counts
    }

    #[test]
    fn the_slow_one_of_three_gets_next_to_nothing() {
        let (algorithm, mut pool) = ewma(&[1, 1, 1]);
        let counts = one_at_a_time(&algorithm, &mut pool, 10_000, |server, _| {
            millis(if server == 1 { 200 } else { 10 })
        });
        assert!(counts[1] < 20, "{counts:?}");
        assert!(counts[0] > 4_000 && counts[2] > 4_000, "{counts:?}");
    }

    #[test]
    fn a_server_that_was_slow_is_found_out_when_it_is_well_again() {
        let (algorithm, mut pool) = ewma(&[1, 1]);
        let slow = one_at_a_time(&algorithm, &mut pool, 1_000, |server, _| millis(if server == 1 { 200 } else { 10 }));
        assert!(slow[1] < 10, "{slow:?}");
        // A minute.
        let well = one_at_a_time(&algorithm, &mut pool, 6_000, |_, _| millis(10));
        assert!(well[1] > 1_000, "{well:?}");
        let then = one_at_a_time(&algorithm, &mut pool, 1_000, |_, _| millis(10));
        assert!((400..=600).contains(&then[1]), "{then:?}");
    }

    #[test]
    fn weights_hold_while_all_are_about_as_fast() {
        let (algorithm, mut pool) = ewma(&[1, 3]);
        // Between 10 and 19 ms, in no order.
        let counts = one_at_a_time(&algorithm, &mut pool, 10_000, |_, n| millis(10 + (n as u64 * 7) % 10));
        assert!((7_200..=7_800).contains(&counts[1]), "{counts:?}");
    }

    #[test]
    fn held_requests_follow_the_weights() {
        let (algorithm, mut pool) = ewma(&[1, 1, 4]);
        let now = pool.now;
        pool.latencies.iter_mut().for_each(|latency| latency.observe(millis(10), true, now));
        for _ in 0..600 {
            let chosen = pool.pick(&algorithm, 0).expect("somebody");
            pool.add(chosen, 1);
        }
        assert!((370..=430).contains(&pool.loads[2]), "{:?}", pool.loads);
    }

    #[test]
    fn a_server_without_a_sample_is_tried_once_and_not_flooded() {
        let (algorithm, mut pool) = ewma(&[1; 4]);
        let now = pool.now;
        pool.latencies[..3]
            .iter_mut()
            .for_each(|latency| latency.observe(millis(10), true, now));
        let mut chosen = Vec::new();
        for _ in 0..40 {
            let position = pool.pick(&algorithm, 0).expect("somebody");
            pool.add(position, 1);
            chosen.push(position);
        }
        assert_eq!(pool.loads[3], 1, "{chosen:?}");
    }

    #[test]
    fn new_servers_are_filled_by_load() {
        let (algorithm, mut pool) = ewma(&[1; 10]);
        for _ in 0..1000 {
            let chosen = pool.pick(&algorithm, 0).expect("somebody");
            pool.add(chosen, 1);
        }
        assert!(pool.loads.iter().all(|load| (90..=110).contains(load)), "{:?}", pool.loads);
    }

    #[test]
    fn a_server_that_fails_at_once_is_no_magnet() {
        let (algorithm, mut pool) = ewma(&[1, 1, 1]);
        let mut failed = 0;
        for _ in 0..3_000 {
            let chosen = pool.pick(&algorithm, 0).expect("somebody");
            pool.now += millis(10);
            let ok = chosen != 0;
            failed += usize::from(!ok);
            let took = if ok { millis(10) } else { Duration::from_micros(100) };
            pool.latencies[chosen].observe(took, ok, pool.now);
        }
        // Half a minute.
        assert!(failed < 10, "{failed}");
    }

    proptest! {
        #[test]
        fn whoever_is_eligible_is_found_and_of_two_the_cheaper(
            servers in prop::collection::vec((any::<bool>(), 1u32..5, 0u32..20, prop::option::of(1u64..1_000)), 1..12),
        ) {
            let weights: Vec<_> = servers.iter().map(|server| server.1).collect();
            let (algorithm, mut pool) = ewma(&weights);
            let now = pool.now;
            for (position, (eligible, _, load, latency)) in servers.iter().enumerate() {
                pool.add(position, *load);
                if let Some(latency) = latency {
                    pool.latencies[position].observe(millis(*latency), true, now);
                }
                if !eligible {
                    pool.ranks[position] = NOT_ELIGIBLE;
                }
            }
            let eligible: Vec<_> = (0..servers.len()).filter(|position| servers[*position].0).collect();
            match pool.pick(&algorithm, 0) {
                None => prop_assert!(eligible.is_empty()),
                Some(chosen) => {
                    prop_assert!(eligible.contains(&chosen));
                    // The most expensive one is never chosen, unless it costs as much as another or was drawn from idle equals.
                    let field = pool.field();
                    let others = eligible.iter().filter(|other| **other != chosen);
                    let beaten_by_all = others.clone().all(|other| is_better(&field, *other, chosen));
                    prop_assert!(eligible.len() == 1 || !beaten_by_all);
                }
            }
        }
    }
}
