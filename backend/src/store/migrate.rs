//! Migrations: numbered SQL files, compiled in, each applied once and in order.
//!
//! Several servers start at once, on a database that may be empty. sqlx takes an advisory lock in PostgreSQL, but in SQLite none,
//! so SQLite's side brings its own (`sqlite.rs`). Migrations that this version does not know are fine: they are a newer version's,
//! and during a rolling upgrade both run side by side.

use sqlx::migrate::{Migrate, MigrateError, Migrator};

use super::StoreError;

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database does not answer: worth another try.
    #[error("{0}")]
    Unavailable(String),
    /// It will not work without somebody's help.
    #[error("cannot bring the database's schema up to date: {0}")]
    Refused(String),
}

impl From<MigrateError> for MigrationError {
    fn from(error: MigrateError) -> Self {
        let text = error.to_string();
        match error {
            MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => e.into(),
            _ => Self::Refused(text),
        }
    }
}

impl From<sqlx::Error> for MigrationError {
    fn from(error: sqlx::Error) -> Self {
        match StoreError::from(error) {
            StoreError::Unavailable(text) => Self::Unavailable(text),
            other => Self::Refused(other.to_string()),
        }
    }
}

/// Applies what is missing.
pub(super) async fn run<C: Migrate>(migrator: &Migrator, connection: &mut C) -> Result<(), MigrationError> {
    let mut migrator = Migrator {
        migrations: migrator.migrations.clone(),
        ..Migrator::DEFAULT
    };
    migrator.set_ignore_missing(true);
    Ok(migrator.run_direct(None, connection, false).await?)
}

/// The newest version that this program knows.
pub(super) fn newest(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}
