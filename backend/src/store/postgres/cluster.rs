//! A primary and its replicas, as the rest of the store uses them, with those who watch over them.

use std::sync::Arc;

use futures::future::join_all;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::access::Access;
use super::monitor;
use super::server::Server;
use super::servers::{Servers, View, Where};
use crate::settings::PoolSettings;
use crate::store::pool::PoolStatus;
use crate::store::{At, Result, ServerStatus};

/// The servers of `DATABASE_URL` and `DATABASE_REPLICA_URLS`.
pub(super) struct Cluster {
    servers: Arc<Servers>,
    /// None where there are no replicas.
    monitors: Vec<AbortHandle>,
}

impl Cluster {
    pub(super) fn new(primary: &PgConnectOptions, replicas: &[PgConnectOptions], settings: PoolSettings) -> Self {
        let list = std::iter::once(primary).chain(replicas);
        let access = |options| Access::new(Arc::new(Server::new(options)), settings);
        let view = Arc::new(watch::Sender::new(View::default()));
        let servers = Arc::new(Servers::new(list.map(access).collect(), view, settings.connect_timeout));
        let watched = if replicas.is_empty() { 0 } else { servers.list.len() };
        let monitors = (0..watched)
            .map(|index| tokio::spawn(monitor::watch_over(Arc::clone(&servers), index)).abort_handle())
            .collect();
        Self { servers, monitors }
    }

    /// The same servers, with other connections: for those who must not wait behind requests.
    pub(super) fn aside(&self, settings: PoolSettings) -> Self {
        let access = |access: &Access| Access::new(Arc::clone(&access.server), settings);
        let list = self.servers.list.iter().map(access).collect();
        let view = Arc::clone(&self.servers.view);
        Self {
            servers: Arc::new(Servers::new(list, view, settings.connect_timeout)),
            monitors: Vec::new(),
        }
    }

    pub(super) fn has_replicas(&self) -> bool {
        self.servers.alone().is_none()
    }

    /// Runs one statement that changes something, at the primary. It is never repeated.
    pub(super) async fn write<T>(&self, statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>) -> Result<T> {
        match self.servers.alone() {
            Some(access) => access.pool.write(statement).await,
            None => self.servers.write(statement).await,
        }
    }

    /// Runs one statement that changes nothing, at the primary.
    pub(super) async fn read<T>(&self, statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T> + Clone) -> Result<T> {
        self.read_at(At::Primary, statement).await
    }

    /// The same, of which nobody waits for a primary where there is none.
    pub(super) async fn read_at_once<T>(&self, statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T> + Clone) -> Result<T> {
        let servers = &self.servers;
        if servers.alone().is_some() {
            return self.read(statement).await;
        }
        let (index, _) = servers.primary(servers.looked().await)?;
        servers.while_primary(index, self.read(statement)).await
    }

    /// Runs one statement that changes nothing where it may be done.
    pub(super) async fn read_at<T>(&self, at: At, statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T> + Clone) -> Result<T> {
        match self.servers.alone() {
            Some(access) => access.pool.read(statement).await,
            None => self.servers.read_in_time(Where::At(at), statement).await,
        }
    }

    /// Runs one statement at the primary or, when that is away, at any replica.
    pub(super) async fn read_anywhere<T>(&self, statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T> + Clone) -> Result<T> {
        match self.servers.alone() {
            Some(access) => access.pool.read(statement).await,
            None => self.servers.read_in_time(Where::Anywhere, statement).await,
        }
    }

    /// Whether there is a primary, as far as is known.
    pub(super) fn has_primary(&self) -> bool {
        self.servers.alone().is_some() || self.servers.view().primary.is_some()
    }

    /// How to reach the primary.
    pub(super) async fn primary(&self) -> Result<&PgConnectOptions> {
        let access = match self.servers.alone() {
            Some(access) => access,
            None => self.servers.primary(self.servers.looked().await)?.1,
        };
        Ok(&access.server.options)
    }

    /// All connections and statements.
    pub(super) fn status(&self) -> PoolStatus {
        let none = PoolStatus {
            max: 0,
            open: 0,
            idle: 0,
            statements: 0,
        };
        self.servers
            .list
            .iter()
            .map(|server| server.pool.status())
            .fold(none, |a, b| PoolStatus {
                max: a.max + b.max,
                open: a.open + b.open,
                idle: a.idle + b.idle,
                statements: a.statements + b.statements,
            })
    }

    /// Each server, where there are several.
    pub(super) fn servers(&self) -> Vec<ServerStatus> {
        if !self.has_replicas() {
            return Vec::new();
        }
        let view = self.servers.view();
        let newest = self.servers.list.iter().map(|access| access.server.lsn()).max().unwrap_or(0);
        let status = |(index, Access { server, pool }): (usize, &Access)| {
            let primary = view.primary == Some(index);
            ServerStatus {
                name: server.name.clone(),
                pool: pool.status(),
                primary,
                healthy: primary || server.replica(view).is_some(),
                lag: newest.saturating_sub(server.lsn()),
            }
        };
        self.servers.list.iter().enumerate().map(status).collect()
    }

    /// Gives all connections back.
    pub(super) async fn close(&self) {
        self.stop_watching();
        join_all(self.servers.list.iter().map(|access| access.pool.close())).await;
    }

    fn stop_watching(&self) {
        self.monitors.iter().for_each(AbortHandle::abort);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_watching();
    }
}
