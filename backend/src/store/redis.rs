//! Sessions and failed logins in Redis, which forgets by itself what is over.
//!
//! One connection carries all commands, and comes back by itself after it was lost. A command whose answer did not come is sent once more,
//! which every one of them bears. An exchange of secrets has to be known to have happened or not, or the client would be left with a token
//! that is spent: it is sent again until Redis is back, or for [`CERTAINTY`].

use std::time::{Duration, Instant};

use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, FromRedisValue, Pipeline, RedisError, RedisResult};

use super::sessions::{Failures, Owner, Sessions};
use super::{Result, StoreError};

/// How long Redis may take for an answer, and for a connection.
const PATIENCE: Duration = Duration::from_secs(1);
/// Tries of one command, the first included.
const TRIES: usize = 3;
/// The pause between two of them, in which a connection may come back.
const PAUSE: Duration = Duration::from_millis(50);

/// How long an exchange is tried again of which it is not known whether it has happened.
const CERTAINTY: Duration = Duration::from_secs(10);

/// Exchanges a secret for the next one. An old one ends the session.
const EXCHANGE: &str = "
local secret = redis.call('HGET', KEYS[1], 'secret')
if secret == ARGV[1] or secret == ARGV[2] then
    redis.call('HSET', KEYS[1], 'secret', ARGV[2])
    redis.call('EXPIRE', KEYS[1], ARGV[3])
    return 1
end
redis.call('DEL', KEYS[1])
return 0";

/// A Redis server.
pub struct Redis {
    connection: ConnectionManager,
}

impl Redis {
    /// Connects to nothing yet.
    pub fn new(client: Client) -> Result<Self> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_number_of_retries(0);
        Ok(Self {
            connection: ConnectionManager::new_lazy_with_config(client, config)?,
        })
    }

    async fn run<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T> {
        let mut tried = 1;
        loop {
            match self.once(pipeline).await {
                Err(e) if tried < TRIES && is_lost(&e) => {
                    tried += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    /// The same, for as long as it is not known whether it was done.
    async fn run_for_certain<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T> {
        let started = Instant::now();
        let (mut tried, mut may_be_done) = (1, false);
        loop {
            let error = match self.once(pipeline).await {
                Err(e) if is_lost(&e) || may_be_done => e,
                outcome => return Ok(outcome?),
            };
            // Where nobody listens, nothing was sent.
            may_be_done |= !error.is_connection_refusal();
            let is_due = if may_be_done {
                started.elapsed() < CERTAINTY
            } else {
                tried < TRIES
            };
            if !is_due {
                return Err(error.into());
            }
            tried += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn once<T: FromRedisValue>(&self, pipeline: &Pipeline) -> RedisResult<T> {
        pipeline.query_async(&mut self.connection.clone()).await
    }
}

/// Whether the connection is lost, so that another one may do better.
fn is_lost(error: &RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error()
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        // Redis is loading, full, read-only, away: whatever it is, no request can be blamed for it.
        Self::Unavailable(format!("Redis: {error}"))
    }
}

fn session_key(session: &str) -> String {
    format!("backend:session:{session}")
}

fn failures_key(key: &str) -> String {
    format!("backend:failures:{key}")
}

#[async_trait]
impl Sessions for Redis {
    async fn begin(&self, session: &str, user: i64, credentials: i64, secret: &[u8], lifetime: Duration) -> Result<()> {
        let key = session_key(session);
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        pipeline
            .cmd("HSET")
            .arg(&key)
            .arg("user")
            .arg(user)
            .arg("credentials")
            .arg(credentials);
        pipeline.arg("secret").arg(secret).ignore();
        pipeline.cmd("EXPIRE").arg(&key).arg(lifetime.as_secs()).ignore();
        self.run(&pipeline).await
    }

    async fn owner(&self, session: &str) -> Result<Option<Owner>> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HMGET").arg(session_key(session)).arg("user").arg("credentials");
        let ((user, credentials),): ((Option<i64>, Option<i64>),) = self.run(&pipeline).await?;
        Ok(user.zip(credentials).map(|(user, credentials)| Owner { user, credentials }))
    }

    async fn exchange(&self, session: &str, given: &[u8], next: &[u8], lifetime: Duration) -> Result<bool> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("EVAL").arg(EXCHANGE).arg(1).arg(session_key(session));
        pipeline.arg(given).arg(next).arg(lifetime.as_secs());
        let (exchanged,) = self.run_for_certain(&pipeline).await?;
        Ok(exchanged)
    }

    async fn end(&self, session: &str) -> Result<()> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("DEL").arg(session_key(session)).ignore();
        self.run(&pipeline).await
    }

    async fn failures(&self, keys: &[String]) -> Result<Vec<Failures>> {
        let mut pipeline = redis::pipe();
        for key in keys {
            let key = failures_key(key);
            pipeline.cmd("GET").arg(&key);
            pipeline.cmd("PTTL").arg(&key);
        }
        let values: Vec<Option<i64>> = self.run(&pipeline).await?;
        Ok(counted(keys, &values))
    }

    async fn failed(&self, keys: &[String], window: Duration) -> Result<Vec<Failures>> {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for key in keys {
            let key = failures_key(key);
            let seconds = window.as_secs();
            pipeline.cmd("SET").arg(&key).arg(0).arg("EX").arg(seconds).arg("NX").ignore();
            pipeline.cmd("INCR").arg(&key);
            pipeline.cmd("PTTL").arg(&key);
        }
        let values: Vec<Option<i64>> = self.run(&pipeline).await?;
        Ok(counted(keys, &values))
    }

    async fn forgive(&self, key: &str) -> Result<()> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("DEL").arg(failures_key(key)).ignore();
        self.run(&pipeline).await
    }
}

/// Pairs of a count and the milliseconds that it is kept for.
fn counted(keys: &[String], values: &[Option<i64>]) -> Vec<Failures> {
    let one = |(key, pair): (&String, &[Option<i64>])| match pair {
        [Some(count), left] => Some(Failures {
            key: key.clone(),
            count: *count,
            ends_in: Duration::from_millis(left.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0)).max(Duration::from_secs(1)),
        }),
        _ => None,
    };
    keys.iter().zip(values.chunks(2)).filter_map(one).collect()
}
