//! `hash`: a ring, so that equal keys meet the same server and few keys move when the servers change.
//!
//! Consistent hashing (Karger et al., STOC 1997), laid out as ketama and nginx do: every server stands on the ring many times, in
//! proportion to its weight; a key belongs to the first server at or after it. When a server leaves, only its own keys move, and they
//! spread over all the others. A server that may not be chosen now (full, ejected, tried) stays on the ring and is passed over, so its
//! keys come back to it.
//!
//! The positions depend on nothing but the servers' names and weights: every process with the same file sends a key to the same server.

use std::collections::HashMap;
use std::net::IpAddr;

use rand::rngs::SmallRng;

use super::{Algorithm, Entrant, Field, NOT_ELIGIBLE};

/// Points on the ring for each unit of weight, as in nginx.
const POINTS: u64 = 160;
/// Points in all (4 MiB). Beyond, everybody's are halved until they fit.
const MAX_POINTS: u64 = 1 << 18;
/// Points that are passed over before somebody asks whether anyone is eligible at all.
const PATIENCE: usize = 64;

/// What a key hashes to: FNV-1a, then a finalizer, since FNV alone leaves similar keys close together.
pub fn hash_key(key: &[u8]) -> u64 {
    mix(key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}

/// What an address hashes to: its bytes, not its text.
pub fn hash_address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => hash_key(&address.octets()),
        IpAddr::V6(address) => hash_key(&address.octets()),
    }
}

/// The finalizer of MurmurHash3.
pub(super) fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// See the module.
pub(super) struct Ring {
    /// Place on the ring and position in the field, in the order of the places.
    points: Box<[(u64, u32)]>,
}

impl Ring {
    pub(super) fn new(entrants: &[Entrant]) -> Self {
        let mut points = Vec::new();
        let halvings = halvings(entrants);
        let mut seen = HashMap::new();
        for entrant in entrants {
            // The same name twice would put one server exactly behind the other.
            let twin = seen.entry(&*entrant.name).and_modify(|twin| *twin += 1).or_insert(0u64);
            let start = hash_key(entrant.name.as_bytes()) ^ mix(*twin);
            let position = u32::try_from(entrant.position).unwrap_or(u32::MAX);
            points.extend((0..share(entrant, halvings)).map(|n| (mix(start.wrapping_add(mix(n + 1))), position)));
        }
        points.sort_unstable();
        Self { points: points.into() }
    }
}

/// The points of a server. At least one, whatever the others have.
fn share(entrant: &Entrant, halvings: u32) -> u64 {
    ((POINTS * u64::from(entrant.weight)) >> halvings).max(1)
}

fn halvings(entrants: &[Entrant]) -> u32 {
    let total = |halvings| entrants.iter().map(|entrant| share(entrant, halvings)).sum::<u64>();
    (0..40).find(|halvings| total(*halvings) <= MAX_POINTS).unwrap_or(40)
}

impl Algorithm for Ring {
    fn pick(&self, field: &mut Field<'_>, hash: u64, _: &mut SmallRng) -> Option<usize> {
        let start = self.points.partition_point(|point| point.0 < hash);
        let (before, after) = self.points.split_at(start);
        for (passed, (_, position)) in after.iter().chain(before).enumerate() {
            let position = *position as usize;
            if field.ranks[position] != NOT_ELIGIBLE {
                return Some(position);
            }
            if passed == PATIENCE && field.ranks.iter().all(|rank| *rank == NOT_ELIGIBLE) {
                return None;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Pool, entrants, named};
    use super::*;
    use proptest::prelude::*;

    fn key(n: usize) -> u64 {
        hash_key(format!("client-{n}").as_bytes())
    }

    fn homes(entrants: &[Entrant], pool: &mut Pool) -> Vec<usize> {
        let ring = Ring::new(entrants);
        (0..20_000).map(|n| pool.pick(&ring, key(n)).expect("somebody")).collect()
    }

    #[test]
    fn keys_spread_by_weight() {
        let homes = homes(&entrants(&[1, 1, 2]), &mut Pool::new(&[1, 1, 2]));
        for (position, share) in [(0, 5_000), (1, 5_000), (2, 10_000usize)] {
            let keys = homes.iter().filter(|home| **home == position).count();
            assert!(
                keys.abs_diff(share) < share / 4,
                "{keys} keys for {position}, expected about {share}"
            );
        }
    }

    #[test]
    fn when_a_server_leaves_only_its_own_keys_move() {
        let all = entrants(&[1; 10]);
        let mut pool = Pool::new(&[1; 10]);
        let before = homes(&all, &mut pool);
        let without: Vec<_> = all.iter().filter(|entrant| entrant.position != 4).cloned().collect();
        let after = homes(&without, &mut pool);
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        assert!(before.iter().zip(&after).all(|(before, after)| before == after || *before == 4));
        assert!((1_400..=2_600).contains(&moved), "{moved} of 20000 keys moved, expected about 2000");
        let heirs: std::collections::HashSet<_> = before.iter().zip(&after).filter(|pair| *pair.0 == 4).map(|pair| *pair.1).collect();
        assert_eq!(heirs.len(), 9, "its keys spread over all the others");
    }

    #[test]
    fn a_server_that_may_not_be_chosen_is_as_if_it_had_left() {
        let all = entrants(&[1; 10]);
        let mut pool = Pool::new(&[1; 10]);
        pool.ranks[4] = NOT_ELIGIBLE;
        let passed_over = homes(&all, &mut pool);
        let without: Vec<_> = all.iter().filter(|entrant| entrant.position != 4).cloned().collect();
        assert_eq!(passed_over, homes(&without, &mut pool));
    }

    #[test]
    fn the_order_of_the_file_does_not_matter() {
        let mut all = named(&[("a:1", 1), ("b:1", 2), ("c:1", 1)]);
        let mut pool = Pool::new(&[1, 2, 1]);
        let before = homes(&all, &mut pool);
        all.reverse();
        assert_eq!(before, homes(&all, &mut pool));
    }

    #[test]
    fn absurd_weights_stay_within_the_bound() {
        let ring = Ring::new(&entrants(&[u32::MAX, 1, u32::MAX]));
        assert!(ring.points.len() as u64 <= MAX_POINTS);
        assert!(ring.points.iter().any(|point| point.1 == 1));
        assert_eq!(Ring::new(&entrants(&vec![1; 1000])).points.len(), 160_000);
    }

    proptest! {
        #[test]
        fn whoever_is_eligible_is_found(eligible in prop::collection::vec(any::<bool>(), 1..30), hash: u64) {
            let weights = vec![1; eligible.len()];
            let mut pool = Pool::new(&weights);
            for (rank, eligible) in pool.ranks.iter_mut().zip(&eligible) {
                if !eligible { *rank = NOT_ELIGIBLE; }
            }
            match pool.pick(&Ring::new(&entrants(&weights)), hash) {
                Some(position) => prop_assert!(eligible[position]),
                None => prop_assert!(!eligible.contains(&true)),
            }
        }
    }
}
