//! A bounded pool of connections.
//!
//! sqlx has one, but it makes a round trip to the database before each use of a connection (which can be turned off) and another
//! one after it, in a task of its own (which cannot). Where a request is one statement, that doubles the round trips. This pool
//! follows a simpler rule instead: a connection comes back only from a statement that ended as statements do. After any other
//! error, or when the request was dropped half-way, it is closed, and the next request opens a new one.
//!
//! Waiting requests are served in order of arrival. The connection used last is used next, so that those that are not needed grow
//! old and are closed.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, Connection, Database};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::error::is_lost;
use super::{Result, StoreError};
use crate::settings::PoolSettings;
use crate::trace::StatementSpan;

/// How long a statement may take, with the wait for a connection. Far beyond what any of them needs.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// A connection unused for longer is tried out before it is used: the database may have been restarted meanwhile.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// How long closing may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the metrics show of a pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolStatus {
    /// Most connections at once.
    pub max: u32,
    /// Connections now.
    pub open: u32,
    /// Those of them that wait for work.
    pub idle: u32,
    /// Statements sent so far.
    pub statements: u64,
}

/// A pool of connections of one kind. With each of them is kept what was seen over it, an `S`, for as long as it lives.
pub(super) struct Pool<C: Connection, S = ()> {
    shared: Arc<Shared<C, S>>,
}

struct Shared<C: Connection, S> {
    options: C::Options,
    settings: PoolSettings,
    /// One for each connection that may exist.
    permits: Semaphore,
    /// The one used last is at the end.
    idle: Mutex<Vec<Idle<C, S>>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    open: AtomicU32,
    statements: AtomicU64,
}

struct Idle<C, S> {
    connection: Held<C, S>,
    since: Instant,
}

/// A connection that counts as open while it exists.
pub(super) struct Held<C, S> {
    connection: C,
    /// What was seen over it.
    pub(super) seen: S,
    open: OpenGuard,
}

impl<C, S> Held<C, S> {
    /// For one statement, which is counted.
    pub(super) fn connection(&mut self) -> &mut C {
        self.open.0.statements.fetch_add(1, Ordering::Relaxed);
        &mut self.connection
    }
}

struct OpenGuard(Arc<Counts>);

impl OpenGuard {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counts))
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection on loan. Dropped as it is, the connection is closed; [`Lease::settle`] gives it back.
struct Lease<'a, C: Connection, S> {
    shared: &'a Shared<C, S>,
    held: Held<C, S>,
    /// It has been used before, and may have died since.
    used: bool,
    /// Behind the connection, so that it is free only when the connection is gone.
    _permit: SemaphorePermit<'a>,
}

impl<C: Connection + 'static, S: Default + Send + 'static> Pool<C, S> {
    /// Connects to nothing yet.
    pub(super) fn new(options: C::Options, settings: PoolSettings) -> Self {
        let shared = Arc::new(Shared {
            options,
            settings,
            permits: Semaphore::new(settings.max_connections as usize),
            idle: Mutex::new(Vec::new()),
            counts: Arc::default(),
        });
        tokio::spawn(close_unused(Arc::downgrade(&shared), settings.idle_timeout));
        Self { shared }
    }

    /// Runs one statement that changes something. It is never repeated.
    pub(super) async fn write<T>(&self, statement: impl AsyncFnOnce(&mut C) -> sqlx::Result<T>) -> Result<T> {
        self.write_on(async move |held| statement(held.connection()).await).await
    }

    /// Runs one statement that changes nothing, once more when it met a connection that had died while unused.
    pub(super) async fn read<T>(&self, statement: impl AsyncFnOnce(&mut C) -> sqlx::Result<T> + Clone) -> Result<T> {
        self.read_on(async move |held| statement(held.connection()).await).await
    }

    /// As [`Pool::write`], with what was seen over the connection.
    pub(super) async fn write_on<T>(&self, statement: impl AsyncFnOnce(&mut Held<C, S>) -> sqlx::Result<T>) -> Result<T> {
        let run = async {
            let mut lease = self.shared.take().await?;
            let outcome = statement(&mut lease.held).await;
            lease.settle(outcome)
        };
        in_span::<C, T>(timeout(DEADLINE, run)).await
    }

    /// As [`Pool::read`], with what was seen over the connection.
    pub(super) async fn read_on<T>(&self, statement: impl AsyncFnOnce(&mut Held<C, S>) -> sqlx::Result<T> + Clone) -> Result<T> {
        let run = async {
            let mut lease = self.shared.take().await?;
            let mut outcome = statement.clone()(&mut lease.held).await;
            if lease.used && outcome.as_ref().is_err_and(is_lost) {
                drop(lease);
                self.shared.forget_idle();
                lease = self.shared.take().await?;
                outcome = statement(&mut lease.held).await;
            }
            lease.settle(outcome)
        };
        in_span::<C, T>(timeout(DEADLINE, run)).await
    }

    pub(super) fn status(&self) -> PoolStatus {
        PoolStatus {
            max: self.shared.settings.max_connections,
            open: self.shared.counts.open.load(Ordering::Relaxed),
            idle: u32::try_from(self.shared.idle().len()).unwrap_or(u32::MAX),
            statements: self.shared.counts.statements.load(Ordering::Relaxed),
        }
    }

