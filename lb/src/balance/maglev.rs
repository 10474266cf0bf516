//! `maglev`: a look-up table, so that equal keys meet the same server, all servers own the same number of keys, and a look-up is one step.
//!
//! Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, §3.4). Every server has a
//! preference list of all slots of the table, a permutation that its name alone decides. The servers take turns; whoever's turn it is
//! takes the free slot that it likes best, until none is free. A server with twice the weight has twice as many turns.
//!
//! Compared with a [ring](super::hash), shares are even to within one slot and a look-up does not search. The price: when a server leaves,
//! a few keys of the others move as well as its own.
//!
//! A key whose server may not be chosen now (full, ejected, tried) goes on through the table in strides that the key decides, so
//! that the keys of one server spread over all others, each to the same one every time, and come back when it does.

use rand::rngs::SmallRng;

use super::hash::{hash_key, mix};
use super::{Algorithm, Entrant, Field, NOT_ELIGIBLE};

/// Slots of the table: a prime, so that every stride visits all. The smaller one of the two sizes in the paper. Ten times as many would let 4
/// keys in 1,000 move instead of 7 when one of 1,000 servers leaves, and would not fit the cache of a processor.
const SLOTS: usize = 65_537;
/// Slots that are looked at before somebody looks at all servers instead.
const PATIENCE: usize = 64;
/// A slot that nobody has taken.
const FREE: u32 = u32::MAX;

/// See the module.
pub(super) struct Maglev {
    /// Positions in the field.
    slots: Box<[u32]>,
}

/// A server's preferences: every slot once, from `next` on in steps of `stride`.
struct Preferences {
    position: u32,
    weight: u64,
    next: usize,
    stride: usize,
    /// Turns taken, in units of the heaviest server's weight.
    turns: u64,
}

impl Maglev {
    pub(super) fn new(entrants: &[Entrant]) -> Self {
        let mut sorted: Vec<&Entrant> = entrants.iter().collect();
        // Whose turn comes first must not depend on the order of the file.
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        let mut previous: Option<&str> = None;
        let mut twin = 0u64;
        let mut servers: Vec<Preferences> = Vec::with_capacity(sorted.len());
        for entrant in sorted {
            // The same name twice would have the same preferences.
            twin = if previous == Some(&*entrant.name) { twin + 1 } else { 0 };
            previous = Some(&entrant.name);
            servers.push(Preferences::new(entrant, twin));
        }
        Self {
            slots: fill(&mut servers).into(),
        }
    }
}

impl Preferences {
    fn new(entrant: &Entrant, twin: u64) -> Self {
        let hash = hash_key(entrant.name.as_bytes()) ^ mix(twin);
        Self {
            position: u32::try_from(entrant.position).unwrap_or(FREE),
            weight: u64::from(entrant.weight),
            next: start(hash),
            stride: stride(hash),
            turns: 0,
        }
    }

    /// Takes the free slot that it likes best. There must be one.
    fn take(&mut self, slots: &mut [u32]) {
        while slots[self.next] != FREE {
            self.next = (self.next + self.stride) % SLOTS;
        }
        slots[self.next] = self.position;
    }
}

/// Deals the slots out.
fn fill(servers: &mut [Preferences]) -> Vec<u32> {
    let mut slots = vec![FREE; SLOTS];
    let Some(heaviest) = servers.iter().map(|server| server.weight).max() else {
        return slots;
    };
    let mut free = SLOTS;
    for round in 0u64.. {
        for server in &mut *servers {
            // The heaviest has a turn in each round, the others in as many as their weights say. Everybody has one in the first.
            if round * server.weight < server.turns * heaviest {
                continue;
            }
            server.turns += 1;
            server.take(&mut slots);
            free -= 1;
            if free == 0 {
                return slots;
            }
        }
    }
    slots
}

/// Where a hash begins.
fn start(hash: u64) -> usize {
    (hash % SLOTS as u64) as usize
}

/// How it goes on: from 1 to one less than there are slots.
fn stride(hash: u64) -> usize {
    (mix(hash ^ 0x9e37_79b9_7f4a_7c15) % (SLOTS as u64 - 1)) as usize + 1
}

impl Algorithm for Maglev {
    fn pick(&self, field: &mut Field<'_>, hash: u64, _: &mut SmallRng) -> Option<usize> {
        let (mut slot, stride) = (start(hash), stride(hash));
        for _ in 0..PATIENCE {
            let position = self.slots[slot] as usize;
            if field.ranks.get(position).is_some_and(|rank| *rank != NOT_ELIGIBLE) {
                return Some(position);
            }
            slot = (slot + stride) % SLOTS;
        }
        among_few(field, hash)
    }
}

