//! Notes in PostgreSQL.

use async_trait::async_trait;
use sqlx::PgConnection;

use super::Postgres;
use crate::store::{Note, Outbox, Result, StoreError};

#[async_trait]
impl Outbox for Postgres {
    async fn notes(&self, limit: i64) -> Result<Vec<Note>> {
        // The join keeps one row, which says who answers.
        const SQL: &str = "SELECT pg_is_in_recovery(), n.id, n.user_id, n.version FROM (SELECT 1) AS one \
            LEFT JOIN (SELECT id, user_id, version FROM outbox ORDER BY id LIMIT $1) AS n ON true ORDER BY n.id";
        type Row = (bool, Option<i64>, Option<i64>, Option<i64>);
        let rows: Vec<Row> = self
            .outbox
            .read_at_once(async move |c: &mut PgConnection| sqlx::query_as(SQL).bind(limit).fetch_all(c).await)
            .await?;
        if rows.iter().any(|(is_replica, ..)| *is_replica) {
            return Err(StoreError::Unavailable("a replica answers in the primary's place".into()));
        }
        let note = |(_, row, user, version): Row| {
            let (user, version) = (user?, version?);
            Some(Note { row, user, version })
        };
        Ok(rows.into_iter().filter_map(note).collect())
    }

    async fn forget(&self, rows: &[i64]) -> Result<()> {
        // Locked by row: several servers remove the same ones at once, and none may wait for another that waits for it.
        const SQL: &str = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE id = ANY ($1) ORDER BY id FOR UPDATE)";
        self.outbox
            .write(async |c: &mut PgConnection| sqlx::query(SQL).bind(rows).execute(c).await)
            .await?;
        Ok(())
    }

    async fn has_note(&self, row: i64) -> Result<bool> {
        const SQL: &str = "SELECT EXISTS (SELECT 1 FROM outbox WHERE id = $1)";
        self.pool
            .read(async move |c| sqlx::query_scalar(SQL).bind(row).fetch_one(c).await)
            .await
    }

    async fn home(&self) -> Result<String> {
        const SQL: &str = "SELECT name FROM home";
        self.outbox
            .read(async move |c: &mut PgConnection| sqlx::query_scalar(SQL).fetch_one(c).await)
            .await
    }
}

impl Postgres {
    /// Removes notes that nobody has read.
    pub(super) async fn forget_old(&self) -> Result<()> {
        const SQL: &str = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE made_at <= extract(epoch FROM now())::bigint - $1 \
            ORDER BY id FOR UPDATE)";
        self.pool
            .write(async |c: &mut PgConnection| sqlx::query(SQL).bind(Note::LIFETIME).execute(c).await)
            .await?;
        Ok(())
    }
}
