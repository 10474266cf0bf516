//! Users and lists in Redis, so that the database is asked once where many servers are asked often.
//!
//! What it promises: a read never shows a user older than the last write that was acknowledged before the read began, through whichever
//! server; and whatever becomes of Redis costs time, and nothing else. How:
//!
//! - A value in Redis is the answer's body, to be sent as it is. A hit is one `HGET`.
//! - Whoever misses takes a *token* in Redis, fetches from the database, and may keep what it has fetched while the token is still there.
//!   Others wait for it ([`flights`], and [`Cache::read`] for those in other processes). So there is one fetch for a crowd.
//! - A write takes out what it has outdated, and the tokens with it, after its commit and before its answer ([`Cache::written`]). What was
//!   fetched before the commit finds no token then. For a user, the version is compared as well.
//! - Each write leaves a note in the database, in its transaction ([`crate::store::Outbox`]). Every server looks for notes a few times a
//!   second, and tells Redis. Only a server that has done so lately trusts Redis ([`lease`]), so a write that Redis could not be told of
//!   can be answered after a while, and one whose server died in between is told by another.
//! - All keys bear the run of Redis that they were written to ([`link`]), and may vanish one by one ([`script`]).
//! - Where there are replicas, a write leaves its place in the log, and a read that misses says which place it needs
//!   ([`script::Live::invalidate`]).
//!
//! One Redis is meant, not several that stand in for each other: a server that still talks to an old one would not hear of what others tell
//! a new one.

mod flights;
mod lease;
mod link;
mod metrics;
mod outbox;
mod script;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::{Client, RedisError};
use tokio::task::AbortHandle;
use tokio::time::sleep;
use uuid::Uuid;

use crate::store::{At, Lsn, Note, Result, Store, StoreError};
use flights::{Flights, Outcome};
use lease::{BLOCKED, LIFETIME, Lease, MARGIN};
use link::{Link, Live};
pub use metrics::Counts;
use script::{Filled, Missed, Slot};

/// The longest that anything is kept. Half of what a note lives: see [`Note::LIFETIME`].
pub const LONGEST: Duration = Duration::from_secs(3600);

/// How long a read waits for somebody in another process to bring what it needs, before it asks the database itself.
const WAIT: Duration = Duration::from_secs(1);
/// The first pause between two looks, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(64));
/// The pause between two tries to tell Redis of a write.
const TELL_PAUSE: Duration = Duration::from_millis(20);

/// What a read is for.
#[derive(Debug, Clone)]
pub enum Key {
    /// One user.
    User(i64),
    /// A part of the list, by any name that is its own.
    List(String),
}

/// What was fetched from the database.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// What to keep. Nothing, where there is no such user.
    pub value: Option<Bytes>,
    /// Of a user, its version.
    pub version: Option<i64>,
}

/// Users and lists in Redis, as one server uses them.
pub struct Cache {
    shared: Arc<Shared>,
    tasks: [AbortHandle; 2],
}

struct Shared {
    store: Arc<dyn Store>,
    link: Link,
    lease: Lease,
    flights: Arc<Flights>,
    ttl: Duration,
    counts: Counts,
    /// Notes that Redis has been told of, and that can be removed.
    told: Mutex<Vec<i64>>,
    /// A note that Redis could not be told of, and since when it has been there.
    blocked: Mutex<Option<(i64, Instant)>>,
    /// How many notes the last look at the outbox has found.
    found: AtomicU64,
    /// Redis was trusted at some time.
    held: AtomicBool,
    /// A read found that no places in the log are kept.
    needs_floor: AtomicBool,
}

/// How it is.
#[derive(Debug, Clone, Copy)]
pub struct Status {
    /// Redis is trusted.
    pub holds: bool,
    /// It is, or was at some time.
    pub held: bool,
    /// There is a connection to it.
    pub connected: bool,
    /// Notes that lay in the outbox at the last look.
    pub notes: u64,
}

