//! Users in an SQLite file that several processes share.
//!
//! In WAL mode (<https://sqlite.org/wal.html>) readers never wait, and there is one writer at a time. "database is locked" has two
//! sources then, and both are kept out:
//!
//! - A transaction that reads first and writes later cannot be upgraded when somebody else wrote in between; waiting would not
//!   help it. So every write is one statement, or a transaction that begins with `BEGIN IMMEDIATE`: both take the write lock
//!   first, and may wait for it.
//! - SQLite waits by polling, with pauses of up to 100 ms, so among many who wait somebody comes away with nothing. So the writers
//!   of one process queue up in order of arrival, and only the first of them competes with the other processes.
//!
//! The first connection of all turns WAL on, which does not wait for others either; it and the migrations happen under a lock on a
//! file beside the database. The database file itself cannot bear it: closing a second descriptor of it would drop SQLite's locks.

mod accounts;
mod outbox;
mod sessions;

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::migrate::{self, MigrationError};
use super::pool::{DEADLINE, Pool};
use super::{At, Changed, Condition, Created, KEY_LIFETIME, Lsn, Note, Once, PoolStatus, Result, Store, StoreError};
use crate::settings::PoolSettings;
use crate::users::{Change, NewUser, User};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long SQLite polls for the lock; below the statement's deadline, so that an answer always comes from SQLite.
const BUSY_TIMEOUT: Duration = Duration::from_secs(8);

pub(super) struct Sqlite {
    options: SqliteConnectOptions,
    pool: Pool<SqliteConnection>,
    /// Whether writes leave notes.
    noting: bool,
    /// One connection for those who read the notes, who must not wait behind requests.
    outbox: Pool<SqliteConnection>,
    /// One for those who want to know how the database is. Behind requests, an overload would look like its death.
    probes: Pool<SqliteConnection>,
    /// Whose turn it is to write in this process.
    turn: Semaphore,
}

impl Sqlite {
    pub(super) fn new(options: &SqliteConnectOptions, settings: PoolSettings, noting: bool) -> Self {
        // FULL: an acknowledged write survives a power failure too.
        let options = options
            .clone()
            .create_if_missing(false)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = Pool::new(options.clone(), settings);
        let one = PoolSettings {
            max_connections: 1,
            ..settings
        };
        let (outbox, probes) = (Pool::new(options.clone(), one), Pool::new(options.clone(), one));
        Self {
            options,
            pool,
            noting,
            outbox,
            probes,
            turn: Semaphore::new(1),
        }
    }

    /// All rows are always fetched: a statement whose rows are not read to the end commits when it is reset, and sqlx does not
    /// look at what comes of that.
    async fn write<T>(&self, statement: impl AsyncFnOnce(&mut SqliteConnection) -> sqlx::Result<T>) -> Result<T> {
        let turn = timeout(DEADLINE, self.turn.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(StoreError::Unavailable("too many writes are waiting".into()));
        };
        self.pool.write(statement).await
    }

