//! Sessions and failed logins in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::Sqlite;
use crate::store::Result;
use crate::store::sessions::{Failures, Owner, Sessions, failures, seconds};

#[async_trait]
impl Sessions for Sqlite {
    async fn begin(&self, session: &str, user: i64, credentials: i64, secret: &[u8], lifetime: Duration) -> Result<()> {
        const SQL: &str = "INSERT INTO sessions (id, user_id, credentials, secret, ends_at) VALUES (?1, ?2, ?3, ?4, unixepoch() + ?5) \
            ON CONFLICT (id) DO NOTHING";
        let (session, secret, ends_in) = (session.to_owned(), secret.to_owned(), seconds(lifetime));
        let insert = async |c: &mut SqliteConnection| {
            let query = sqlx::query(SQL).bind(session).bind(user).bind(credentials);
            query.bind(secret).bind(ends_in).execute(c).await
        };
        self.write(insert).await?;
        Ok(())
    }

    async fn owner(&self, session: &str) -> Result<Option<Owner>> {
        const SQL: &str = "SELECT user_id, credentials FROM sessions WHERE id = ?1 AND ends_at > unixepoch()";
        let session = session.to_owned();
        let row = self
            .pool
            .read(async move |c| sqlx::query_as(SQL).bind(session).fetch_optional(c).await)
            .await?;
        Ok(row.map(|(user, credentials)| Owner { user, credentials }))
    }

    async fn exchange(&self, session: &str, given: &[u8], next: &[u8], lifetime: Duration) -> Result<bool> {
        const SQL: &str = "UPDATE sessions SET secret = ?3, ends_at = unixepoch() + ?4 \
            WHERE id = ?1 AND secret IN (?2, ?3) AND ends_at > unixepoch()";
        let (name, given, next, ends_in) = (session.to_owned(), given.to_owned(), next.to_owned(), seconds(lifetime));
        let update = async |c: &mut SqliteConnection| {
            let query = sqlx::query(SQL).bind(name).bind(given);
            query.bind(next).bind(ends_in).execute(c).await
        };
        if self.write(update).await?.rows_affected() == 1 {
            return Ok(true);
        }
        self.end(session).await?;
        Ok(false)
    }

    async fn end(&self, session: &str) -> Result<()> {
        const SQL: &str = "DELETE FROM sessions WHERE id = ?1";
        let session = session.to_owned();
        self.write(async |c: &mut SqliteConnection| sqlx::query(SQL).bind(session).execute(c).await)
            .await?;
        Ok(())
    }

    async fn failures(&self, keys: &[String]) -> Result<Vec<Failures>> {
        const SQL: &str = "SELECT key, failures, ends_at - unixepoch() FROM login_failures \
            WHERE key IN (SELECT value FROM json_each(?1)) AND ends_at > unixepoch()";
        let keys = json(keys);
        let rows = self
            .pool
            .read(async move |c| sqlx::query_as(SQL).bind(keys).fetch_all(c).await)
            .await?;
        Ok(failures(rows))
    }

    async fn failed(&self, keys: &[String], window: Duration) -> Result<Vec<Failures>> {
        // "WHERE true": else SQLite takes ON CONFLICT for the ON of a join.
        const SQL: &str = "INSERT INTO login_failures (key, failures, ends_at) SELECT value, 1, unixepoch() + ?2 FROM json_each(?1) WHERE true \
            ON CONFLICT (key) DO UPDATE SET failures = iif(ends_at > unixepoch(), failures + 1, 1), \
            ends_at = iif(ends_at > unixepoch(), ends_at, excluded.ends_at) RETURNING key, failures, ends_at - unixepoch()";
        let (keys, ends_in) = (json(keys), seconds(window));
        let upsert = async |c: &mut SqliteConnection| sqlx::query_as(SQL).bind(keys).bind(ends_in).fetch_all(c).await;
        Ok(failures(self.write(upsert).await?))
    }

    async fn forgive(&self, key: &str) -> Result<()> {
        const SQL: &str = "DELETE FROM login_failures WHERE key = ?1";
        let key = key.to_owned();
        self.write(async |c: &mut SqliteConnection| sqlx::query(SQL).bind(key).execute(c).await)
            .await?;
        Ok(())
    }
}

/// A list that SQLite can take apart; it has no arrays to bind.
fn json(keys: &[String]) -> String {
    // Text always becomes JSON.
    serde_json::to_string(keys).unwrap_or_default()
}
