//! Sessions and failed logins: what all servers must remember together, in Redis or in the database.

use std::time::Duration;

use async_trait::async_trait;

use super::Result;

/// Where sessions and failed logins are kept.
///
/// Every call is atomic, however many servers make it at once. A call whose answer was lost can be made again; all that comes of it is that a
/// failure may count twice.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Begins a session of `user`, made under the user's password number `credentials`. It ends when it is not refreshed for `lifetime`.
    async fn begin(&self, session: &str, user: i64, credentials: i64, secret: &[u8], lifetime: Duration) -> Result<()>;

    /// Whose session it is, if there is one.
    async fn owner(&self, session: &str) -> Result<Option<Owner>>;

    /// Puts `next` in the place of the secret, if that is `given`, and lets the session live on for `lifetime`. If it is neither, an old
    /// secret has come back: the session ends. `false` when there is no session, or no longer.
    async fn exchange(&self, session: &str, given: &[u8], next: &[u8], lifetime: Duration) -> Result<bool>;

    /// Ends a session.
    async fn end(&self, session: &str) -> Result<()>;

    /// The failures counted under these keys in their present windows; a key without any may be left out.
    async fn failures(&self, keys: &[String]) -> Result<Vec<Failures>>;

    /// Counts one more under each key, and tells how many there are now. The first one begins a window.
    async fn failed(&self, keys: &[String], window: Duration) -> Result<Vec<Failures>>;

    /// Forgets the failures under a key.
    async fn forgive(&self, key: &str) -> Result<()>;
}

/// Whose session it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: i64,
    /// Under which of the user's passwords it began.
    pub credentials: i64,
}

/// Failures under one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failures {
    /// What they are counted for.
    pub key: String,
    /// How many.
    pub count: i64,
    /// When they are forgotten.
    pub ends_in: Duration,
}

/// Rows as both databases give them: key, count, seconds.
pub(super) fn failures(rows: Vec<(String, i64, i64)>) -> Vec<Failures> {
    let one = |(key, count, seconds): (String, i64, i64)| Failures {
        key,
        count,
        // Within its last second it still is a second, so that nobody is told to come back at once.
        ends_in: Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(1)),
    };
    rows.into_iter().map(one).collect()
}

/// Whole seconds, as both databases count time.
pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
