//! What can go wrong in a database, sorted by what the caller can do about it.

use sqlx::error::DatabaseError;

/// Why a call to the store failed. The texts are for the log, never for a client: they may name hosts, files and SQL.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another user has this e-mail address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// The database is away, starting, locked or full, or has no schema yet: it may work later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Anything else: a mistake in this program, or a damaged database.
    #[error("the database refused: {0}")]
    Broken(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(e) if e.is_unique_violation() => Self::EmailTaken,
            sqlx::Error::Database(e) if is_temporary(e.as_ref()) => Self::Unavailable(error.to_string()),
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => Self::Unavailable(error.to_string()),
            _ => Self::Broken(error.to_string()),
        }
    }
}

/// Whether the database itself says that it cannot right now.
///
/// PostgreSQL has five-character codes (appendix A of its manual), SQLite numbers whose low byte is the primary code
/// (<https://sqlite.org/rescode.html>).
fn is_temporary(error: &dyn DatabaseError) -> bool {
    let Some(code) = error.code() else { return false };
    match code.parse::<u32>() {
        Ok(number) if code.len() < 5 => match number & 0xff {
            // BUSY, LOCKED, IOERR, FULL, CANTOPEN
            5 | 6 | 10 | 13 | 14 => true,
            // ERROR says anything; what matters here is a database that was not migrated yet.
            1 => error.message().starts_with("no such table"),
            _ => false,
        },
        // 08 connection, 28 not let in, 3D no such database, 40 rolled back, 53 out of resources, 57 told to stop;
        // read-only (a primary that became a standby), lock not available, no such table (not migrated yet)
        _ => {
            let class = code.get(..2).unwrap_or_default();
            ["08", "28", "3D", "40", "53", "57"].contains(&class) || ["25006", "55P03", "42P01"].contains(&code.as_ref())
        }
    }
}

/// Whether the connection itself is lost, so that the statement may not even have reached the database.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(e) => e.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("08")),
        _ => false,
    }
}
