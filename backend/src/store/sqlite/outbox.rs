//! Notes in SQLite.

use async_trait::async_trait;
use sqlx::{Connection, SqliteConnection};

use super::{Sqlite, json};
use crate::store::{Note, Outbox, Result};

#[async_trait]
impl Outbox for Sqlite {
    async fn notes(&self, limit: i64) -> Result<Vec<Note>> {
        const SQL: &str = "SELECT id, user_id, version FROM outbox ORDER BY id LIMIT ?1 + 0";
        let rows: Vec<(i64, i64, i64)> = self
            .outbox
            .read(async move |c| sqlx::query_as(SQL).bind(limit).fetch_all(c).await)
            .await?;
        let note = |(row, user, version)| Note {
            row: Some(row),
            user,
            version,
        };
        Ok(rows.into_iter().map(note).collect())
    }

    async fn forget(&self, rows: &[i64]) -> Result<()> {
        const SQL: &str = "DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?1))";
        let rows = json(rows);
        self.write(async |c: &mut SqliteConnection| sqlx::query(SQL).bind(rows).execute(c).await)
            .await?;
        Ok(())
    }

    async fn has_note(&self, row: i64) -> Result<bool> {
        const SQL: &str = "SELECT EXISTS (SELECT 1 FROM outbox WHERE id = ?1)";
        self.pool
            .read(async move |c| sqlx::query_scalar(SQL).bind(row).fetch_one(c).await)
            .await
    }

    async fn home(&self) -> Result<String> {
        const SQL: &str = "SELECT name FROM home";
        self.outbox.read(async move |c| sqlx::query_scalar(SQL).fetch_one(c).await).await
    }
}

impl Sqlite {
    /// Removes notes that nobody has read.
    pub(super) async fn forget_old(&self) -> Result<()> {
        const SQL: &str = "DELETE FROM outbox WHERE made_at <= unixepoch() - ?1";
        self.write(async |c: &mut SqliteConnection| sqlx::query(SQL).bind(Note::LIFETIME).execute(c).await)
            .await?;
        Ok(())
    }

    /// A write and its note, together or not at all. Where no notes are kept, the write is a transaction by itself.
    pub(super) async fn write_noted<T>(
        &self,
        statement: impl AsyncFnOnce(&mut SqliteConnection) -> sqlx::Result<T>,
        changed: impl FnOnce(&T) -> Option<(i64, i64)>,
    ) -> Result<(T, Option<i64>)> {
        if !self.noting {
            return Ok((self.write(statement).await?, None));
        }
        self.write(async |c: &mut SqliteConnection| {
            let mut transaction = c.begin_with("BEGIN IMMEDIATE").await?;
            let done = async {
                let value = statement(&mut transaction).await?;
                let row = match changed(&value) {
                    Some((user, version)) => Some(note(&mut transaction, user, version).await?),
                    None => None,
                };
                Ok((value, row))
            };
            match done.await {
                Ok(outcome) => transaction.commit().await.map(|()| outcome),
                Err(e) => {
                    // The connection may be used on, so this must have happened before.
                    transaction.rollback().await?;
                    Err(e)
                }
            }
        })
        .await
    }
}

async fn note(c: &mut SqliteConnection, user: i64, version: i64) -> sqlx::Result<i64> {
    const SQL: &str = "INSERT INTO outbox (user_id, version) VALUES (?1, ?2) RETURNING id";
    let rows = sqlx::query_scalar(SQL).bind(user).bind(version).fetch_all(c).await?;
    rows.into_iter().next().ok_or(sqlx::Error::RowNotFound)
}
