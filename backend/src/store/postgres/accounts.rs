//! Accounts in PostgreSQL.

use async_trait::async_trait;
use sqlx::PgConnection;

use super::{Postgres, noted, turn, user};
use crate::store::{Accounts, Result, StoreError, account};
use crate::users::{Account, Email, NewUser, User};

const BY_ID: &str = "SELECT id, name, email, version, role, credentials, password_hash FROM users WHERE id = $1";

#[async_trait]
impl Accounts for Postgres {
    async fn account_of(&self, email: &Email) -> Result<Option<Account>> {
        // Spelt as in the index, or it would not be used.
        const SQL: &str = "SELECT id, name, email, version, role, credentials, password_hash FROM users \
            WHERE lower(email COLLATE \"C\") = lower($1 COLLATE \"C\")";
        let email = email.as_str();
        let row = self
            .pool
            .read(async move |c| sqlx::query_as(SQL).bind(email).fetch_optional(c).await)
            .await?;
        Ok(row.map(account))
    }

    async fn account(&self, id: i64) -> Result<Option<Account>> {
        let row = self
            .pool
            .read(async move |c| sqlx::query_as(BY_ID).bind(id).fetch_optional(c).await)
            .await?;
        Ok(row.map(account))
    }

    async fn own_account(&self, id: i64) -> Result<Option<Account>> {
        if self.pool.primary().await.is_ok() {
            let outcome = self.account(id).await;
            // A primary that is there and has too much to do still is the only one who knows for certain.
            if outcome.is_ok() || self.pool.primary().await.is_ok() {
                return outcome;
            }
        }
        let row = self
            .pool
            .read_anywhere(async move |c| sqlx::query_as(BY_ID).bind(id).fetch_optional(c).await)
            .await?;
        // Of somebody whom the replica does not know, it does not know either whether there is one.
        let known = row.map(account).map(Some);
        known.ok_or_else(|| StoreError::Unavailable("no replica knows this user".into()))
    }

    async fn rehash(&self, id: i64, old: &str, new: &str) -> Result<()> {
        const SQL: &str = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
        self.pool
            .write(async |c| sqlx::query(SQL).bind(id).bind(old).bind(new).execute(c).await)
            .await?;
        Ok(())
    }

    async fn make_admin(&self, new: &NewUser, password_hash: &str) -> Result<User> {
        const SQL: &str = concat!(
            turn!(),
            ", changed AS (INSERT INTO users AS u (name, email, password_hash, role) SELECT $1, $2, $3, 'admin' FROM turn ",
            "ON CONFLICT (lower(email COLLATE \"C\")) DO UPDATE SET role = 'admin', password_hash = excluded.password_hash, ",
            "credentials = u.credentials + 1 RETURNING id, name, email, version), ",
            noted!("$4"),
            "SELECT id, name, email, version FROM changed"
        );
        let (name, email) = (new.name.as_str(), new.email.as_str());
        let upsert = async |c: &mut PgConnection| {
            let query = sqlx::query_as(SQL).bind(name).bind(email).bind(password_hash);
            query.bind(self.noting).fetch_one(c).await
        };
        Ok(user(self.pool.write(upsert).await?))
    }
}