/// For a pool of which hardly anybody is eligible: rendezvous hashing (Thaler and Ravishankar, 1998) over those who are.
fn among_few(field: &Field<'_>, hash: u64) -> Option<usize> {
    let eligible = (0..field.ranks.len()).filter(|&position| field.ranks[position] != NOT_ELIGIBLE);
    eligible.max_by_key(|&position| mix(hash ^ mix(position as u64 + 1)))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Pool, entrants, named};
    use super::*;
    use proptest::prelude::*;

    const KEYS: usize = 20_000;

    fn key(n: usize) -> u64 {
        hash_key(format!("client-{n}").as_bytes())
    }

    fn homes(table: &Maglev, pool: &mut Pool) -> Vec<usize> {
        (0..KEYS).map(|n| pool.pick(table, key(n)).expect("somebody")).collect()
    }

    fn moved(before: &[usize], after: &[usize]) -> usize {
        before.iter().zip(after).filter(|(before, after)| before != after).count()
    }

    fn owned(table: &Maglev, servers: usize) -> Vec<usize> {
        let mut counts = vec![0; servers];
        table.slots.iter().for_each(|position| counts[*position as usize] += 1);
        counts
    }

    #[test]
    fn shares_are_even_to_a_slot() {
        for servers in [1, 3, 10, 100, 1000] {
            let owned = owned(&Maglev::new(&entrants(&vec![1; servers])), servers);
            let (least, most) = (owned.iter().min().expect("one"), owned.iter().max().expect("one"));
            assert!(most - least <= 1, "{servers} servers: {least} to {most} slots");
        }
    }

    #[test]
    fn shares_follow_the_weights() {
        let owned = owned(&Maglev::new(&entrants(&[1, 1, 2, 6])), 4);
        for (slots, weight) in owned.iter().zip([1, 1, 2, 6]) {
            assert!(slots.abs_diff(SLOTS * weight / 10) <= 6, "{owned:?}");
        }
        let homes = homes(&Maglev::new(&entrants(&[1, 3])), &mut Pool::new(&[1, 3]));
        let heavy = homes.iter().filter(|home| **home == 1).count();
        assert!((14_600..=15_400).contains(&heavy), "{heavy} of {KEYS} keys");
    }

    #[test]
    fn when_a_server_leaves_few_keys_of_others_move() {
        for (servers, at_most) in [(3, 1.2), (10, 1.2), (100, 2.0), (1000, 8.0)] {
            let all = entrants(&vec![1; servers]);
            let mut pool = Pool::new(&vec![1; servers]);
            let before = homes(&Maglev::new(&all), &mut pool);
            let without: Vec<_> = all.iter().filter(|entrant| entrant.position != 2).cloned().collect();
            let after = homes(&Maglev::new(&without), &mut pool);
            let moved = moved(&before, &after) as f64 / KEYS as f64 * servers as f64;
            assert!(
                moved <= at_most,
                "of {servers} servers one left: {moved:.2} / {servers} of the keys moved"
            );
        }
    }

    #[test]
    fn keys_of_a_server_that_may_not_be_chosen_spread_over_the_others_and_come_back() {
        let table = Maglev::new(&entrants(&[1; 10]));
        let mut pool = Pool::new(&[1; 10]);
        let before = homes(&table, &mut pool);
        let rank = std::mem::replace(&mut pool.ranks[4], NOT_ELIGIBLE);
        let meanwhile = homes(&table, &mut pool);
        assert_eq!(meanwhile, homes(&table, &mut pool), "each to the same one every time");
        assert!(before.iter().zip(&meanwhile).all(|(before, now)| before == now || *before == 4));
        let mut heirs = [0; 10];
        let orphans = before.iter().zip(&meanwhile).filter(|pair| *pair.0 == 4);
        orphans.for_each(|(_, heir)| heirs[*heir] += 1);
        let even = moved(&before, &meanwhile) / 9;
        assert_eq!(heirs[4], 0);
        assert!(
            heirs
                .iter()
                .enumerate()
                .all(|(n, keys)| n == 4 || (even / 2..=even * 2).contains(keys)),
            "{heirs:?}"
        );
        pool.ranks[4] = rank;
        assert_eq!(before, homes(&table, &mut pool));
    }

    #[test]
    fn the_order_of_the_file_does_not_matter() {
        let mut all = named(&[("a:1", 1), ("b:1", 2), ("c:1", 1)]);
        let mut pool = Pool::new(&[1, 2, 1]);
        let before = homes(&Maglev::new(&all), &mut pool);
        all.reverse();
        assert_eq!(before, homes(&Maglev::new(&all), &mut pool));
    }

    #[test]
    fn absurd_weights_leave_everybody_a_slot() {
        let owned = owned(&Maglev::new(&entrants(&[u32::MAX, 1, u32::MAX])), 3);
        assert_eq!(owned[1], 1);
        assert!(owned[0].abs_diff(owned[2]) <= 1);
    }

    proptest! {
        #[test]
        fn whoever_is_eligible_is_found(eligible in prop::collection::vec(prop::bool::weighted(0.05), 1..60), hash: u64) {
            let weights = vec![1; eligible.len()];
            let mut pool = Pool::new(&weights);
            for (rank, eligible) in pool.ranks.iter_mut().zip(&eligible) {
                if !eligible { *rank = NOT_ELIGIBLE; }
            }
            match pool.pick(&Maglev::new(&entrants(&weights)), hash) {
                Some(position) => prop_assert!(eligible[position]),
                None => prop_assert!(!eligible.contains(&true)),
            }
        }
    }
}
