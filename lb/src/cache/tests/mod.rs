//! Claims about the cache as a whole.

mod coalescing;
mod memory;
mod policy;
mod purging;
mod races;
mod saving;
mod stale;
mod storing;
mod streaming;
mod validation;

use std::sync::Arc;

use futures::FutureExt;

use super::testing::{Steps, get};
use super::{Broken, Cache, Follower, Joined, Lookup, Now, Purge, Reader};

pub(super) const URI: &str = "http://h/users";

pub(super) fn cache() -> Arc<Cache> {
    Cache::new(16 << 20, 1 << 20)
}

pub(super) fn follow(cache: &Arc<Cache>, now: Now) -> Follower {
    match cache.ask(URI, &get(), now) {
        Lookup::Wait(follower) => follower,
        other => panic!("{other:?}"),
    }
}

pub(super) fn told(follower: Follower) -> Option<Joined> {
    follower.wait(&get()).now_or_never()
}

pub(super) fn reader(follower: Follower) -> Reader {
    match told(follower) {
        Some(Joined::Stream(reader)) => reader,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn read(mut reader: Reader) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::new();
    while let Some(chunk) = reader.next().await? {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Nothing is left of any fetch.
pub(super) fn assert_idle(cache: &Cache) {
    for shard in &cache.shards {
        assert!(super::lock(shard).flights.is_empty());
    }
    let arriving = cache.bytes() - stored(cache);
    assert_eq!(arriving, 0);
}

pub(super) fn stored(cache: &Cache) -> u64 {
    let before = cache.bytes();
    cache.purge(&Purge::All);
    before - cache.bytes()
}