    /// Why a write with this condition found nothing to change.
    async fn why_not<T>(&self, id: i64, condition: &Condition) -> Result<Changed<T>> {
        if condition.is_empty() {
            return Ok(Changed::Missing);
        }
        Ok(if self.user(id, At::Primary).await?.is_some() {
            Changed::Refused
        } else {
            Changed::Missing
        })
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn user(&self, id: i64, _at: At) -> Result<Option<User>> {
        const SQL: &str = "SELECT id, name, email, version FROM users WHERE id = ?1";
        let row = self
            .pool
            .read(async move |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)
            .await?;
        Ok(row.map(user))
    }

    async fn page(&self, offset: i64, limit: i64, _at: At) -> Result<(Vec<User>, i64)> {
        // The join keeps one row, with the count, where the page is empty. "+ 0": SQLite looks into a bare parameter of LIMIT while it
        // makes its plan, and then has to make another one each time.
        const SQL: &str = "SELECT u.id, u.name, u.email, u.version, t.total FROM (SELECT count(*) AS total FROM users) t \
            LEFT JOIN (SELECT id, name, email, version FROM users ORDER BY id LIMIT ?1 + 0 OFFSET ?2) u ON true ORDER BY u.id";
        type Row = (Option<i64>, Option<String>, Option<String>, Option<i64>, i64);
        let rows: Vec<Row> = self
            .pool
            .read(async move |c| sqlx::query_as(SQL).bind(limit).bind(offset).fetch_all(c).await)
            .await?;
        let total = rows.first().map_or(0, |row| row.4);
        let users = rows
            .into_iter()
            .filter_map(|(id, name, email, version, _)| Some(user((id?, name?, email?, version?))));
        Ok((users.collect(), total))
    }

    async fn after(&self, id: i64, limit: i64, _at: At) -> Result<Vec<User>> {
        const SQL: &str = "SELECT id, name, email, version FROM users WHERE id > ?1 ORDER BY id LIMIT ?2 + 0";
        let rows = self
            .pool
            .read(async move |c| sqlx::query_as(SQL).bind(id).bind(limit).fetch_all(c).await)
            .await?;
        Ok(rows.into_iter().map(user).collect())
    }

    async fn position(&self) -> Result<Option<Lsn>> {
        Ok(None)
    }

    async fn create(&self, new: &NewUser, password_hash: Option<&str>, once: Option<&Once>) -> Result<Created> {
        let row = Row {
            name: new.name.as_str().to_owned(),
            email: new.email.as_str().to_owned(),
            password_hash: password_hash.map(str::to_owned),
        };
        let key = once.map(|once| (once.key.to_vec(), once.fingerprint.to_vec()));
        let write = async |c: &mut SqliteConnection| match key {
            None => insert(c, row).await.map(Inserted::Now),
            // The key's row is one of the same transaction as the user's and the note's.
            Some((key, fingerprint)) if self.noting => insert_keyed(c, row, key, fingerprint).await,
            Some((key, fingerprint)) => insert_once(c, row, key, fingerprint).await,
        };
        let changed = |inserted: &Inserted| match inserted {
            Inserted::Now(user) => Some((user.id, user.version)),
            Inserted::Not(_) => None,
        };
        Ok(match self.write_noted(write, changed).await? {
            (Inserted::Now(user), row) => {
                let (id, version) = (user.id, user.version);
                Created::Now(user, Note { row, user: id, version })
            }
            (Inserted::Not(created), _) => created,
        })
    }

    async fn update(&self, id: i64, change: &Change, condition: &Condition) -> Result<Changed<(User, Note)>> {
        const SQL: &str = "UPDATE users SET name = coalesce(?2, name), email = coalesce(?3, email), version = version + 1 \
            WHERE id = ?1 AND (?4 IS NULL OR version IN (SELECT value FROM json_each(?4))) \
            AND version NOT IN (SELECT value FROM json_each(?5)) RETURNING id, name, email, version";
        let name = change.name.as_ref().map(|name| name.as_str().to_owned());
        let email = change.email.as_ref().map(|email| email.as_str().to_owned());
        let (only, except) = lists(condition);
        let write = async |c: &mut SqliteConnection| {
            sqlx::query_as(SQL)
                .bind(id)
                .bind(name)
                .bind(email)
                .bind(only)
                .bind(except)
                .fetch_all(c)
                .await
                .map(|rows| rows.into_iter().next().map(user))
        };
        let changed = |found: &Option<User>| found.as_ref().map(|user| (user.id, user.version));
        match self.write_noted(write, changed).await? {
            (Some(user), row) => {
                let version = user.version;
                Ok(Changed::Done((user, Note { row, user: id, version })))
            }
            (None, _) => self.why_not(id, condition).await,
        }
    }

    async fn delete(&self, id: i64, condition: &Condition) -> Result<Changed<Note>> {
        const SQL: &str = "DELETE FROM users WHERE id = ?1 AND (?2 IS NULL OR version IN (SELECT value FROM json_each(?2))) \
            AND version NOT IN (SELECT value FROM json_each(?3))";
        let (only, except) = lists(condition);
        let write = async |c: &mut SqliteConnection| {
            let outcome = sqlx::query(SQL).bind(id).bind(only).bind(except).execute(c).await;
            outcome.map(|outcome| outcome.rows_affected() > 0)
        };
        let changed = |gone: &bool| gone.then_some((id, Note::GONE));
        match self.write_noted(write, changed).await? {
            (true, row) => Ok(Changed::Done(Note {
                row,
                user: id,
                version: Note::GONE,
            })),
            (false, _) => self.why_not(id, condition).await,
        }
    }

    async fn ping(&self) -> Result<()> {
        // Not SELECT 1, which SQLite answers without looking at the file.
        self.probes
            .read(async move |c| sqlx::query("SELECT count(*) FROM sqlite_schema").fetch_one(c).await)
            .await?;
        Ok(())
    }

    async fn is_migrated(&self) -> Result<bool> {
        const SQL: &str = "SELECT max(version) FROM _sqlx_migrations WHERE success";
        let version: Option<i64> = self.probes.read(async move |c| sqlx::query_scalar(SQL).fetch_one(c).await).await?;
        Ok(version.is_some_and(|version| version >= migrate::newest(&MIGRATIONS)))
    }

    async fn migrate(&self) -> std::result::Result<(), MigrationError> {
        let _lock = FileLock::take(self.options.get_filename()).await?;
        let options = self.options.clone().create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        let mut connection = options.connect().await?;
        migrate::run(&MIGRATIONS, &mut connection).await?;
        Ok(connection.close().await?)
    }

    async fn sweep(&self) -> Result<()> {
        const SQL: [&str; 3] = [
            "DELETE FROM sessions WHERE ends_at <= unixepoch()",
            "DELETE FROM login_failures WHERE ends_at <= unixepoch()",
            "DELETE FROM idempotency_keys WHERE ends_at <= unixepoch()",
        ];
        for sql in SQL {
            self.write(async |c: &mut SqliteConnection| sqlx::query(sql).execute(c).await)
                .await?;
        }
        self.forget_old().await
    }

    fn pool(&self) -> PoolStatus {
        let (users, outbox, probes) = (self.pool.status(), self.outbox.status(), self.probes.status());
        PoolStatus {
            statements: users.statements + outbox.statements + probes.statements,
            ..users
        }
    }

    async fn close(&self) {
        self.probes.close().await;
        self.outbox.close().await;
        self.pool.close().await;
    }
}

/// A new user, as it is to be written.
struct Row {
    name: String,
    email: String,
    password_hash: Option<String>,
}

/// What came of inserting one.
enum Inserted {
    Now(User),
    Not(Created),
}

async fn insert(c: &mut SqliteConnection, row: Row) -> sqlx::Result<User> {
    const SQL: &str = "INSERT INTO users (name, email, password_hash) VALUES (?1, ?2, ?3) RETURNING id, name, email, version";
    let query = sqlx::query_as(SQL).bind(row.name).bind(row.email).bind(row.password_hash);
    let rows = query.fetch_all(c).await?;
    rows.into_iter().next().map(user).ok_or(sqlx::Error::RowNotFound)
}

/// A new user and its key, together or not at all. The write lock comes first, so nobody writes between the look and the insertion.
async fn insert_once(c: &mut SqliteConnection, row: Row, key: Vec<u8>, fingerprint: Vec<u8>) -> sqlx::Result<Inserted> {
    let mut transaction = c.begin_with("BEGIN IMMEDIATE").await?;
    match insert_keyed(&mut transaction, row, key, fingerprint).await {
        Ok(created) => transaction.commit().await.map(|()| created),
        Err(e) => {
            // The connection may be used on, so this must have happened before.
            transaction.rollback().await?;
            Err(e)
        }
    }
}

async fn insert_keyed(c: &mut SqliteConnection, row: Row, key: Vec<u8>, fingerprint: Vec<u8>) -> sqlx::Result<Inserted> {
    const KEPT: &str = "SELECT fingerprint, user_id FROM idempotency_keys WHERE key = ?1";
    const KEEP: &str =
        "INSERT INTO idempotency_keys (key, fingerprint, user_id, ends_at) VALUES (?1, ?2, ?3, unixepoch() + ?4) RETURNING user_id";
    let kept = sqlx::query_as(KEPT).bind(key.clone()).fetch_all(&mut *c).await?;
    if let Some(row) = kept.into_iter().next() {
        return Ok(Inserted::Not(Created::before(row, &fingerprint)));
    }
    let user = insert(&mut *c, row).await?;
    let keep = sqlx::query(KEEP).bind(key).bind(fingerprint).bind(user.id).bind(KEY_LIFETIME);
    keep.fetch_all(c).await?;
    Ok(Inserted::Now(user))
}

fn user((id, name, email, version): (i64, String, String, i64)) -> User {
    User { id, name, email, version }
}

/// SQLite has no arrays to bind, but it can take a JSON text apart.
fn lists(condition: &Condition) -> (Option<String>, String) {
    (condition.only.as_deref().map(json), json(&condition.except))
}

fn json(versions: &[i64]) -> String {
    let numbers: Vec<String> = versions.iter().map(i64::to_string).collect();
    format!("[{}]", numbers.join(","))
}

/// A lock that only one process has at a time. It ends with the process, however that dies.
struct FileLock(#[expect(dead_code, reason = "closing the file is what gives the lock back")] File);

impl FileLock {
    /// Makes the database's folder too. Waits as long as another process migrates.
    async fn take(database: &Path) -> std::result::Result<Self, MigrationError> {
        let mut name = OsString::from(database);
        name.push("-migrate.lock");
        let path = PathBuf::from(name);
        let refused = |path: &Path, e: std::io::Error| MigrationError::Refused(format!("{}: {e}", path.display()));
        let lock = move || {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|e| refused(folder, e))?;
            }
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(|e| refused(&path, e))?;
            file.lock().map_err(|e| refused(&path, e))?;
            Ok(Self(file))
        };
        let locked = tokio::task::spawn_blocking(lock).await;
        locked.unwrap_or_else(|_| Err(MigrationError::Refused("interrupted".into())))
    }
}
