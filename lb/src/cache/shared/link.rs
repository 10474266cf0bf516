//! A connection to Redis: to a server, to a cluster, or to what its sentinels say is the primary.

use std::time::Duration;

use lb_config::{Redis, RedisKind};
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo};
use redis::{RedisConnectionInfo, RedisError, RedisResult, TlsMode};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_millis(500);

/// See the [module](self). One that has failed is not used again.
pub(super) enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    /// Connects, in bounded time.
    pub(super) async fn connect(redis: &Redis) -> RedisResult<Self> {
        in_time(CONNECT, Self::dial(redis)).await
    }

    async fn dial(redis: &Redis) -> RedisResult<Self> {
        // Each command has a time limit of its own: see `ask`.
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(Some(CONNECT));
        let mut nodes = redis.nodes.iter().map(|(host, port)| address(redis.tls, host, *port));
        match &redis.kind {
            RedisKind::Server { database } => {
                let Some(node) = nodes.next() else { return Err(nowhere()) };
                let client = Client::open(info(redis, node, *database)?)?;
                client.get_multiplexed_async_connection_with_config(&config).await.map(Link::One)
            }
            RedisKind::Cluster => {
                let infos = nodes.map(|node| info(redis, node, 0)).collect::<RedisResult<Vec<_>>>()?;
                // What has moved to another node is asked for again there, a few times.
                let client = ClusterClient::builder(infos).retries(3).connection_timeout(CONNECT).build()?;
                client.get_async_connection().await.map(Link::Cluster)
            }
            RedisKind::Sentinel { name, database } => {
                let mut builder = SentinelClientBuilder::new(nodes, name, SentinelServerType::Master)?.set_client_to_redis_db(*database);
                if redis.tls {
                    builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
                }
                if let Some(user) = &redis.user {
                    builder = builder.set_client_to_redis_username(user);
                }
                if let Some(password) = &redis.password {
                    builder = builder.set_client_to_redis_password(&password.0);
                }
                let mut client = builder.build()?;
                client.get_async_connection_with_config(&config).await.map(Link::One)
            }
        }
    }

    /// Sends a command and waits for the answer, so long.
    pub(super) async fn ask<T: FromRedisValue>(&mut self, command: &Cmd, limit: Duration) -> RedisResult<T> {
        match self {
            Link::One(link) => in_time(limit, command.query_async(link)).await,
            Link::Cluster(link) => in_time(limit, command.query_async(link)).await,
        }
    }
}

async fn in_time<T>(limit: Duration, what: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    match tokio::time::timeout(limit, what).await {
        Ok(result) => result,
        Err(_) => Err(RedisError::from((ErrorKind::Io, "it does not answer"))),
    }
}

fn nowhere() -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, "it has no address"))
}

fn address(tls: bool, host: &str, port: u16) -> ConnectionAddr {
    let host = host.to_owned();
    match tls {
        false => ConnectionAddr::Tcp(host, port),
        true => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        },
    }
}

fn info(redis: &Redis, node: ConnectionAddr, database: i64) -> RedisResult<ConnectionInfo> {
    let mut login = RedisConnectionInfo::default().set_db(database);
    if let Some(user) = &redis.user {
        login = login.set_username(user);
    }
    if let Some(password) = &redis.password {
        login = login.set_password(&password.0);
    }
    Ok(node.into_connection_info()?.set_redis_settings(login))
}
