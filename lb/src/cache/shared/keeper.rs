//! Writes responses to Redis, one after the other, and keeps the connection by which they are looked for.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use lb_config::Redis;
use redis::{Cmd, RedisResult};
use tokio::sync::mpsc;

use super::link::Link;
use super::record::{self, Head, Record};
use super::tier::{Keep, Place, Release, Work};
use crate::cache::{Cache, Now};

/// How long a write may take.
const WRITE: Duration = Duration::from_secs(1);
/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(200);
/// Writes at once.
const AT_ONCE: usize = 16;

/// KEYS: response, its claim, where the selector stands. ARGV: response, for how long, who claims, selector or nothing.
const KEEP: &str = r"
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if ARGV[4] ~= '' then redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[2]) end
if redis.call('GET', KEYS[2]) == ARGV[3] then redis.call('DEL', KEYS[2]) end
return 1
";

/// KEYS: claim. ARGV: who claims.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1";

/// Goes on for as long as this `lb` shares with others.
pub(super) async fn run(cache: Arc<Cache>, redis: Redis, mut work: mpsc::Receiver<Work>) {
    loop {
        match Link::connect(&redis).await {
            Ok(link) => {
                cache.shared.tier.set_link(Some(link.clone()));
                if let Err(error) = write(&cache, &link, &mut work).await {
                    cache.shared.counts.errors.add(1);
                    tracing::debug!(%error, "Redis does not answer: responses are not kept there");
                }
                cache.shared.tier.set_link(None);
            }
            Err(_) => cache.shared.counts.errors.add(1),
        }
        // What would wait for longer than this is not worth it. A claim that is dropped here comes in again, and lapses if need be.
        for _ in 0..work.len() {
            if let Ok(work) = work.try_recv() {
                cache.shared.tier.dequeued(work.bytes());
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn write(cache: &Arc<Cache>, link: &Link, work: &mut mpsc::Receiver<Work>) -> RedisResult<()> {
    let mut writing = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(written) = writing.next() => written?,
            Some(work) = work.recv(), if writing.len() < AT_ONCE => writing.push(one(cache, link.clone(), work)),
            () = cache.shared.tier.broken.notified() => return Ok(()),
        }
    }
}

async fn one(cache: &Arc<Cache>, mut link: Link, work: Work) -> RedisResult<()> {
    cache.shared.tier.dequeued(work.bytes());
    match work {
        Work::Keep(keep) => keep_one(cache, &mut link, *keep).await,
        Work::Release(release) => link.ask(&given_up(&release), WRITE).await,
    }
}

fn given_up(release: &Release) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(RELEASE).arg(1).arg(format!("{}:c", release.place)).arg(&release.token);
    command
}

async fn keep_one(cache: &Arc<Cache>, link: &mut Link, keep: Keep) -> RedisResult<()> {
    let Keep { object, original } = keep;
    // In this order: what is stored after the place was asked for is true up to there.
    let place = cache.shared.gate.place();
    let now = Now::read();
    let (Some((epoch, end)), true, Some(left)) = (place, cache.holds(&object), object.kept_for(now)) else {
        // Its claim, if there is one, goes with it.
        return Ok(());
    };
    let (upstream, key) = (object.key.upstream().to_vec(), object.key.rendered().to_vec());
    let names = Place::of(&upstream, &key);
    let selector = object.variant().selector();
    let values = object.variant().values().to_vec();
    let at = match selector.is_empty() {
        true => names.response(),
        false => names.variant(selector, &values),
    };
    let note = if selector.is_empty() {
        Vec::new()
    } else {
        record::write_selector(selector)
    };
    let token = original.claim.and_then(super::tier::Claim::take).map(|release| release.token);
    let record = Record {
        upstream,
        key,
        epoch,
        end,
        at: now.millis(),
        age: object.freshness.age(now).as_millis() as u64,
        values,
        head: Head::of(&object, original.tags),
        body: object.whole_body(),
    };
    // Compressing takes time that a lease does not have.
    let Ok(bytes) = tokio::task::spawn_blocking(move || record.write()).await else {
        return Ok(());
    };
    let mut command = redis::cmd("EVAL");
    command.arg(KEEP).arg(3).arg(&at).arg(format!("{at}:c")).arg(names.response());
    command
        .arg(bytes)
        .arg(left.as_millis().max(1) as u64)
        .arg(token.unwrap_or_default())
        .arg(note);
    link.ask::<()>(&command, WRITE).await?;
    cache.shared.counts.tier_kept.add(1);
    Ok(())
}
