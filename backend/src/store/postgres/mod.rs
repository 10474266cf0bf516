//! Users in PostgreSQL.
//!
//! One statement a call, prepared once a connection. A single statement is a transaction of its own; under READ COMMITTED an
//! UPDATE that waited for another one checks its WHERE clause again on what the other left behind, so a condition on the version
//! holds at the moment of the change.

mod access;
mod accounts;
mod cluster;
mod monitor;
mod outbox;
mod server;
mod servers;
mod sessions;

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::time::timeout;

use super::migrate::{self, MigrationError};
use super::{At, Changed, Condition, Created, KEY_LIFETIME, Lsn, Note, Once, PoolStatus, Result, ServerStatus, Store, StoreError};
use crate::settings::PoolSettings;
use crate::users::{Change, NewUser, User};
use cluster::Cluster;
pub(crate) use server::name;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Whoever adds a user first waits for its turn, and then takes an id: transactions commit in any order, and a reader that has seen an id would never look
/// for a lower one that becomes visible later. The lock is given back after the commit. The number is any that nobody else uses.
macro_rules! turn {
    () => {
        "WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(7305808868)) "
    };
}
use turn;

/// The change's note, where notes are kept; the parameter says whether they are. It follows what is called `changed`, with its id and version.
macro_rules! noted {
    ($noting:literal) => {
        concat!(
            "noted AS (INSERT INTO outbox (user_id, version) SELECT id, version FROM changed WHERE ",
            $noting,
            " RETURNING id) "
        )
    };
}
use noted;

/// The history, and a place in the log: behind the commits that were acknowledged, and, unless these do not even wait for the disk, no further than what may
/// outlive the primary, or reads would wait for what no replica will ever have. Others may have inserted more than that.
///
/// At the start of a page what is inserted is behind its header, which no replica has replayed before there is another record; then everything up to the page
/// is enough.
macro_rules! place {
    ($else:literal) => {
        concat!(
            "WITH log AS MATERIALIZED (SELECT CASE WHEN current_setting('synchronous_commit') = 'off' THEN pg_current_wal_insert_lsn() - '0/0'::pg_lsn ",
            $else,
            " END AS lsn FROM (SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn AS flushed) AS f) ",
            "SELECT coalesce((SELECT max(id) FROM histories), 0), ",
            "(lsn - CASE WHEN mod(lsn, pg_size_bytes(current_setting('wal_segment_size'))) = 40 THEN 40 ",
            "WHEN mod(lsn, current_setting('wal_block_size')::numeric) = 24 THEN 24 ELSE 0 END)::bigint FROM log"
        )
    };
}

pub(super) struct Postgres {
    settings: PoolSettings,
    pool: Cluster,
    /// Whether writes leave notes.
    noting: bool,
    /// One connection for those who read the notes, who must not wait behind requests.
    outbox: Cluster,
    /// One for those who want to know how the database is. Behind requests, an overload would look like its death.
    probes: Cluster,
}

impl Postgres {
    pub(super) fn new(primary: &PgConnectOptions, replicas: &[PgConnectOptions], settings: PoolSettings, noting: bool) -> Self {
        let pool = Cluster::new(primary, replicas, settings);
        let one = PoolSettings {
            max_connections: 1,
            ..settings
        };
        let (outbox, probes) = (pool.aside(one), pool.aside(one));
        Self {
            settings,
            pool,
            noting,
            outbox,
            probes,
        }
    }

