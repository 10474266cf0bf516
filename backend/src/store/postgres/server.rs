//! One PostgreSQL server: its pool, what its monitor knows of it, and what is asked of it to learn whether it may answer.
//!
//! What the monitor knows is a hint, by which a server is chosen. What counts is what the session itself has seen: a session lives in one server, which does
//! not go back within its life, so all that had been replayed when the session asked is visible to every statement after it. (To ask within the same statement
//! proves nothing: its snapshot is older than the place that it is told.)

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::Notify;

use super::cluster::View;
use crate::settings::PoolSettings;
use crate::store::pool::{Held, Pool, PoolStatus};
use crate::store::{Lsn, Result};

/// A primary that has been silent for longer is away: a single late answer is no reason to refuse writes.
const SILENCE: Duration = Duration::from_secs(2);

/// What one session saw of its server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// It replays what another one writes.
    pub(super) recovering: bool,
    /// Of a replica, how far it had replayed; of a primary, how far it had written.
    pub(super) place: Lsn,
    /// Which cluster it is a copy of.
    pub(super) system: i64,
    /// Of a primary, the timeline that it writes; of a replica, the last one that a backend has left a row of; 0 when there is none.
    pub(super) timeline: i64,
}

type SeenRow = (bool, i64, i64, i64);

fn seen((recovering, place, system, timeline): SeenRow) -> Seen {
    Seen {
        recovering,
        // Never negative: the log does not get that long.
        place: Lsn(u64::try_from(place).unwrap_or(0)),
        system,
        timeline,
    }
}

/// How far the server is, and which cluster it belongs to.
macro_rules! look {
    ($timeline:literal) => {
        concat!(
            "SELECT pg_is_in_recovery(), coalesce((CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ",
            "ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn)::bigint, 0), s.system_identifier, ",
            $timeline,
            " FROM pg_control_system() s"
        )
    };
}

/// What may be asked of any server, also of one without our tables. (Of a session in a primary the timeline is always the same.)
pub(super) async fn look(connection: &mut PgConnection) -> sqlx::Result<Seen> {
    const SQL: &str = look!(
        "CASE WHEN pg_is_in_recovery() THEN 0 ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint END"
    );
    Ok(seen(sqlx::query_as(SQL).fetch_one(connection).await?))
}

/// The same of a replica, with the timeline that it follows.
pub(super) async fn look_at_replica(connection: &mut PgConnection) -> sqlx::Result<Seen> {
    const SQL: &str = look!("coalesce((SELECT max(timeline) FROM timelines t WHERE t.system = s.system_identifier), 0)");
    Ok(seen(sqlx::query_as(SQL).fetch_one(connection).await?))
}

impl Seen {
    /// Whether a later statement of the session sees all up to `place` of what the primary in this view has written.
    fn shows(&self, place: Lsn, view: View) -> bool {
        self.recovering && self.is_of(view) && self.place >= place
    }

    /// Whether this is a session in the primary of this view, or in one that took its place.
    fn writes(&self, view: View) -> bool {
        !self.recovering && self.is_of(view)
    }

    pub(super) fn is_of(&self, view: View) -> bool {
        self.system == view.system && self.timeline >= view.timeline
    }
}

/// What the monitor found out last.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// It was asked at least once.
    pub(super) looked: bool,
    /// When it answered last, unless it is certain that it does not.
    answered: Option<Instant>,
    /// What it said then, or ever.
    pub(super) seen: Option<Seen>,
}

impl Known {
    /// Of a server that answered right now.
    pub(super) fn answered(seen: Seen) -> Self {
        Self {
            looked: true,
            answered: Some(Instant::now()),
            seen: Some(seen),
        }
    }

    pub(super) fn answers(&self) -> bool {
        self.answered.is_some_and(|at| at.elapsed() < SILENCE)
    }
}

/// Whose connections a statement takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Requests,
    Aside,
}

/// One server.
pub(super) struct Server {
    /// Host, port and database, for the log and the metrics.
    pub(super) name: String,
    pub(super) options: PgConnectOptions,
    pub(super) pool: Pool<PgConnection, Option<Seen>>,
    /// One connection for those who must not wait behind requests.
    pub(super) aside: Pool<PgConnection, Option<Seen>>,
    /// Wakes the monitor.
    pub(super) wanted: Notify,
    known: Mutex<Known>,
    /// It answers, and nobody doubts it.
    sound: AtomicBool,
    /// How often it was doubted.
    doubts: AtomicU64,
    /// The newest place known.
    place: AtomicU64,
    /// Statements under way.
    busy: AtomicUsize,
    /// When it was heard of last, in milliseconds since `started`.
    heard: AtomicU64,
    started: Instant,
}

