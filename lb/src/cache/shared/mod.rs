//! What several `lb` tell each other through Redis, so that what one of them purges none of them serves.
//!
//! # The log
//!
//! Every purge, wherever it comes from, is done here first and then put into a log in Redis ([`log`]), with a number that is one more than the
//! last. Every `lb` reads that log, is woken when something comes, and does what it reads. One that was cut off goes on where it stopped. Where
//! a number is missing because the log was trimmed, or the log has begun another life because Redis was started again, it may have missed
//! something, and drops all that it has stored until then.
//!
//! A purge of others takes its number from this cache's own counter, as a purge of its own does, so that what was fetched before it does not
//! enter the store after it.
//!
//! # Fast
//!
//! Nobody waits. A purge leaves a note in the [`outbox`] and a task takes it along. While Redis is away, everybody serves what they have, and notes
//! are kept; too many of them become the purge of everything.
//!
//! # Strict
//!
//! A write's answer begins when no `lb` serves any more what it has purged. For that, each has a lease in Redis, which it renews with every
//! report of how far it has read ([`member`]). A writer's purge is in the log first; then it waits until every lease is gone or its holder has reported that purge
//! ([`fence`]). A holder without a lease that it can trust serves nothing with a tag from its store, and joins no fetch that brings something with a
//! tag. It can trust a new lease once it has done every purge that was in the log when the lease began, and after 1.25 s.
//!
//! No two clocks are compared: see [`fence`]. A member counts its lease as over 1.5 s after it has *asked* for it, a writer 2 s after it has *seen* it
//! unrenewed, and takes it away then, so that the holder learns of it.
//!
//! When Redis is away, leases lapse, and what has tags is fetched from the servers; nothing fails. A writer waits for 2 s from when Redis has stopped to
//! answer, and after that only for one more try that fails: nobody has a lease by then. When Redis is back, the first who reports finds that no lease was renewed for too long, and
//! begins another life of the log, by which everybody drops what was stored before: a write may have been answered meanwhile that is not in
//! the log. A Redis that is there only for a moment gives nobody a lease to trust: for that it has to be there for longer than a writer looks away. The
//! one case in which the promise is not kept is a writer that is cut off from Redis for longer than all of that while others are not.

mod fence;
mod gate;
mod keeper;
mod link;
mod log;
mod member;
mod message;
#[cfg(test)]
mod model;
mod outbox;
mod reader;
mod record;
mod tier;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ahash::RandomState;
use lb_config::{Coherence, Redis};
use redis::RedisError;
use tokio::runtime::Runtime;

pub use outbox::Settled;
pub use tier::{Asking, Waiting};
pub(super) use tier::{Claim, Original};

use self::gate::Gate;
use self::member::Member;
use self::outbox::{Mode, Outbox};
use self::tier::Tier;
use super::purge::{Strength, Target};
use super::{Cache, Now, Purge};
use crate::observe::metrics::Counter;

/// What it means where it stands for a moment.
const ALWAYS: u64 = u64::MAX;
const NEVER: u64 = 0;
/// How long the last purges of an `lb` that ends may take.
const PARTING: Duration = Duration::from_millis(500);

/// A cache's part in what it shares with others. Without any it does nothing.
#[derive(Debug)]
pub(super) struct Shared {
    outbox: Outbox,
    pub(super) counts: Counts,
    /// Moments are milliseconds since this one, and 1 more.
    base: Instant,
    /// Until when what has tags may be served.
    trusted: AtomicU64,
    /// Since when Redis has not answered; `NEVER`: it does.
    away: AtomicU64,
    running: Mutex<Option<Running>>,
    /// What is in Redis and true.
    gate: Gate,
    tier: Tier,
}

/// What is counted.
#[derive(Debug, Default)]
pub struct Counts {
    /// Purges of this `lb`.
    pub purges: Counter,
    /// Messages that were put into the log.
    pub purges_told: Counter,
    /// Purges of others.
    pub purges_heard: Counter,
    /// Commands and connections to Redis that failed.
    pub errors: Counter,
    /// Misses that were found in Redis.
    pub tier_hits: Counter,
    /// Misses that were not.
    pub tier_misses: Counter,
    /// Responses that were written to Redis.
    pub tier_kept: Counter,
    /// Those that were not, because too many waited.
    pub tier_dropped: Counter,
}

#[derive(Debug)]
struct Running {
    redis: Redis,
    coherence: Coherence,
    me: String,
    /// `None` once it was stopped.
    runtime: Option<Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// How it stands with what is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Where Redis is, without the password.
    pub redis: String,
    /// Whether it answers.
    pub connected: bool,
    /// With `strict`: whether what has tags may be served.
    pub trusted: Option<bool>,
}

impl Shared {
    pub(super) fn new(hashing: &RandomState) -> Self {
        Self {
            gate: Gate::new(hashing),
            tier: Tier::new(),
            outbox: Outbox::new(),
            counts: Counts::default(),
            base: Instant::now(),
            trusted: AtomicU64::new(ALWAYS),
            away: AtomicU64::new(NEVER),
            running: Mutex::new(None),
        }
    }