    /// Closes all connections that are not in use; those in use are closed when they come back.
    pub(super) async fn close(&self) {
        self.shared.permits.close();
        let idle = std::mem::take(&mut *self.shared.idle());
        close_all(idle).await;
    }
}

impl<C: Connection, S: Default> Shared<C, S> {
    async fn take(&self) -> Result<Lease<'_, C, S>> {
        // The usual way needs no timer.
        if let Ok(permit) = self.permits.try_acquire()
            && let Some(idle) = self.newest_idle()
        {
            if idle.since.elapsed() < TRUSTED_FOR {
                return Ok(self.lease(idle.connection, true, permit));
            }
            return self.in_time(self.try_out(idle.connection, permit)).await;
        }
        self.in_time(self.wait()).await
    }

    async fn in_time<T>(&self, connecting: impl Future<Output = Result<T>>) -> Result<T> {
        let waited = timeout(self.settings.connect_timeout, connecting).await;
        waited.unwrap_or_else(|_| Err(StoreError::Unavailable("no connection in time".into())))
    }

    async fn wait(&self) -> Result<Lease<'_, C, S>> {
        let permit = self
            .permits
            .acquire()
            .await
            .map_err(|_| StoreError::Unavailable("shutting down".into()))?;
        match self.newest_idle() {
            Some(idle) if idle.since.elapsed() < TRUSTED_FOR => Ok(self.lease(idle.connection, true, permit)),
            Some(idle) => self.try_out(idle.connection, permit).await,
            None => self.connect(permit).await,
        }
    }

    async fn try_out<'a>(&'a self, mut connection: Held<C, S>, permit: SemaphorePermit<'a>) -> Result<Lease<'a, C, S>> {
        if connection.connection.ping().await.is_ok() {
            return Ok(self.lease(connection, true, permit));
        }
        drop(connection);
        self.forget_idle();
        self.connect(permit).await
    }

    async fn connect<'a>(&'a self, permit: SemaphorePermit<'a>) -> Result<Lease<'a, C, S>> {
        // Not what `From` makes of it: no error of connecting is ever the request's fault.
        let connection = self.options.connect().await.map_err(|e| StoreError::Unavailable(e.to_string()))?;
        let connection = Held {
            connection,
            seen: S::default(),
            open: OpenGuard::new(&self.counts),
        };
        Ok(self.lease(connection, false, permit))
    }

    fn lease<'a>(&'a self, held: Held<C, S>, used: bool, permit: SemaphorePermit<'a>) -> Lease<'a, C, S> {
        Lease {
            shared: self,
            held,
            used,
            _permit: permit,
        }
    }

    fn newest_idle(&self) -> Option<Idle<C, S>> {
        self.idle().pop()
    }

    /// When one unused connection has died, the others have too.
    fn forget_idle(&self) {
        let dead = std::mem::take(&mut *self.idle());
        drop(dead);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle<C, S>>> {
        // The list is whole at every moment, so a panic elsewhere cannot have left it half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Connection, S: Default> Lease<'_, C, S> {
    /// Gives the connection back if the statement ended as statements do.
    fn settle<T>(self, outcome: sqlx::Result<T>) -> Result<T> {
        let sound = match &outcome {
            Ok(_) => true,
            Err(sqlx::Error::Database(e)) => e.is_unique_violation(),
            Err(_) => false,
        };
        if sound && !self.shared.permits.is_closed() {
            self.shared.idle().push(Idle {
                connection: self.held,
                since: Instant::now(),
            });
        }
        outcome.map_err(StoreError::from)
    }
}

/// Tells the trace of the request how long it was with the database.
async fn in_span<C: Connection, T>(run: impl Future<Output = std::result::Result<Result<T>, Elapsed>>) -> Result<T> {
    let span = StatementSpan::begin(C::Database::NAME);
    let outcome = run.await.unwrap_or_else(|_| Err(too_slow()));
    if let Some(span) = span {
        span.end(&outcome);
    }
    outcome
}

fn too_slow() -> StoreError {
    StoreError::Unavailable(format!("no answer within {DEADLINE:?}"))
}

/// Closes connections that were not used for `idle_timeout`, until the pool is gone.
async fn close_unused<C: Connection, S: Default>(shared: Weak<Shared<C, S>>, idle_timeout: Duration) {
    let mut tick = tokio::time::interval(idle_timeout / 2);
    loop {
        tick.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        let old = {
            let mut idle = shared.idle();
            let young_at = idle.iter().position(|one| one.since.elapsed() < idle_timeout).unwrap_or(idle.len());
            idle.drain(..young_at).collect::<Vec<_>>()
        };
        drop(shared);
        close_all(old).await;
    }
}

/// Says goodbye to the database, so that it need not find out by itself.
async fn close_all<C: Connection, S>(idle: Vec<Idle<C, S>>) {
    let closing = idle.into_iter().map(|one| async move {
        let Held {
            connection, open: _open, ..
        } = one.connection;
        connection.close().await
    });
    // Whatever goes wrong, the connections are gone afterwards.
    let _ = timeout(CLOSE_TIMEOUT, futures::future::join_all(closing)).await;
}