/// A statement under way.
pub(super) struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    pub(super) fn new(options: &PgConnectOptions, settings: PoolSettings) -> Self {
        let options = options.clone().application_name("backend");
        let one = PoolSettings {
            max_connections: 1,
            ..settings
        };
        Self {
            name: name(&options),
            pool: Pool::new(options.clone(), settings),
            aside: Pool::new(options.clone(), one),
            options,
            wanted: Notify::new(),
            known: Mutex::default(),
            sound: AtomicBool::new(false),
            doubts: AtomicU64::new(0),
            place: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
            heard: AtomicU64::new(0),
            started: Instant::now(),
        }
    }

    /// Runs a statement in a session that sees all up to `place`. `None`: there is none here yet.
    pub(super) async fn read_replayed<T>(
        &self,
        place: Lsn,
        view: View,
        statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T> + Clone,
    ) -> Result<Option<T>> {
        let _busy = self.busy();
        let outcome = self
            .pool
            .read_on(async move |held: &mut Held<PgConnection, Option<Seen>>| {
                if !held.seen.is_some_and(|seen| seen.shows(place, view)) {
                    let seen = look_at_replica(held.connection()).await?;
                    held.seen = Some(seen);
                    self.place.fetch_max(seen.place.0, Ordering::Relaxed);
                    if !seen.shows(place, view) {
                        return Ok(None);
                    }
                }
                statement(held.connection()).await.map(Some)
            })
            .await;
        self.hear(&outcome);
        outcome
    }

    /// Runs a statement that changes nothing in a session that may also write. `None`: there is none here.
    pub(super) async fn read_newest<T>(
        &self,
        view: View,
        statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T> + Clone,
    ) -> Result<Option<T>> {
        let outcome = self
            .pool
            .read_on(async move |held: &mut Held<PgConnection, Option<Seen>>| {
                if may_write(held, view).await? {
                    statement(held.connection()).await.map(Some)
                } else {
                    Ok(None)
                }
            })
            .await;
        self.hear(&outcome);
        outcome
    }

    /// Runs a statement that changes something. `None`: it was not sent, because this is not the primary.
    pub(super) async fn write<T>(
        &self,
        lane: Lane,
        view: View,
        statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> Result<Option<T>> {
        let pool = match lane {
            Lane::Requests => &self.pool,
            Lane::Aside => &self.aside,
        };
        let outcome = pool
            .write_on(async move |held: &mut Held<PgConnection, Option<Seen>>| {
                if may_write(held, view).await? {
                    statement(held.connection()).await.map(Some)
                } else {
                    Ok(None)
                }
            })
            .await;
        self.hear(&outcome);
        outcome
    }

    /// Connections for requests, and all statements.
    pub(super) fn status(&self) -> PoolStatus {
        let (requests, aside) = (self.pool.status(), self.aside.status());
        PoolStatus {
            statements: requests.statements + aside.statements,
            ..requests
        }
    }

    /// Gives all connections back.
    pub(super) async fn close(&self) {
        self.aside.close().await;
        self.pool.close().await;
    }

    /// Runs a statement in whatever state the server is.
    pub(super) async fn read_any<T>(&self, statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T> + Clone) -> Result<Option<T>> {
        let outcome = self.pool.read(statement).await.map(Some);
        self.hear(&outcome);
        outcome
    }

    fn hear<T>(&self, outcome: &Result<T>) {
        if outcome.is_ok() {
            self.heard.store(self.now(), Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether anything was heard of it within the last `time`.
    pub(super) fn was_heard_within(&self, time: Duration) -> bool {
        Duration::from_millis(self.now() - self.heard.load(Ordering::Relaxed).min(self.now())) < time
    }

    fn busy(&self) -> Busy<'_> {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(&self.busy)
    }

    /// How many statements are under way.
    pub(super) fn load(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// How far it is, as far as is known.
    pub(super) fn place(&self) -> Lsn {
        Lsn(self.place.load(Ordering::Relaxed))
    }

    /// Whether it is worth a try as a replica of the primary in this view.
    pub(super) fn is_replica(&self, view: View) -> bool {
        self.sound.load(Ordering::Relaxed) && self.known().seen.is_some_and(|seen| seen.recovering && seen.is_of(view))
    }

    /// It failed or was silent: it is left alone until its monitor hears of it again.
    pub(super) fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::Relaxed);
        self.sound.store(false, Ordering::Relaxed);
        self.wanted.notify_one();
    }

    /// What to compare with in [`Server::learn`].
    pub(super) fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::Relaxed)
    }

    pub(super) fn known(&self) -> Known {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // What is in it is whole at every moment.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It answered to a question that was asked after so many `doubts`.
    pub(super) fn learn(&self, seen: Seen, doubts: u64) {
        *self.lock() = Known::answered(seen);
        self.heard.store(self.now(), Ordering::Relaxed);
        self.place.store(seen.place.0, Ordering::Relaxed);
        // Who doubted meanwhile has woken the monitor.
        self.sound.store(self.doubts() == doubts, Ordering::Relaxed);
    }

    /// It did not answer; for certain, or only not in time.
    pub(super) fn miss(&self, certain: bool) {
        let mut known = self.lock();
        known.looked = true;
        if certain {
            known.answered = None;
        }
        drop(known);
        self.sound.store(false, Ordering::Relaxed);
    }
}

/// Whether it is a session in the primary; asked once, and again while it is not.
async fn may_write(held: &mut Held<PgConnection, Option<Seen>>, view: View) -> sqlx::Result<bool> {
    if let Some(seen) = held.seen
        && seen.writes(view)
    {
        return Ok(true);
    }
    let seen = look(held.connection()).await?;
    held.seen = Some(seen);
    Ok(seen.writes(view))
}

/// Host, port and database.
pub(crate) fn name(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    format!("{host}:{}/{database}", options.get_port())
}
