//! Where the users are kept: one contract, and two databases behind it.
//!
//! SQL lives here and nowhere else; rules about users, HTTP and settings do not. Each call is exactly one statement (`update` and
//! `delete` may need a second one to find out why nothing was changed), so that what a request costs does not depend on how many
//! users there are in its answer. A write that changes what can be read leaves a [`Note`] for the cache, where there is one.

mod error;
mod migrate;
mod outbox;
mod pool;
mod postgres;
mod redis;
mod sessions;
mod sqlite;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;

pub use error::StoreError;
pub use migrate::MigrationError;
pub use outbox::{Note, Outbox};
pub use pool::PoolStatus;
pub(crate) use postgres::name as server_name;
pub use redis::Redis;
pub use sessions::{Failures, Owner, Sessions};

use crate::settings::{Database, DatabaseSettings};
use crate::users::{Account, Change, Email, NewUser, Role, User};

/// The result of a call to the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The users, in whatever database.
///
/// Calls may come from any number of tasks and processes at once. A call that returns `Ok` after a write has made it durable.
/// Every call ends within a bounded time: [`StoreError::Unavailable`] when the database is too slow, too busy or away.
#[async_trait]
pub trait Store: Accounts + Sessions + Outbox {
    /// One user.
    async fn user(&self, id: i64, at: At) -> Result<Option<User>>;

    /// Users by id, without the first `offset`, at most `limit`; and how many there are in all, counted at the same moment.
    async fn page(&self, offset: i64, limit: i64, at: At) -> Result<(Vec<User>, i64)>;

    /// Users by id, from the first one above `id`, at most `limit`.
    async fn after(&self, id: i64, limit: i64, at: At) -> Result<Vec<User>>;

    /// A place in the write-ahead log behind every write that was committed before the call; `None` where there are no replicas, which alone
    /// would have to know it. Where commits wait for replicas, so does this, and one of them has it then.
    async fn position(&self) -> Result<Option<Lsn>>;

    /// The same at once, over a connection that nobody else uses: whether a replica has it already is not known.
    async fn end_of_log(&self) -> Result<Option<Lsn>> {
        self.position().await
    }

    /// Whether there is a primary, as far as is known.
    fn has_primary(&self) -> bool {
        true
    }

    /// Adds a user, with the hash of the password when there is one, unless it was done `once` before. [`StoreError::EmailTaken`] comes from
    /// the database's constraint, so that of two at once only one succeeds.
    ///
    /// Ids become visible in their order: who has seen one will see no lower one appear, so that a listing by id skips nobody.
    async fn create(&self, user: &NewUser, password_hash: Option<&str>, once: Option<&Once>) -> Result<Created>;

    /// Changes a user, if its version is one that `condition` allows: checked and changed in one statement.
    async fn update(&self, id: i64, change: &Change, condition: &Condition) -> Result<Changed<(User, Note)>>;

    /// Removes a user, under the same condition.
    async fn delete(&self, id: i64, condition: &Condition) -> Result<Changed<Note>>;

    /// Returns when the database has answered. It waits behind no request, and neither does the next one: they have a connection of their own.
    async fn ping(&self) -> Result<()>;

    /// Whether the schema is what this version needs, or newer.
    async fn is_migrated(&self) -> Result<bool>;

    /// Brings the schema up to date; safe when several processes do it at once.
    async fn migrate(&self) -> std::result::Result<(), MigrationError>;

    /// Removes what is over: sessions, counted failures, idempotency keys, notes that nobody reads.
    async fn sweep(&self) -> Result<()>;

    /// Connections and statements, for the metrics.
    fn pool(&self) -> PoolStatus;

    /// Each server of the database, where there are several.
    fn servers(&self) -> Vec<ServerStatus> {
        Vec::new()
    }

    /// Gives all connections back to the database. Later calls fail.
    async fn close(&self);
}

/// What the metrics show of one of several servers.
#[derive(Debug, Clone)]
pub struct ServerStatus {
    /// Host, port and database.
    pub name: String,
    /// Its connections and statements.
    pub pool: PoolStatus,
    /// Whether writes go there.
    pub primary: bool,
    /// Whether it is used at all.
    pub healthy: bool,
    /// How many bytes of the log it is behind the newest place known, as far as is known.
    pub lag: u64,
}

/// A place in what PostgreSQL has written: where in its log (`pg_lsn`), and in which of the histories that the log has had. The places of an earlier history are
/// all before those of a later one, which goes on from it.
///
/// Its text has always the same length, so that texts of places have their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lsn {
    /// Counts the primaries that there were.
    pub history: i64,
    /// The place in the log.
    pub lsn: u64,
}

impl Lsn {
    /// From the numbers that PostgreSQL gives.
    fn new(history: i64, lsn: impl TryInto<u64>) -> Self {
        // Never negative: the log does not get that long.
        let lsn = lsn.try_into().unwrap_or(0);
        Self { history, lsn }
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.history, self.lsn)
    }
}

