//! The short form of `make fuzz`: its seeds, and what a few random changes make of them. The same inputs every time.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{RngSeed, TestRunner};

use super::*;

const INPUTS: u32 = 1500;
/// Bytes that mean something somewhere.
const SPECIAL: &[u8] = b"\r\n \t:;,/?#*\"\\%@_-0159aAfF\0\x7f\x80\xff";

/// What begins with this name in the folder of seeds.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds").join(name);
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("seeds")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).expect("a seed")).collect()
}

/// A change of an input, at places that are found when its length is known.
#[derive(Debug, Clone)]
enum Change {
    Replace(Index, u8),
    Insert(Index, u8),
    Remove(Index, Index),
    /// A part of another seed instead of the bytes there.
    Splice(Index, Vec<u8>, Index, Index),
}

impl Change {
    fn of(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Self> {
        let byte = || prop_oneof![3 => select(SPECIAL), 1 => any::<u8>()];
        prop_oneof![
            3 => (any::<Index>(), byte()).prop_map(|(at, byte)| Self::Replace(at, byte)),
            3 => (any::<Index>(), byte()).prop_map(|(at, byte)| Self::Insert(at, byte)),
            1 => (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Self::Remove(one, other)),
            2 => (any::<Index>(), select(seeds), any::<Index>(), any::<Index>())
                .prop_map(|(at, seed, one, other)| Self::Splice(at, seed, one, other)),
        ]
    }

    fn apply(self, input: &mut Vec<u8>) {
        let len = input.len();
        let range = |one: Index, other: Index, len: usize| {
            let (one, other) = (one.index(len + 1), other.index(len + 1));
            one.min(other)..one.max(other)
        };
        match self {
            Self::Replace(at, byte) if len > 0 => input[at.index(len)] = byte,
            Self::Replace(_, byte) => input.push(byte),
            Self::Insert(at, byte) => input.insert(at.index(len + 1), byte),
            Self::Remove(one, other) => drop(input.drain(range(one, other, len))),
            Self::Splice(at, seed, one, other) => {
                let part = &seed[range(one, other, seed.len())];
                let at = at.index(len + 1);
                input.splice(at..len.min(at + part.len()), part.iter().copied());
            }
        }
    }
}

/// Calls `check` with the seeds and with what changes make of them.
fn try_all(name: &str, check: impl Fn(&[u8])) {
    let seeds = seeds(name);
    seeds.iter().for_each(|seed| check(seed));
    let changes = prop::collection::vec(Change::of(seeds.clone()), 1..4);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: INPUTS,
        rng_seed: RngSeed::Fixed(4),
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&(select(seeds), changes), |(mut input, changes)| {
        changes.into_iter().for_each(|change| change.apply(&mut input));
        check(&input);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn request_heads_have_one_reading() {
    try_all("request_head", request_head);
}

#[test]
fn response_heads_have_one_reading() {
    try_all("response_head", response_head);
}

#[test]
fn chunked_bodies_have_one_content_and_one_end() {
    try_all("chunked_body", chunked_body);
}
