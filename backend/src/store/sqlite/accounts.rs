//! Accounts in SQLite.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{Sqlite, user};
use crate::store::{Accounts, Result, account};
use crate::users::{Account, Email, NewUser, User};

#[async_trait]
impl Accounts for Sqlite {
    async fn account_of(&self, email: &Email) -> Result<Option<Account>> {
        const SQL: &str = "SELECT id, name, email, version, role, credentials, password_hash FROM users WHERE lower(email) = lower(?1)";
        let email = email.as_str().to_owned();
        let row = self
            .pool
            .read(async move |c| sqlx::query_as(SQL).bind(email).fetch_optional(c).await)
            .await?;
        Ok(row.map(account))
    }

    async fn account(&self, id: i64) -> Result<Option<Account>> {
        const SQL: &str = "SELECT id, name, email, version, role, credentials, password_hash FROM users WHERE id = ?1";
        let row = self
            .pool
            .read(async move |c| sqlx::query_as(SQL).bind(id).fetch_optional(c).await)
            .await?;
        Ok(row.map(account))
    }

    async fn rehash(&self, id: i64, old: &str, new: &str) -> Result<()> {
        const SQL: &str = "UPDATE users SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2";
        let (old, new) = (old.to_owned(), new.to_owned());
        self.write(async |c: &mut SqliteConnection| sqlx::query(SQL).bind(id).bind(old).bind(new).execute(c).await)
            .await?;
        Ok(())
    }

    async fn make_admin(&self, new: &NewUser, password_hash: &str) -> Result<User> {
        const SQL: &str = "INSERT INTO users (name, email, password_hash, role) VALUES (?1, ?2, ?3, 'admin') \
            ON CONFLICT (lower(email)) DO UPDATE SET role = 'admin', password_hash = excluded.password_hash, \
            credentials = credentials + 1 RETURNING id, name, email, version";
        let (name, email) = (new.name.as_str().to_owned(), new.email.as_str().to_owned());
        let password_hash = password_hash.to_owned();
        let upsert = async |c: &mut SqliteConnection| {
            let query = sqlx::query_as(SQL).bind(name).bind(email).bind(password_hash);
            let row = query.fetch_all(c).await?.into_iter().next().ok_or(sqlx::Error::RowNotFound)?;
            Ok(user(row))
        };
        let (user, _) = self.write_noted(upsert, |user: &User| Some((user.id, user.version))).await?;
        Ok(user)
    }
}
