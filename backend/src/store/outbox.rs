//! What writes leave for the cache: a row for each change of a user, in the same transaction.

use async_trait::async_trait;

use super::Result;

/// A change of a user, of which the cache has to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// The row that says so until the cache has heard of it. Without one, this is about a change that was noted before, or nobody keeps
    /// notes.
    pub row: Option<i64>,
    /// The user.
    pub user: i64,
    /// The version that the change has made.
    pub version: i64,
}

impl Note {
    /// What stands in the place of a version when the user is gone: above all of them, and ids are never used again.
    pub const GONE: i64 = i64::MAX;

    /// How many seconds a note may lie before it is removed unread. Nothing in the cache lives as long (`cache::LONGEST`), so by then there
    /// is nothing left that the note could be about.
    pub const LIFETIME: i64 = 2 * 3600;
}

/// The notes that are there.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// At most `limit` of them, by row. Fails where it is not the primary that answers: what a replica knows is not all.
    async fn notes(&self, limit: i64) -> Result<Vec<Note>>;

    /// Removes those of these rows.
    async fn forget(&self, rows: &[i64]) -> Result<()>;

    /// Whether this one is still there.
    async fn has_note(&self, row: i64) -> Result<bool>;

    /// The name that this database has for ever, and no other one (but a copy of it).
    async fn home(&self) -> Result<String>;
}
