//! The connection to Redis, which nobody waits for.
//!
//! A connection and the run of the server that it leads to are one value ([`Live`]). All keys bear that run: a Redis that was started
//! again, with nothing in it or with what it had on disk, is another one, in which nothing from before can be found. Whatever was sent over
//! a connection went to the run that the connection stands for, or to nobody.
//!
//! When an answer does not come in time, the connection is put aside at once, so that only those wait who were waiting already; a task
//! tries it out, and opens another one if need be.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::store::Store;

/// How long a request waits for Redis.
pub(super) const ANSWER: Duration = Duration::from_millis(250);
/// How long a connection that was put aside has for a sign of life, and a new one for its beginning.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// What the keys begin with. The number changes with the form of what is kept.
const PREFIX: &str = "backend:cache:1";

/// A connection to one run of Redis.
pub(super) struct Live {
    pub(super) connection: MultiplexedConnection,
    /// The beginning of all keys of this database in this run.
    pub(super) prefix: String,
}

/// The connection that there is, or none.
pub(super) struct Link {
    live: watch::Sender<Option<Arc<Live>>>,
    /// The connection that did not answer.
    suspect: watch::Sender<Option<Arc<Live>>>,
    wanted: Notify,
}

impl Link {
    pub(super) fn new() -> Self {
        Self {
            live: watch::Sender::new(None),
            suspect: watch::Sender::new(None),
            wanted: Notify::new(),
        }
    }

    /// The connection, if there is one that works as far as is known.
    pub(super) fn live(&self) -> Option<Arc<Live>> {
        self.live.borrow().clone()
    }

    /// Something went wrong on it.
    pub(super) fn failed(&self, on: &Arc<Live>, error: &RedisError) {
        let is_lost = error.is_io_error() || error.is_timeout() || error.is_connection_dropped() || error.is_unrecoverable_error();
        if !is_lost {
            // Redis itself says so: it is full, or loading, or read-only. Another connection would do no better.
            return;
        }
        let set_aside = self.live.send_if_modified(|live| {
            let is_this = live.as_ref().is_some_and(|live| Arc::ptr_eq(live, on));
            if is_this {
                *live = None;
            }
            is_this
        });
        if set_aside {
            tracing::warn!("the cache is not used: Redis: {error}");
            self.suspect.send_replace(Some(Arc::clone(on)));
            self.wanted.notify_one();
        }
    }

    /// Keeps a connection for ever.
    pub(super) async fn keep(&self, client: &Client, store: &dyn Store) {
        let home = home(store).await;
        let mut told = false;
        loop {
            let suspect = self.suspect.send_replace(None);
            let live = match suspect {
                Some(live) if live.answers().await => Ok(live),
                _ => Live::connect(client, &home).await.map(Arc::new),
            };
            match live {
                Ok(live) => {
                    tracing::info!("the cache has a connection to Redis");
                    told = false;
                    self.live.send_replace(Some(live));
                    self.wanted.notified().await;
                }
                Err(e) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!("the cache has no connection to Redis: {e}");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// The database's name, once it answers.
async fn home(store: &dyn Store) -> String {
    loop {
        match store.home().await {
            Ok(home) => return home,
            Err(e) => tracing::debug!("the cache waits for the database: {e}"),
        }
        sleep(PAUSE).await;
    }
}

impl Live {
    async fn connect(client: &Client, home: &str) -> RedisResult<Self> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(ANSWER));
        let connecting = async {
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
            Ok((connection, info))
        };
        let too_slow = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let (connection, info) = timeout(PATIENCE, connecting).await.unwrap_or_else(|e| Err(too_slow(e)))?;
        let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        let run = run.map(str::trim).filter(|run| run.len() >= 16).and_then(|run| run.get(..16));
        let run = run.ok_or_else(|| RedisError::from((redis::ErrorKind::Client, "INFO server does not tell run_id")))?;
        Ok(Self {
            connection,
            prefix: format!("{PREFIX}:{home}:{run}"),
        })
    }

    async fn answers(&self) -> bool {
        let tried = async {
            // Each try is bounded by the time for an answer.
            for _ in 0..4 {
                let mut connection = self.connection.clone();
                let answer: RedisResult<()> = redis::cmd("PING").query_async(&mut connection).await;
                match answer {
                    Ok(()) => return true,
                    Err(e) if e.is_timeout() => {}
                    Err(_) => return false,
                }
            }
            false
        };
        timeout(PATIENCE, tried).await.unwrap_or(false)
    }
}