    /// What was written under a key.
    async fn kept(&self, once: &Once) -> Result<Option<(Vec<u8>, i64)>> {
        const SQL: &str = "SELECT fingerprint, user_id FROM idempotency_keys WHERE key = $1";
        let key = once.key.as_slice();
        self.pool
            .read(async move |c| sqlx::query_as(SQL).bind(key).fetch_optional(c).await)
            .await
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
impl Store for Postgres {
    async fn user(&self, id: i64, at: At) -> Result<Option<User>> {
        const SQL: &str = "SELECT id, name, email, version FROM users WHERE id = $1";
        let row = self
            .pool
            .read_at(at, async move |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)
            .await?;
        Ok(row.map(user))
    }

    async fn page(&self, offset: i64, limit: i64, at: At) -> Result<(Vec<User>, i64)> {
        // The join keeps one row, with the count, where the page is empty.
        const SQL: &str = "SELECT u.id, u.name, u.email, u.version, t.total FROM (SELECT coalesce(sum(number), 0)::bigint AS total FROM user_counts) t \
            LEFT JOIN (SELECT id, name, email, version FROM users ORDER BY id LIMIT $1 OFFSET $2) u ON true ORDER BY u.id";
        type Row = (Option<i64>, Option<String>, Option<String>, Option<i64>, i64);
        let rows: Vec<Row> = self
            .pool
            .read_at(at, async move |c| sqlx::query_as(SQL).bind(limit).bind(offset).fetch_all(c).await)
            .await?;
        let total = rows.first().map_or(0, |row| row.4);
        let users = rows
            .into_iter()
            .filter_map(|(id, name, email, version, _)| Some(user((id?, name?, email?, version?))));
        Ok((users.collect(), total))
    }

    async fn after(&self, id: i64, limit: i64, at: At) -> Result<Vec<User>> {
        const SQL: &str = "SELECT id, name, email, version FROM users WHERE id > $1 ORDER BY id LIMIT $2";
        let rows = self
            .pool
            .read_at(at, async move |c| sqlx::query_as(SQL).bind(id).bind(limit).fetch_all(c).await)
            .await?;
        Ok(rows.into_iter().map(user).collect())
    }

    async fn position(&self) -> Result<Option<Lsn>> {
        // Where commits wait for replicas, it is what a transaction of its own has left in the log, which waits, too. Else it is what was flushed, and so is on
        // its way; but not where that may end within a record: the log is also flushed page by page.
        const SQL: &str = place!(
            "WHEN mod(flushed, current_setting('wal_block_size')::numeric) <> 0 AND (current_setting('synchronous_commit') = 'local' \
            OR current_setting('synchronous_standby_names') = '') THEN flushed \
            ELSE pg_logical_emit_message(true, 'backend', ''::text) - '0/0'::pg_lsn"
        );
        if !self.pool.has_replicas() {
            return Ok(None);
        }
        let (history, lsn): (i64, i64) = self.pool.read(async move |c| sqlx::query_as(SQL).fetch_one(c).await).await?;
        Ok(Some(Lsn::new(history, lsn)))
    }

    async fn end_of_log(&self) -> Result<Option<Lsn>> {
        const SQL: &str = place!("ELSE flushed");
        if !self.pool.has_replicas() {
            return Ok(None);
        }
        let read = async move |c: &mut PgConnection| sqlx::query_as(SQL).fetch_one(c).await;
        let (history, lsn): (i64, i64) = self.outbox.read_at_once(read).await?;
        Ok(Some(Lsn::new(history, lsn)))
    }

    fn has_primary(&self) -> bool {
        self.pool.has_primary()
    }

    async fn create(&self, new: &NewUser, password_hash: Option<&str>, once: Option<&Once>) -> Result<Created> {
        let (name, email) = (new.name.as_str(), new.email.as_str());
        let Some(once) = once else {
            const SQL: &str = concat!(
                turn!(),
                ", changed AS (INSERT INTO users (name, email, password_hash) SELECT $1, $2, $3 FROM turn RETURNING id, name, email, version), ",
                noted!("$4"),
                "SELECT changed.*, noted.id FROM changed LEFT JOIN noted ON true"
            );
            let insert = async |c: &mut PgConnection| {
                let query = sqlx::query_as(SQL).bind(name).bind(email).bind(password_hash);
                query.bind(self.noting).fetch_one(c).await
            };
            return Ok(created(self.pool.write(insert).await?));
        };
        const SQL: &str = concat!(
            turn!(),
            ", changed AS (INSERT INTO users (name, email, password_hash) SELECT $1, $2, $3 FROM turn RETURNING id, name, email, version), ",
            "kept AS (INSERT INTO idempotency_keys (key, fingerprint, user_id, ends_at) ",
            "SELECT $4, $5, id, extract(epoch FROM now())::bigint + $6 FROM changed), ",
            noted!("$7"),
            "SELECT changed.*, noted.id FROM changed LEFT JOIN noted ON true"
        );
        let (key, fingerprint) = (once.key.as_slice(), once.fingerprint.as_slice());
        let insert = async |c: &mut PgConnection| {
            let query = sqlx::query_as(SQL).bind(name).bind(email).bind(password_hash);
            let query = query.bind(key).bind(fingerprint).bind(KEY_LIFETIME);
            query.bind(self.noting).fetch_one(c).await
        };
        match self.pool.write(insert).await {
            Ok(row) => Ok(created(row)),
            // Of the address or of the key: whichever PostgreSQL came upon first. Whoever was first has committed by now.
            Err(StoreError::EmailTaken) => match self.kept(once).await? {
                Some(row) => Ok(Created::before(row, fingerprint)),
                None => Err(StoreError::EmailTaken),
            },
            Err(e) => Err(e),
        }
    }

    async fn update(&self, id: i64, change: &Change, condition: &Condition) -> Result<Changed<(User, Note)>> {
        const SQL: &str = concat!(
            "WITH changed AS (UPDATE users SET name = coalesce($2, name), email = coalesce($3, email), version = version + 1 ",
            "WHERE id = $1 AND ($4::bigint[] IS NULL OR version = ANY ($4)) AND version <> ALL ($5::bigint[]) ",
            "RETURNING id, name, email, version), ",
            noted!("$6"),
            "SELECT changed.*, noted.id FROM changed LEFT JOIN noted ON true"
        );
        let name = change.name.as_ref().map(|name| name.as_str());
        let email = change.email.as_ref().map(|email| email.as_str());
        let (only, except) = (condition.only.as_deref(), condition.except.as_slice());
        let write = async |c: &mut PgConnection| {
            sqlx::query_as(SQL)
                .bind(id)
                .bind(name)
                .bind(email)
                .bind(only)
                .bind(except)
                .bind(self.noting)
                .fetch_optional(c)
                .await
        };
        match self.pool.write(write).await? {
            Some(row) => Ok(Changed::Done(changed(row))),
            None => self.why_not(id, condition).await,
        }
    }

    async fn delete(&self, id: i64, condition: &Condition) -> Result<Changed<Note>> {
        const SQL: &str = concat!(
            "WITH gone AS (DELETE FROM users WHERE id = $1 AND ($2::bigint[] IS NULL OR version = ANY ($2)) ",
            "AND version <> ALL ($3::bigint[]) RETURNING id), ",
            "changed AS (SELECT id, $5::bigint AS version FROM gone), ",
            noted!("$4"),
            "SELECT noted.id FROM changed LEFT JOIN noted ON true"
        );
        let (only, except) = (condition.only.as_deref(), condition.except.as_slice());
        let write = async |c: &mut PgConnection| {
            let query = sqlx::query_scalar(SQL).bind(id).bind(only).bind(except);
            query.bind(self.noting).bind(Note::GONE).fetch_optional(c).await
        };
        match self.pool.write(write).await? {
            Some(row) => Ok(Changed::Done(Note {
                row,
                user: id,
                version: Note::GONE,
            })),
            None => self.why_not(id, condition).await,
        }
    }

    async fn ping(&self) -> Result<()> {
        self.probes
            .read_anywhere(async move |c| sqlx::query("SELECT 1").execute(c).await)
            .await?;
        Ok(())
    }

    async fn is_migrated(&self) -> Result<bool> {
        const SQL: &str = "SELECT max(version) FROM _sqlx_migrations WHERE success";
        let read = async move |c: &mut PgConnection| sqlx::query_scalar(SQL).fetch_one(c).await;
        let version: Option<i64> = self.probes.read_anywhere(read).await?;
        Ok(version.is_some_and(|version| version >= migrate::newest(&MIGRATIONS)))
    }

    async fn migrate(&self) -> std::result::Result<(), MigrationError> {
        // Else "IF NOT EXISTS" says each time that it does exist.
        let options = self.pool.primary().await.map_err(|e| MigrationError::Unavailable(e.to_string()))?;
        let options = options.clone().options([("client_min_messages", "warning")]);
        let connecting = timeout(self.settings.connect_timeout, options.connect()).await;
        let mut connection = match connecting {
            Ok(Ok(connection)) => connection,
            Ok(Err(e)) => return Err(MigrationError::Unavailable(e.to_string())),
            Err(_) => return Err(MigrationError::Unavailable("no connection in time".into())),
        };
        migrate::run(&MIGRATIONS, &mut connection).await?;
        // All is done; a goodbye that does not arrive changes nothing.
        let _ = connection.close().await;
        Ok(())
    }

    async fn sweep(&self) -> Result<()> {
        const SQL: [&str; 3] = [
            "DELETE FROM sessions WHERE ends_at <= extract(epoch FROM now())",
            "DELETE FROM login_failures WHERE ends_at <= extract(epoch FROM now())",
            "DELETE FROM idempotency_keys WHERE ends_at <= extract(epoch FROM now())",
        ];
        for sql in SQL {
            self.pool.write(async |c| sqlx::query(sql).execute(c).await).await?;
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

    fn servers(&self) -> Vec<ServerStatus> {
        self.pool.servers()
    }

    async fn close(&self) {
        self.probes.close().await;
        self.outbox.close().await;
        self.pool.close().await;
    }
}

/// A changed user and its note's row.
type ChangedRow = (i64, String, String, i64, Option<i64>);

fn changed((id, name, email, version, row): ChangedRow) -> (User, Note) {
    (user((id, name, email, version)), Note { row, user: id, version })
}

fn created(row: ChangedRow) -> Created {
    let (user, note) = changed(row);
    Created::Now(user, note)
}

fn user((id, name, email, version): (i64, String, String, i64)) -> User {
    User { id, name, email, version }
}