    /// A purge begins here; [`Shared::purged`] is its end.
    pub(super) fn purges(&self, purge: &Purge<'_>, hashing: &RandomState) -> Option<u64> {
        self.counts.purges.add(1);
        self.outbox.is_on().then(|| self.gate.begins(Target::new(purge, hashing)))
    }

    /// A purge was done here.
    pub(super) fn purged(&self, purge: &Purge<'_>, strength: Strength, begun: Option<u64>) {
        let ticket = self.outbox.add(purge, strength);
        if let Some(begun) = begun {
            self.gate.ends(begun, ticket);
        }
    }

    fn moment(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.base).as_millis() as u64 + 1
    }

    fn trust_until(&self, until: Instant) {
        self.trusted.store(self.moment(until), Ordering::Release);
    }

    fn distrust(&self) {
        self.trusted.store(NEVER, Ordering::Release);
    }

    /// Whether what has tags may be served.
    pub(super) fn trusts(&self, now: Now) -> bool {
        let until = self.trusted.load(Ordering::Acquire);
        until == ALWAYS || self.moment(now.mono) < until
    }

    /// Redis has answered.
    fn met(&self) {
        if self.away.swap(NEVER, Ordering::Relaxed) != NEVER {
            tracing::info!("Redis answers again");
        }
    }

    fn failed(&self, error: &RedisError, what: &str) {
        self.counts.errors.add(1);
        let now = self.moment(Instant::now());
        if self.away.compare_exchange(NEVER, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(%error, "Redis does not answer: {what}");
        }
    }

    fn away_since(&self) -> Option<Instant> {
        match self.away.load(Ordering::Relaxed) {
            NEVER => None,
            at => Some(self.base + Duration::from_millis(at)),
        }
    }
}

impl Cache {
    /// Says with whom it shares, and how; `None`: with nobody. What it shares with already goes on as it is.
    pub fn share(self: &Arc<Self>, with: Option<(&Redis, Coherence)>) {
        let mut running = self.shared.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.as_ref().map(|running| (&running.redis, running.coherence)) == with {
            return;
        }
        *running = None;
        self.shared.tier.close();
        self.shared.gate.closes();
        self.shared.away.store(NEVER, Ordering::Relaxed);
        let Some((redis, coherence)) = with else {
            self.shared.outbox.set(Mode::Off);
            self.shared.trusted.store(ALWAYS, Ordering::Release);
            return;
        };
        let strict = coherence == Coherence::Strict;
        match strict {
            true => self.shared.distrust(),
            false => self.shared.trusted.store(ALWAYS, Ordering::Release),
        }
        self.shared.outbox.set(if strict { Mode::Wait } else { Mode::Tell });
        match self.start(redis, coherence) {
            Ok(started) => *running = Some(started),
            Err(error) => tracing::error!(%error, "cannot start what shares the cache through Redis"),
        }
    }

    /// A thread of its own, so that nothing else that has to be done delays a lease.
    fn start(self: &Arc<Self>, redis: &Redis, coherence: Coherence) -> std::io::Result<Running> {
        let strict = coherence == Coherence::Strict;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("lb-redis")
            .enable_all()
            .build()?;
        let me = format!("{:016x}", rand::random::<u64>());
        runtime.spawn(reader::run(Arc::clone(self), redis.clone(), me.clone(), Member::new(strict)));
        runtime.spawn(keeper::run(Arc::clone(self), redis.clone(), self.shared.tier.open()));
        runtime.spawn(writer::run(Arc::clone(self), redis.clone(), me.clone(), strict));
        Ok(Running {
            redis: redis.clone(),
            coherence,
            me,
            runtime: Some(runtime),
        })
    }

    /// How it stands with what is shared; `None`: nothing is.
    pub fn standing(&self) -> Option<Standing> {
        let running = self.shared.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|running| Standing {
            redis: running.redis.to_string(),
            connected: self.shared.away_since().is_none(),
            trusted: (running.coherence == Coherence::Strict).then(|| self.shared.trusts(Now::read())),
        })
    }

    /// What is counted of what is shared.
    pub fn shared_counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// What has to be waited for before an answer that has purged something, if anything has.
    pub fn settled(&self) -> Option<Settled> {
        self.shared.outbox.settled()
    }

    /// Waits for that. Where it takes too long it is counted as a failure.
    pub async fn settle(&self, settled: Settled) {
        if !settled.wait().await {
            self.shared.counts.errors.add(1);
            tracing::warn!("a write was answered before all others have purged what it has changed");
        }
    }

    /// Shares with nobody any more, and gives its lease up, so that nobody waits for it.
    pub async fn leave(&self) {
        if self.standing().is_none_or(|standing| !standing.connected) {
            return;
        }
        // What was purged last is still to be told.
        let _ = tokio::time::timeout(PARTING, self.shared.outbox.taken_along().wait()).await;
        let running = self.shared.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = running else { return };
        let (redis, me, leases) = (running.redis.clone(), running.me.clone(), running.coherence == Coherence::Strict);
        drop(running);
        self.shared.tier.close();
        if leases && let Ok(mut link) = link::Link::connect(&redis).await {
            self.shared.distrust();
            // If this fails, it lapses.
            let _ = log::leave(&mut link, &me).await;
        }
    }
}
