//! The way to one server: connections of which it is known what they show.
//!
//! What a monitor knows is a hint, by which a server is chosen. What counts is what the session itself has seen: a session lives in one server, which does not go
//! back within its life, so all that had been replayed when the session asked is visible to every statement after it. That costs a statement for each new
//! connection, and another one when something newer is needed than was there then. (To ask within the same statement proves nothing: its snapshot is older
//! than the place that it is told.)

use std::sync::Arc;

use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnection;

use super::server::{Seen, Server, look, look_at_replica};
use super::servers::View;
use crate::settings::PoolSettings;
use crate::store::pool::{Held, Pool};
use crate::store::{Lsn, Result};

/// Connections to a server.
pub(super) struct Access {
    pub(super) server: Arc<Server>,
    pub(super) pool: Pool<PgConnection, Option<Seen>>,
}

impl Access {
    pub(super) fn new(server: Arc<Server>, settings: PoolSettings) -> Self {
        Self {
            pool: Pool::new(server.options.clone(), settings),
            server,
        }
    }

    /// Runs a statement in a session that sees all up to `place`. `None`: there is none here yet.
    pub(super) async fn read_replayed<T>(
        &self,
        place: Lsn,
        view: View,
        statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T> + Clone,
    ) -> Result<Option<T>> {
        let _busy = self.server.busy();
        let outcome = self
            .pool
            .read_on(async move |held: &mut Held<PgConnection, Option<Seen>>| {
                if !held.seen.is_some_and(|seen| seen.shows(place, view)) {
                    let seen = look_at_replica(held.connection()).await?;
                    held.seen = Some(seen);
                    self.server.reached(seen.place);
                    if !seen.shows(place, view) {
                        return Ok(None);
                    }
                }
                match statement(held.connection()).await {
                    Err(sqlx::Error::Database(e)) if is_of_a_newer_schema(e.as_ref()) => Ok(None),
                    outcome => outcome.map(Some),
                }
            })
            .await;
        self.server.hear(&outcome);
        outcome
    }

    /// Runs a statement that changes nothing in a session that may also write. `None`: there is none here.
    pub(super) async fn read_newest<T>(
        &self,
        view: View,
        statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T> + Clone,
    ) -> Result<Option<T>> {
        let outcome = self
            .pool
            .read_on(async move |held: &mut Held<PgConnection, Option<Seen>>| if_writes(held, view, statement).await)
            .await;
        self.server.hear(&outcome);
        outcome
    }

    /// Runs a statement that changes something. `None`: it was not sent, because this is not the primary.
    pub(super) async fn write<T>(
        &self,
        view: View,
        statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> Result<Option<T>> {
        let outcome = self
            .pool
            .write_on(async move |held: &mut Held<PgConnection, Option<Seen>>| if_writes(held, view, statement).await)
            .await;
        self.server.hear(&outcome);
        outcome
    }

    /// Runs a statement in whatever state the server is.
    pub(super) async fn read_any<T>(&self, statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T> + Clone) -> Result<Option<T>> {
        let outcome = self.pool.read(statement).await.map(Some);
        self.server.hear(&outcome);
        outcome
    }
}

/// Whether a statement needs what the server does not have: a replica that has not replayed the latest migration.
fn is_of_a_newer_schema(error: &dyn DatabaseError) -> bool {
    // Undefined table, column and function.
    matches!(error.code().as_deref(), Some("42P01" | "42703" | "42883"))
}

/// Runs a statement in a session that may write. `None`: this one may not.
async fn if_writes<T>(
    held: &mut Held<PgConnection, Option<Seen>>,
    view: View,
    statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
) -> sqlx::Result<Option<T>> {
    if may_write(held, view).await? {
        statement(held.connection()).await.map(Some)
    } else {
        Ok(None)
    }
}

/// Whether it is a session in the primary; asked once, and again while it is not.
async fn may_write(held: &mut Held<PgConnection, Option<Seen>>, view: View) -> sqlx::Result<bool> {
    if let Some(seen) = held.seen
        && seen.writes(view)
    {
        return Ok(true);
    }
    let seen = look(held.connection()).await?;
    held.seen = Some(seen);
    Ok(seen.writes(view))
}