impl Cache {
    /// Connects in the background. What is kept lives for `ttl`, and at most for [`LONGEST`].
    pub fn start(client: Client, store: Arc<dyn Store>, ttl: Duration) -> Self {
        let shared = Arc::new(Shared {
            store,
            link: Link::new(),
            lease: Lease::new(Instant::now()),
            flights: Arc::default(),
            ttl: ttl.min(LONGEST),
            counts: Counts::default(),
            told: Mutex::default(),
            blocked: Mutex::default(),
            found: AtomicU64::new(0),
            held: AtomicBool::new(false),
            needs_floor: AtomicBool::new(false),
        });
        let (linked, looking) = (Arc::clone(&shared), Arc::clone(&shared));
        let keeping = tokio::spawn(async move { linked.link.keep(&client, linked.store.as_ref()).await });
        let looking = tokio::spawn(async move { looking.rounds().await });
        Self {
            shared,
            tasks: [keeping.abort_handle(), looking.abort_handle()],
        }
    }

    /// What is kept under the key; else what `fetch` gets from the database, which is kept then.
    pub async fn read<F, T>(&self, key: Key, fetch: F) -> Result<Option<Bytes>>
    where
        F: Fn(At) -> T + Send + Sync + 'static,
        T: Future<Output = Result<Fetched>> + Send + 'static,
    {
        let shared = &self.shared;
        let slot = match &key {
            Key::User(id) => Slot::user(*id),
            Key::List(part) => Slot::list(part),
        };
        let mut is_again = false;
        let live = loop {
            if let Some(live) = shared.trusted() {
                match live.get(&slot).await {
                    Ok(Some(value)) => {
                        shared.counts.hits.add(1);
                        return Ok(Some(value));
                    }
                    Ok(None) => break live,
                    Err(e) => shared.failed(&live, &e),
                }
            }
            shared.counts.unused.add(1);
            match fetch(At::Primary).await {
                // While it was waited for in vain, Redis has come back, and knows what a replica has to know.
                Err(StoreError::Unavailable(_)) if !is_again && shared.trusted().is_some() => is_again = true,
                fetched => return Ok(fetched?.value),
            }
        };
        // A task of its own: others wait for it, and whoever asked may go away.
        let shared = Arc::clone(shared);
        let missing = tokio::spawn(async move { shared.miss(live, slot, fetch).await });
        missing
            .await
            .unwrap_or_else(|e| Err(StoreError::Broken(format!("a fetch for the cache broke off: {e}"))))
    }

    /// A write is committed: its answer may begin when this has returned. An error says that the write cannot be acknowledged, though it
    /// was done.
    pub async fn written(&self, note: Note) -> Result<()> {
        self.shared.written(note).await
    }

