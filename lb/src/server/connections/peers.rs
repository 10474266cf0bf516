//! How many connections each address has.
//!
//! A connection counts for the address at its other end, whole: an IPv6 address for itself, as nginx's `limit_conn` on
//! `$binary_remote_addr` and HAProxy's `src` have it, and an IPv4 address that a socket shows as IPv6 for what it is. There are as many
//! addresses here as there are connections, at most.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ahash::RandomState;
use hashbrown::HashMap;

/// Parts with a lock each; a power of two.
const PARTS: usize = 16;

/// Counts of connections by address, exact across threads.
#[derive(Default)]
pub(super) struct Peers {
    hash: RandomState,
    parts: [Part; PARTS],
}

#[derive(Default)]
#[repr(align(128))]
struct Part(Mutex<HashMap<IpAddr, usize, RandomState>>);

impl Peers {
    /// One more; how many there are with it.
    pub(super) fn add(&self, address: IpAddr) -> usize {
        let mut part = self.part(address);
        let count = part.entry(address).or_default();
        *count += 1;
        *count
    }

    /// One less.
    pub(super) fn remove(&self, address: IpAddr) {
        let mut part = self.part(address);
        if let Some(count) = part.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                part.remove(&address);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn addresses(&self) -> usize {
        self.parts.iter().map(|part| part.0.lock().unwrap().len()).sum()
    }

    fn part(&self, address: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, usize, RandomState>> {
        let part = self.hash.hash_one(address) as usize % PARTS;
        self.parts[part].0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
