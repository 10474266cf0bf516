//! Which upstream of a `split` a client gets.
//!
//! Weighted rendezvous hashing (Thaler and Ravishankar, 1998; with weights as by Schindelhauer and Schomaker, SPAA 2005): a client and the
//! name of an upstream are hashed to a number u between 0 and 1, and the client goes where −ln(u) ÷ weight is least. That is the first of
//! several alarm clocks to ring, each with a rate of its weight, so upstreams get clients in proportion to their weights; and as a clock
//! depends on nothing but its own name and weight,
//!
//! - a client gets the same upstream each time, from every process with the same file, without anything being remembered;
//! - when the weight of an upstream grows, clients move to it and nowhere else; when it shrinks, only its own move; only as many as must.
//!
//! Weights are relative: 95 and 5 are 19 and 1. One of 0 gets nobody, whatever becomes of the others.

use std::net::IpAddr;

use crate::balance::{hash_address, hash_key};

/// The upstreams of a route.
#[derive(Debug)]
pub struct Split(Box<[Candidate]>);

#[derive(Debug)]
struct Candidate {
    upstream: usize,
    weight: f64,
    /// Of its name.
    hash: u64,
}

impl Split {
    /// From the configuration, of which `names` are the upstreams'.
    pub fn new<'a>(split: &lb_config::Split, name: impl Fn(usize) -> &'a str) -> Self {
        let candidate = |share: &lb_config::Share| Candidate {
            upstream: share.upstream,
            weight: f64::from(share.weight),
            hash: hash_key(name(share.upstream).as_bytes()),
        };
        Self(split.shares().iter().map(candidate).collect())
    }

    /// The upstream of a client, as its index. One that is not `usable` is passed over where another is; `usable` is asked of as few as
    /// can be, and of none where there is no choice.
    pub fn choose(&self, client: IpAddr, usable: impl Fn(usize) -> bool) -> usize {
        if let [only] = &*self.0 {
            return only.upstream;
        }
        let client = hash_address(client);
        let own = self.first(client, |_| true);
        if usable(own) {
            return own;
        }
        let other = self.0.iter().any(|candidate| candidate.takes() && usable(candidate.upstream));
        if other { self.first(client, usable) } else { own }
    }

    /// The upstream whose clock rings first, of those that may be chosen.
    fn first(&self, client: u64, may_be: impl Fn(usize) -> bool) -> usize {
        let candidates = self.0.iter().filter(|candidate| candidate.takes() && may_be(candidate.upstream));
        let first = candidates.min_by(|one, other| one.rings(client).total_cmp(&other.rings(client)));
        // There is one: the configuration has a weight above 0, and the caller has asked.
        first.or(self.0.first()).map_or(0, |candidate| candidate.upstream)
    }
}

impl Candidate {
    fn takes(&self) -> bool {
        self.weight > 0.0
    }

    fn rings(&self, client: u64) -> f64 {
        let hash = hash_key(&(client ^ self.hash).to_le_bytes());
        // As many bits as an f64 has, and never 0 or 1.
        let uniform = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        -uniform.ln() / self.weight
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 5] = ["users", "users_canary", "a", "b", "c"];

    /// The first so many of [`NAMES`], with these weights.
    fn split(weights: &[u32]) -> Split {
        split_in(weights, 0..weights.len())
    }

    fn split_in(weights: &[u32], order: impl Iterator<Item = usize>) -> Split {
        let candidate = |upstream: usize| Candidate {
            upstream,
            weight: f64::from(weights[upstream]),
            hash: hash_key(NAMES[upstream].as_bytes()),
        };
        Split(order.map(candidate).collect())
    }

    fn client(n: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + n).into()
    }

    fn homes(split: &Split, clients: u32) -> Vec<usize> {
        (0..clients).map(|n| split.choose(client(n), |_| true)).collect()
    }

    #[test]
    fn clients_are_spread_by_weight() {
        let homes = homes(&split(&[95, 5]), 100_000);
        let canary = homes.iter().filter(|home| **home == 1).count();
        // 5,000, give or take four standard deviations.
        assert!(canary.abs_diff(5_000) < 280, "{canary}");
    }

    #[test]
    fn one_percent_more_moves_one_percent_of_the_clients() {
        let (before, after) = (homes(&split(&[95, 5]), 100_000), homes(&split(&[94, 6]), 100_000));
        let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
        assert!(moved.len().abs_diff(1_000) < 150, "{}", moved.len());
        assert!(moved.iter().all(|moved| *moved == (&0, &1)));
    }

    #[test]
    fn who_cannot_serve_is_passed_over_while_somebody_can() {
        let split = split(&[95, 5, 0]);
        for n in 0..1000 {
            assert_eq!(split.choose(client(n), |upstream| upstream == 1), 1);
            assert_eq!(split.choose(client(n), |_| false), split.choose(client(n), |_| true));
            assert_ne!(split.choose(client(n), |upstream| upstream == 2), 2, "a weight of 0 gets nobody");
        }
    }

    #[test]
    fn where_there_is_no_choice_nobody_is_asked() {
        assert_eq!(split(&[1]).choose(client(1), |_| panic!("there is only one")), 0);
    }

    fn weights() -> impl Strategy<Value = Vec<u32>> {
        prop::collection::vec(prop_oneof![Just(0u32), 1..100u32], 1..=NAMES.len())
            .prop_filter("one gets requests", |weights| weights.iter().any(|weight| *weight > 0))
    }

    proptest! {
        #[test]
        fn a_change_of_one_weight_moves_clients_to_it_or_from_it_and_no_others(
            weights in weights(), which in any::<prop::sample::Index>(), weight in 0..100u32, n in any::<u16>(),
        ) {
            let mut changed = weights.clone();
            let which = which.index(weights.len());
            changed[which] = weight;
            prop_assume!(changed.iter().any(|weight| *weight > 0));
            let choose = |weights: &[u32]| split(weights).choose(client(n.into()), |_| true);
            let (before, after) = (choose(&weights), choose(&changed));
            if before != after {
                prop_assert_eq!(if weight > weights[which] { after } else { before }, which);
            }
        }

        #[test]
        fn only_the_relation_of_the_weights_counts_and_not_their_order(weights in weights(), factor in 1..50u32, n in any::<u16>()) {
            let home = split(&weights).choose(client(n.into()), |_| true);
            prop_assert!(weights[home] > 0);
            let larger: Vec<u32> = weights.iter().map(|weight| weight * factor).collect();
            prop_assert_eq!(split(&larger).choose(client(n.into()), |_| true), home);
            prop_assert_eq!(split_in(&weights, (0..weights.len()).rev()).choose(client(n.into()), |_| true), home);
        }

        #[test]
        fn an_upstream_that_fails_takes_its_own_clients_along_and_no_others(weights in weights(), failed in 0..5usize, n in any::<u16>()) {
            let split = split(&weights);
            let (home, now) = (split.choose(client(n.into()), |_| true), split.choose(client(n.into()), |upstream| upstream != failed));
            let others = weights.iter().enumerate().any(|(upstream, weight)| upstream != failed && *weight > 0);
            prop_assert_eq!(now != home, home == failed && others);
        }
    }
}
