//! Hears of the others' purges, and does them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_config::Redis;
use redis::RedisError;

use super::link::Link;
use super::log::{self, Entry};
use super::member::{Member, Next};
use super::message;
use crate::cache::Cache;
use crate::cache::purge::Strength;

/// How long news are waited for before it reports all the same: that renews the lease, and notices a log that has gone.
const REPORT: Duration = Duration::from_millis(400);
/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(200);

/// Goes on for as long as this `lb` shares with others.
pub(super) async fn run(cache: Arc<Cache>, redis: Redis, me: String, mut member: Member) {
    loop {
        let Err(error) = follow(&cache, &redis, &me, &mut member).await;
        cache.shared.failed(&error, "purges of others are not heard of");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow(cache: &Arc<Cache>, redis: &Redis, me: &str, member: &mut Member) -> Result<Infallible, RedisError> {
    let shared = &cache.shared;
    let mut link = Link::connect(redis).await?;
    loop {
        let sent = Instant::now();
        let report = log::report(&mut link, me, member).await?;
        shared.met();
        match member.reported(sent, report) {
            Next::Drop => {
                drop_all(cache, member);
                continue;
            }
            Next::Trust(until) => shared.trust_until(until),
            Next::GoOn => {}
        }
        let mut entries = log::read(&mut link, member.last(), REPORT).await?;
        // Without a lease nobody waits for a report.
        while !entries.is_empty() && apply(cache, me, member, &entries) && !member.leases() {
            entries = log::read(&mut link, member.last(), REPORT).await?;
        }
        if entries.is_empty() && !member.read_nothing() {
            drop_all(cache, member);
        }
    }
}

/// Does what others have purged. `false`: some is missing.
pub(super) fn apply(cache: &Arc<Cache>, me: &str, member: &mut Member, entries: &[Entry]) -> bool {
    for entry in entries {
        if !member.read(entry.number) {
            drop_all(cache, member);
            return false;
        }
        // What this `lb` has sent it has done before.
        if entry.from != me {
            message::read(&entry.message, |purge, strength| {
                cache.shared.counts.purges_heard.add(1);
                cache.purge_here(purge, strength);
            });
        }
    }
    true
}

/// It may have missed something: what is stored may be older than what the others have purged.
pub(super) fn drop_all(cache: &Arc<Cache>, member: &Member) {
    if member.leases() {
        cache.shared.distrust();
    }
    let dropped = cache.purge_here(&crate::cache::Purge::All, Strength::Hard);
    if dropped > 0 {
        tracing::info!(
            dropped,
            "purges of others may have been missed: all that was stored before is dropped"
        );
    }
}