    /// What was counted.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// How it is now.
    pub fn status(&self) -> Status {
        Status {
            holds: self.shared.lease.holds(Instant::now()),
            held: self.shared.held.load(Ordering::Relaxed),
            connected: self.shared.link.live().is_some(),
            notes: self.shared.found.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Shared {
    /// A connection to a Redis that may be trusted.
    fn trusted(&self) -> Option<Arc<Live>> {
        self.link.live().filter(|_| self.lease.holds(Instant::now()))
    }

    fn failed(&self, live: &Arc<Live>, error: &RedisError) {
        self.counts.errors.add(1);
        tracing::debug!("Redis: {error}");
        self.link.failed(live, error);
    }

    /// It was not there a moment ago.
    async fn miss<F, T>(&self, live: Arc<Live>, slot: Slot, fetch: F) -> Outcome
    where
        F: Fn(At) -> T + Send + Sync,
        T: Future<Output = Result<Fetched>> + Send,
    {
        let started = Instant::now();
        let mut flight = self.flights.open();
        let mut pause = PAUSES.0;
        let outcome = loop {
            let token = Uuid::now_v7().simple().to_string();
            // Before anybody can find it in Redis.
            flight.join(&token);
            let (holder, place) = match live.miss(&slot, &token, self.ttl).await {
                Ok(Missed::Found(value)) => {
                    self.counts.shared.add(1);
                    break Ok(Some(value));
                }
                Ok(Missed::Held { token, place }) => (token, place),
                Err(e) => {
                    self.failed(&live, &e);
                    self.counts.unused.add(1);
                    break fetch(At::Primary).await.map(|fetched| fetched.value);
                }
            };
            if holder == token {
                self.counts.misses.add(1);
                break self.bring(&live, &slot, &token, place, &fetch).await;
            }
            flight.leave(&token);
            let landed = match flight.join(&holder) {
                // They end by themselves: what they wait for is the database, which has its deadline.
                Some(others) => others.landed().await,
                None => None,
            };
            if let Some(outcome) = landed {
                self.counts.shared.add(1);
                break outcome;
            }
            if started.elapsed() > WAIT {
                self.counts.misses.add(1);
                break fetch(self.at(place)).await.map(|fetched| fetched.value);
            }
            sleep(pause).await;
            pause = PAUSES.1.min(pause * 2);
        };
        flight.land(&outcome);
        outcome
    }

    fn at(&self, place: Option<Lsn>) -> At {
        if place.is_none() {
            self.needs_floor.store(true, Ordering::Relaxed);
        }
        place.map_or(At::Primary, At::Replayed)
    }

    /// Fetches it, and keeps it if that is still right.
    async fn bring<F, T>(&self, live: &Arc<Live>, slot: &Slot, token: &str, place: Option<Lsn>, fetch: &F) -> Outcome
    where
        F: Fn(At) -> T + Send + Sync,
        T: Future<Output = Result<Fetched>> + Send,
    {
        let fetched = fetch(self.at(place)).await;
        let Ok(Fetched {
            value: Some(value),
            version,
        }) = fetched
        else {
            if let Err(e) = live.release(slot, token).await {
                self.failed(live, &e);
            }
            return fetched.map(|nobody| nobody.value);
        };
        match live.fill(slot, token, &value, version, self.ttl).await {
            Ok(Filled::Kept) => self.counts.fills.add(1),
            Ok(Filled::TooLate) => self.counts.refused.add(1),
            Ok(Filled::Outdated) => {
                self.counts.refused.add(1);
                return match fetch(At::Primary).await {
                    // Redis was told of a write, but not of its place: the primary has gone away right after the commit, so that it was not acknowledged.
                    Err(StoreError::Unavailable(_)) if place.is_some() && !self.store.has_primary() => Ok(Some(value)),
                    newest => newest.map(|fetched| fetched.value),
                };
            }
            Err(e) => self.failed(live, &e),
        }
        Ok(Some(value))
    }

    async fn written(&self, note: Note) -> Result<()> {
        let committed = Instant::now();
        let place = match self.store.position().await {
            Ok(place) => place,
            Err(e) => {
                // Nobody could tell readers how much a replica must know. The note stays, and is told of as soon as the primary answers.
                if let Some(live) = self.link.live()
                    && let Err(e) = live.invalidate(&[note], None, false).await
                {
                    self.failed(&live, &e);
                }
                return Err(e);
            }
        };
        let mut looked = false;
        while !self.tell(note, place).await {
            let is_sign = !looked && self.is_blocked().await;
            looked = true;
            if is_sign || committed.elapsed() > LIFETIME + MARGIN {
                self.counts.untold.add(1);
                if let Some(row) = note.row {
                    self.blocked().get_or_insert((row, committed));
                }
                break;
            }
            sleep(TELL_PAUSE).await;
        }
        Ok(())
    }

    /// Tells Redis of a write. Whether it has heard.
    async fn tell(&self, note: Note, place: Option<Lsn>) -> bool {
        let Some(live) = self.link.live() else { return false };
        match live.invalidate(&[note], place, true).await {
            Ok(_) => {
                self.counts.told.add(1);
                self.told().extend(note.row);
                true
            }
            Err(e) => {
                self.failed(&live, &e);
                false
            }
        }
    }

    /// Whether a note has been there for so long, and still is, that nobody trusts Redis (see [`lease`]).
    async fn is_blocked(&self) -> bool {
        let blocked = *self.blocked();
        let Some((row, _)) = blocked.filter(|(_, since)| since.elapsed() > BLOCKED) else {
            return false;
        };
        match self.store.has_note(row).await {
            Ok(true) => true,
            Ok(false) => {
                self.blocked().take_if(|(known, _)| *known == row);
                false
            }
            Err(_) => false,
        }
    }

    fn told(&self) -> MutexGuard<'_, Vec<i64>> {
        // Whole at every moment, as is the next one.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn blocked(&self) -> MutexGuard<'_, Option<(i64, Instant)>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
