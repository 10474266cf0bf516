//! Sessions and failed logins in PostgreSQL, by its own clock, so that those of the servers need not agree.

use std::time::Duration;

use async_trait::async_trait;

use super::Postgres;
use crate::store::Result;
use crate::store::sessions::{Failures, Owner, Sessions, failures, seconds};

/// Seconds since 1970.
macro_rules! now {
    () => {
        "extract(epoch FROM now())::bigint"
    };
}

#[async_trait]
impl Sessions for Postgres {
    async fn begin(&self, session: &str, user: i64, credentials: i64, secret: &[u8], lifetime: Duration) -> Result<()> {
        const SQL: &str = concat!(
            "INSERT INTO sessions (id, user_id, credentials, secret, ends_at) VALUES ($1, $2, $3, $4, ",
            now!(),
            " + $5) ON CONFLICT (id) DO NOTHING"
        );
        let ends_in = seconds(lifetime);
        let insert = async move |c: &mut sqlx::PgConnection| {
            let query = sqlx::query(SQL).bind(session).bind(user).bind(credentials);
            query.bind(secret).bind(ends_in).execute(c).await
        };
        self.pool.write(insert).await?;
        Ok(())
    }

    async fn owner(&self, session: &str) -> Result<Option<Owner>> {
        const SQL: &str = concat!("SELECT user_id, credentials FROM sessions WHERE id = $1 AND ends_at > ", now!());
        let row = self
            .pool
            .read(async move |c| sqlx::query_as(SQL).bind(session).fetch_optional(c).await)
            .await?;
        Ok(row.map(|(user, credentials)| Owner { user, credentials }))
    }

    async fn exchange(&self, session: &str, given: &[u8], next: &[u8], lifetime: Duration) -> Result<bool> {
        const SQL: &str = concat!(
            "UPDATE sessions SET secret = $3, ends_at = ",
            now!(),
            " + $4 WHERE id = $1 AND secret IN ($2, $3) AND ends_at > ",
            now!()
        );
        let ends_in = seconds(lifetime);
        let update = async move |c: &mut sqlx::PgConnection| {
            let query = sqlx::query(SQL).bind(session).bind(given);
            query.bind(next).bind(ends_in).execute(c).await
        };
        if self.pool.write(update).await?.rows_affected() == 1 {
            return Ok(true);
        }
        self.end(session).await?;
        Ok(false)
    }

    async fn end(&self, session: &str) -> Result<()> {
        const SQL: &str = "DELETE FROM sessions WHERE id = $1";
        self.pool.write(async |c| sqlx::query(SQL).bind(session).execute(c).await).await?;
        Ok(())
    }

    async fn failures(&self, keys: &[String]) -> Result<Vec<Failures>> {
        const SQL: &str = concat!(
            "SELECT key, failures, ends_at - ",
            now!(),
            " FROM login_failures WHERE key = ANY ($1) AND ends_at > ",
            now!()
        );
        let rows = self
            .pool
            .read(async move |c| sqlx::query_as(SQL).bind(keys).fetch_all(c).await)
            .await?;
        Ok(failures(rows))
    }

    async fn failed(&self, keys: &[String], window: Duration) -> Result<Vec<Failures>> {
        // In order, so that two at once cannot wait for each other.
        const SQL: &str = concat!(
            "INSERT INTO login_failures AS f (key, failures, ends_at) SELECT key, 1, ",
            now!(),
            " + $2 FROM unnest($1::text[]) AS key ORDER BY key ON CONFLICT (key) DO UPDATE SET ",
            "failures = CASE WHEN f.ends_at > ",
            now!(),
            " THEN f.failures + 1 ELSE 1 END, ends_at = CASE WHEN f.ends_at > ",
            now!(),
            " THEN f.ends_at ELSE excluded.ends_at END RETURNING key, failures, ends_at - ",
            now!()
        );
        let ends_in = seconds(window);
        let upsert = async move |c: &mut sqlx::PgConnection| sqlx::query_as(SQL).bind(keys).bind(ends_in).fetch_all(c).await;
        Ok(failures(self.pool.write(upsert).await?))
    }

    async fn forgive(&self, key: &str) -> Result<()> {
        const SQL: &str = "DELETE FROM login_failures WHERE key = $1";
        self.pool.write(async |c| sqlx::query(SQL).bind(key).execute(c).await).await?;
        Ok(())
    }
}
