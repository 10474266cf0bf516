//! A database whose moments a test chooses: one user with a version, notes, and a log with replicas.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use backend::cache::{Cache, Fetched};
use backend::store::{
    Accounts, At, Changed, Condition, Created, Failures, Lsn, MigrationError, Note, Once, Outbox, Owner, PoolStatus, Result, Sessions,
    Store, StoreError,
};
use backend::users::{Account, Change, Email, NewUser, User};
use bytes::Bytes;
use redis::Client;

use crate::common::until;

/// The id of the user.
pub const USER: i64 = 1;

#[derive(Default)]
pub struct Fake {
    home: String,
    /// The user's version.
    pub version: AtomicI64,
    notes: Mutex<Vec<Note>>,
    rows: AtomicI64,
    /// Where the log ends; 0 where there are no replicas.
    pub log: AtomicU64,
    /// Nobody can reach it.
    pub away: AtomicBool,
    /// It goes away as soon as it has told its notes.
    pub leaving: AtomicBool,
    /// It does what it is asked but for removing notes.
    pub keeping: AtomicBool,
}

impl Fake {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            home: uuid::Uuid::now_v7().simple().to_string(),
            version: AtomicI64::new(1),
            ..Self::default()
        })
    }

    /// Commits a change of the user.
    pub fn commit(&self) -> Note {
        let mut notes = self.notes.lock().unwrap();
        let note = Note {
            row: Some(self.rows.fetch_add(1, Ordering::SeqCst) + 1),
            user: USER,
            version: self.version.fetch_add(1, Ordering::SeqCst) + 1,
        };
        if self.log.load(Ordering::SeqCst) > 0 {
            self.log.fetch_add(10, Ordering::SeqCst);
        }
        notes.push(note);
        note
    }

    /// What a server would fetch now.
    pub fn fetched(&self) -> Fetched {
        let version = self.version.load(Ordering::SeqCst);
        Fetched {
            value: Some(Bytes::from(version.to_string())),
            version: Some(version),
        }
    }

    /// Notes that nobody has removed.
    pub fn left(&self) -> usize {
        self.notes.lock().unwrap().len()
    }

    /// A server's cache, once it trusts its Redis.
    pub async fn cache(self: &Arc<Self>, client: Client) -> Arc<Cache> {
        let cache = Arc::new(Cache::start(client, Arc::clone(self) as _, Duration::from_secs(300)));
        until("it trusts its Redis", async || cache.status().holds).await;
        cache
    }

    fn here<T>(&self, value: T) -> Result<T> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("it is away".into()));
        }
        Ok(value)
    }
}

#[async_trait]
impl Outbox for Fake {
    async fn notes(&self, limit: i64) -> Result<Vec<Note>> {
        let notes = self.notes.lock().unwrap();
        let told = self.here(notes.iter().take(usize::try_from(limit).unwrap()).copied().collect());
        self.away.fetch_or(self.leaving.load(Ordering::SeqCst), Ordering::SeqCst);
        told
    }

    async fn forget(&self, rows: &[i64]) -> Result<()> {
        self.here(())?;
        if self.keeping.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("it is busy".into()));
        }
        self.notes.lock().unwrap().retain(|note| !rows.contains(&note.row.unwrap()));
        Ok(())
    }

    async fn has_note(&self, row: i64) -> Result<bool> {
        self.here(self.notes.lock().unwrap().iter().any(|note| note.row == Some(row)))
    }

    async fn home(&self) -> Result<String> {
        Ok(self.home.clone())
    }
}

#[async_trait]
impl Store for Fake {
    fn has_primary(&self) -> bool {
        !self.away.load(Ordering::SeqCst)
    }

    async fn position(&self) -> Result<Option<Lsn>> {
        let end = self.log.load(Ordering::SeqCst);
        self.here((end > 0).then_some(Lsn { history: 1, lsn: end }))
    }

    async fn user(&self, _: i64, _: At) -> Result<Option<User>> {
        unreachable!("the cache does not ask for it")
    }
    async fn page(&self, _: i64, _: i64, _: At) -> Result<(Vec<User>, i64)> {
        unreachable!("the cache does not ask for it")
    }
    async fn after(&self, _: i64, _: i64, _: At) -> Result<Vec<User>> {
        unreachable!("the cache does not ask for it")
    }
    async fn create(&self, _: &NewUser, _: Option<&str>, _: Option<&Once>) -> Result<Created> {
        unreachable!("the cache does not ask for it")
    }
    async fn update(&self, _: i64, _: &Change, _: &Condition) -> Result<Changed<(User, Note)>> {
        unreachable!("the cache does not ask for it")
    }
    async fn delete(&self, _: i64, _: &Condition) -> Result<Changed<Note>> {
        unreachable!("the cache does not ask for it")
    }
    async fn ping(&self) -> Result<()> {
        unreachable!("the cache does not ask for it")
    }
    async fn is_migrated(&self) -> Result<bool> {
        unreachable!("the cache does not ask for it")
    }
    async fn migrate(&self) -> std::result::Result<(), MigrationError> {
        unreachable!("the cache does not ask for it")
    }
    async fn sweep(&self) -> Result<()> {
        unreachable!("the cache does not ask for it")
    }
    fn pool(&self) -> PoolStatus {
        unreachable!("the cache does not ask for it")
    }
    async fn close(&self) {
        unreachable!("the cache does not ask for it")
    }
}

#[async_trait]
impl Accounts for Fake {
    async fn account_of(&self, _: &Email) -> Result<Option<Account>> {
        unreachable!("the cache does not ask for it")
    }
    async fn account(&self, _: i64) -> Result<Option<Account>> {
        unreachable!("the cache does not ask for it")
    }
    async fn rehash(&self, _: i64, _: &str, _: &str) -> Result<()> {
        unreachable!("the cache does not ask for it")
    }
    async fn make_admin(&self, _: &NewUser, _: &str) -> Result<User> {
        unreachable!("the cache does not ask for it")
    }
}

#[async_trait]
impl Sessions for Fake {
    async fn begin(&self, _: &str, _: i64, _: i64, _: &[u8], _: Duration) -> Result<()> {
        unreachable!("the cache does not ask for it")
    }
    async fn owner(&self, _: &str) -> Result<Option<Owner>> {
        unreachable!("the cache does not ask for it")
    }
    async fn exchange(&self, _: &str, _: &[u8], _: &[u8], _: Duration) -> Result<bool> {
        unreachable!("the cache does not ask for it")
    }
    async fn end(&self, _: &str) -> Result<()> {
        unreachable!("the cache does not ask for it")
    }
    async fn failures(&self, _: &[String]) -> Result<Vec<Failures>> {
        unreachable!("the cache does not ask for it")
    }
    async fn failed(&self, _: &[String], _: Duration) -> Result<Vec<Failures>> {
        unreachable!("the cache does not ask for it")
    }
    async fn forgive(&self, _: &str) -> Result<()> {
        unreachable!("the cache does not ask for it")
    }
}
