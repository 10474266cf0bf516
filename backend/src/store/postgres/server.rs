//! One PostgreSQL server: what its monitor knows of it, and what is asked of it to know more.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::Notify;

use super::servers::View;
use crate::store::{Lsn, Result};

/// A primary that has been silent for longer is away: a single late answer is no reason to refuse writes.
const SILENCE: Duration = Duration::from_secs(2);

/// What one session saw of its server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// It replays what another one writes.
    pub(super) recovering: bool,
    /// Of a replica, how far it had replayed, and in which history; of a primary, how far it had written, and which history that is, if there is a row of it.
    pub(super) place: Lsn,
    /// Which cluster it is a copy of.
    pub(super) system: i64,
    /// Of a primary, the timeline that it writes; of a replica, the last one of which it has a row; 0 when there is none.
    pub(super) timeline: i64,
}

type SeenRow = (bool, i64, i64, i64, i64);

fn seen((recovering, lsn, system, history, timeline): SeenRow) -> Seen {
    Seen {
        recovering,
        place: Lsn::new(history, lsn),
        system,
        timeline,
    }
}

/// How far the server is, and which cluster it belongs to; and more.
macro_rules! look {
    ($history:literal, $timeline:literal, $from:literal) => {
        concat!(
            "SELECT pg_is_in_recovery(), coalesce((CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ",
            "ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn)::bigint, 0), s.system_identifier, ",
            $history,
            ", ",
            $timeline,
            " FROM pg_control_system() s ",
            $from
        )
    };
}

/// What may be asked of any server, also of one without our tables. (Of a session in a primary the timeline is always the same.)
pub(super) async fn look(connection: &mut PgConnection) -> sqlx::Result<Seen> {
    const SQL: &str = look!(
        "0::bigint",
        "CASE WHEN pg_is_in_recovery() THEN 0 ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint END",
        ""
    );
    Ok(seen(sqlx::query_as(SQL).fetch_one(connection).await?))
}

/// The same of a replica, with the history that it follows.
pub(super) async fn look_at_replica(connection: &mut PgConnection) -> sqlx::Result<Seen> {
    const SQL: &str = look!(
        "coalesce(h.id, 0)",
        "coalesce(h.timeline, 0)",
        "LEFT JOIN (SELECT * FROM histories ORDER BY id DESC LIMIT 1) h ON h.system = s.system_identifier"
    );
    Ok(seen(sqlx::query_as(SQL).fetch_one(connection).await?))
}

/// The number of the history that a primary writes, of which it leaves a row if there is none: a higher one than that of any history which this one goes on from.
pub(super) async fn mark(connection: &mut PgConnection, primary: Seen) -> sqlx::Result<Option<i64>> {
    const NEXT: &str = "INSERT INTO histories AS h (id, system, timeline) SELECT coalesce(max(id), 0) + 1, $1, $2 FROM histories \
        ON CONFLICT (system, timeline) DO UPDATE SET id = excluded.id WHERE h.id < excluded.id - 1";
    let before = current(connection, primary).await?;
    if before.is_some() {
        return Ok(before);
    }
    let next = sqlx::query(NEXT).bind(primary.system).bind(primary.timeline);
    match next.execute(&mut *connection).await {
        // Somebody else has left the same row.
        Err(sqlx::Error::Database(e)) if e.is_unique_violation() => {}
        outcome => _ = outcome?,
    }
    current(connection, primary).await
}

/// Its number, if it is the last one.
async fn current(connection: &mut PgConnection, primary: Seen) -> sqlx::Result<Option<i64>> {
    const SQL: &str = "SELECT id FROM histories WHERE system = $1 AND timeline = $2 AND id = (SELECT max(id) FROM histories)";
    let query = sqlx::query_scalar(SQL).bind(primary.system).bind(primary.timeline);
    query.fetch_optional(connection).await
}

impl Seen {
    /// Whether a later statement of the session sees all up to `place`, and nothing that has come to be no part of the history.
    pub(super) fn shows(&self, place: Lsn, view: View) -> bool {
        self.recovering && self.follows(view) && self.place >= place
    }

    /// Whether it is a replica of the primary of this view, or of one that took its place.
    pub(super) fn follows(&self, view: View) -> bool {
        self.recovering && self.system == view.system && self.place.history > 0 && self.place.history >= view.history
    }

    /// Whether this is a session in the primary of this view, or in one that took its place.
    pub(super) fn writes(&self, view: View) -> bool {
        !self.recovering && self.system == view.system && self.timeline >= view.timeline
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

/// One server.
pub(super) struct Server {
    /// Host, port and database, for the log and the metrics.
    pub(super) name: String,
    pub(super) options: PgConnectOptions,
    /// Wakes the monitor.
    pub(super) wanted: Notify,
    known: Mutex<Known>,
    /// It answers, and nobody doubts it.
    sound: AtomicBool,
    /// How often it was doubted.
    doubts: AtomicU64,
    /// The newest place in the log that is known.
    lsn: AtomicU64,
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
    pub(super) fn new(options: &PgConnectOptions) -> Self {
        let options = options.clone().application_name("backend");
        Self {
            name: name(&options),
            options,
            wanted: Notify::new(),
            known: Mutex::default(),
            sound: AtomicBool::new(false),
            doubts: AtomicU64::new(0),
            lsn: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
            heard: AtomicU64::new(0),
            started: Instant::now(),
        }
    }

    pub(super) fn hear<T>(&self, outcome: &Result<T>) {
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

    /// Counts a statement.
    pub(super) fn busy(&self) -> Busy<'_> {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(&self.busy)
    }

    /// How many statements are under way.
    pub(super) fn load(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// How far in the log it is, as far as is known.
    pub(super) fn lsn(&self) -> u64 {
        self.lsn.load(Ordering::Relaxed)
    }

    /// It is at least so far.
    pub(super) fn reached(&self, place: Lsn) {
        self.lsn.fetch_max(place.lsn, Ordering::Relaxed);
    }

    /// Whether it is worth a try as a replica of the primary in this view, and what it knows then.
    pub(super) fn replica(&self, view: View) -> Option<Lsn> {
        if !self.sound.load(Ordering::Relaxed) {
            return None;
        }
        let seen = self.known().seen.filter(|seen| seen.follows(view))?;
        Some(Lsn {
            lsn: self.lsn(),
            ..seen.place
        })
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
        self.lsn.store(seen.place.lsn, Ordering::Relaxed);
        // Who doubted meanwhile has woken the monitor.
        self.sound.store(self.doubts() == doubts, Ordering::Relaxed);
    }

    /// It writes this history.
    pub(super) fn belongs_to(&self, history: i64) {
        if let Some(seen) = &mut self.lock().seen {
            seen.place.history = history;
        }
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

/// Host, port and database.
pub(crate) fn name(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    format!("{host}:{}/{database}", options.get_port())
}