impl FromStr for Lsn {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let is_hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let (history, lsn) = text.split_at_checked(16).filter(|_| is_hex).ok_or(())?;
        Ok(Self {
            history: i64::from_str_radix(history, 16).map_err(|_| ())?,
            lsn: u64::from_str_radix(lsn, 16).map_err(|_| ())?,
        })
    }
}

/// Where a read may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// At the primary, which knows every write.
    Primary,
    /// Also at a replica that has replayed the log to this place.
    Replayed(Lsn),
}

/// What only logging in needs to know of users.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// The user with this e-mail address, compared without case.
    async fn account_of(&self, email: &Email) -> Result<Option<Account>>;

    /// One user.
    async fn account(&self, id: i64) -> Result<Option<Account>>;

    /// One user, for itself to see. While there is no primary, as some replica knows it, be it of before the last write.
    async fn own_account(&self, id: i64) -> Result<Option<Account>> {
        self.account(id).await
    }

    /// Puts a new hash of the same password in the place of the old one, if that is still there.
    async fn rehash(&self, id: i64, old: &str, new: &str) -> Result<()>;

    /// Adds an administrator, or makes one of the user with this e-mail address, whose sessions and old password no longer count.
    async fn make_admin(&self, user: &NewUser, password_hash: &str) -> Result<User>;
}

/// A request that may come several times and must act once.
#[derive(Debug)]
pub struct Once {
    /// By which it is known when it comes again.
    pub key: [u8; 32],
    /// By which another request under the same key is told.
    pub fingerprint: [u8; 32],
}

/// What came of adding a user.
#[derive(Debug, PartialEq, Eq)]
pub enum Created {
    /// The user was added now.
    Now(User, Note),
    /// The user of this id was added when the same request came before.
    Before(i64),
    /// Another request came under this key before.
    Another,
}

impl Created {
    /// What was written under the key before: fingerprint and user.
    fn before((kept, user): (Vec<u8>, i64), fingerprint: &[u8]) -> Self {
        if kept == fingerprint { Self::Before(user) } else { Self::Another }
    }
}

/// How long keys are remembered, in seconds.
const KEY_LIFETIME: i64 = 24 * 3600;

/// Which versions of a user a write may meet.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Only these, when given. An empty list allows none.
    pub only: Option<Vec<i64>>,
    /// None of these.
    pub except: Vec<i64>,
}

impl Condition {
    /// Whether it allows a user of this version.
    pub fn allows(&self, version: i64) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&version)) && !self.except.contains(&version)
    }

    /// Whether it allows every version.
    pub fn is_empty(&self) -> bool {
        self.only.is_none() && self.except.is_empty()
    }
}

/// What came of a write under a condition.
#[derive(Debug, PartialEq, Eq)]
pub enum Changed<T> {
    /// It is done.
    Done(T),
    /// There is no such user.
    Missing,
    /// The user's version is not one that the condition allows.
    Refused,
}

/// A row of what only logging in needs: id, name, e-mail, version, role, credentials, hash.
type AccountRow = (i64, String, String, i64, String, i64, Option<String>);

fn account((id, name, email, version, role, credentials, password_hash): AccountRow) -> Account {
    Account {
        user: User { id, name, email, version },
        // The column holds one of the two.
        role: if role == "admin" { Role::Admin } else { Role::User },
        credentials,
        password_hash,
    }
}

/// Makes the store that the settings ask for. Connects to nothing yet.
pub fn open(settings: &DatabaseSettings) -> Arc<dyn Store> {
    match &settings.database {
        Database::Sqlite(options) => Arc::new(sqlite::Sqlite::new(options, settings.pool, settings.outbox)),
        Database::Postgres(options) => Arc::new(postgres::Postgres::new(options, &settings.replicas, settings.pool, settings.outbox)),
    }
}

#[cfg(test)]
mod tests {
    use super::Lsn;

    #[test]
    fn the_order_of_places_is_that_of_their_texts() {
        let places =
            [(0, 0), (1, 9), (1, 10), (1, u64::MAX), (2, 0), (10, 5), (i64::MAX, u64::MAX)].map(|(history, lsn)| Lsn { history, lsn });
        assert!(places.is_sorted());
        let texts = places.map(|place| place.to_string());
        assert!(texts.is_sorted(), "{texts:?}");
        assert_eq!(texts.map(|text| text.parse()), places.map(Ok));
        for wrong in [
            "",
            "0",
            "000000000000000100000000000000zz",
            "+0000000000000010000000000000001",
            "00000000000000010000000000000001 ",
        ] {
            assert!(wrong.parse::<Lsn>().is_err(), "{wrong:?} was taken");
        }
    }
}
