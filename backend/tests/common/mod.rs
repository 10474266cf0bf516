//! What the tests share: databases of their own, servers on free ports, and a small HTTP client.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each test uses a part of it, and a panic is how a test fails"
)]

mod cached;
mod client;
mod database;
mod guarded;
mod metrics;
mod process;
mod redis;
mod streaming;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backend::auth::Auth;
use backend::cache::Cache;
use backend::http::App;
use backend::log::Log;
use backend::serve;
use backend::settings::{Cors, Database as Where, DatabaseSettings, HttpSettings, LogFormat, LogSettings, PoolSettings, Who};
use backend::store::{self, Redis, Sessions, Store};
use tokio::net::TcpListener;
use tracing::level_filters::LevelFilter;

pub use self::redis::OwnRedis;
pub use cached::{Cached, Server};
pub use client::{Answer, Ask, problem};
pub use database::{Database, Kind};
pub(crate) use guarded::at_every_home;
pub use guarded::{Guarded, Home, PASSWORD, Tokens, stranger};
pub use metrics::{metric, metrics};
pub use process::{Process, run, run_with_input};
pub use streaming::{PgServer, Streaming, free_port, signal};

/// How long anything that is waited for may take, before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The secret of all servers that these tests start.
pub const SECRET: &str = "a secret of the tests, long enough";

/// A server in this process, on a database of its own.
pub struct Api {
    pub addr: SocketAddr,
    pub database: Database,
    pub store: Arc<dyn Store>,
}

impl Api {
    pub async fn start(kind: Kind) -> Self {
        Self::with(kind, http_settings()).await
    }

    pub async fn with(kind: Kind, http: HttpSettings) -> Self {
        let database = Database::new(kind).await;
        let store = store::open(&database.settings());
        store.migrate().await.expect("an empty database can be migrated");
        let addr = serve(Arc::clone(&store), &http).await;
        Self { addr, database, store }
    }

    /// One more server on the same database, with connections of its own.
    pub async fn sibling(&self, http: &HttpSettings) -> SocketAddr {
        serve(store::open(&self.database.settings()), http).await
    }

    pub fn get(&self, path: &str) -> Ask {
        Ask::new(self.addr, "GET", path)
    }

    pub fn ask(&self, method: &str, path: &str) -> Ask {
        Ask::new(self.addr, method, path)
    }

    /// Creates a user, and returns its id.
    pub async fn user(&self, name: &str, email: &str) -> i64 {
        let body = serde_json::json!({"name": name, "email": email});
        let answer = self.ask("POST", "/users").json(&body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_i64().expect("a number")
    }
}

/// Serves a store until the test ends. Where one must log in, sessions are kept beside the users.
pub async fn serve(store: Arc<dyn Store>, http: &HttpSettings) -> SocketAddr {
    let sessions = Arc::clone(&store) as Arc<dyn Sessions>;
    let auth = (http.who != Who::Nobody).then(|| Auth::new(Arc::clone(&store), sessions, SECRET.as_bytes()));
    serve_with(store, auth, None, http).await
}

/// The same, with sessions in the Redis of `TEST_REDIS_URL`.
pub async fn serve_with_redis(store: Arc<dyn Store>, http: &HttpSettings) -> SocketAddr {
    let client = ::redis::Client::open(redis_url()).expect("TEST_REDIS_URL is a Redis URL");
    let sessions = Arc::new(Redis::new(client).expect("it connects later"));
    let auth = Auth::new(Arc::clone(&store), sessions, SECRET.as_bytes());
    serve_with(store, Some(auth), None, http).await
}

/// The address of a Redis server.
pub fn redis_url() -> String {
    std::env::var("TEST_REDIS_URL").expect("TEST_REDIS_URL is set: tests/with-servers.sh provides a Redis")
}

pub async fn serve_with(store: Arc<dyn Store>, auth: Option<Auth>, cache: Option<Arc<Cache>>, http: &HttpSettings) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let log = Log::start(LogSettings {
        format: LogFormat::Json,
        level: LevelFilter::OFF,
    });
    let app = Arc::new(App::new(store, auth, cache, http, log));
    tokio::spawn(serve::run(listener, app, std::future::pending()));
    addr
}

pub fn http_settings() -> HttpSettings {
    let trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    HttpSettings {
        who: Who::Nobody,
        cache_ttl: Duration::from_secs(300),
        cors: Cors::Off,
        trusted_proxies,
    }
}

pub fn database_settings(database: Where) -> DatabaseSettings {
    let pool = PoolSettings {
        max_connections: 20,
        connect_timeout: Duration::from_secs(2),
        idle_timeout: Duration::from_secs(30),
    };
    DatabaseSettings {
        database,
        replicas: Vec::new(),
        pool,
        outbox: false,
    }
}

/// Asks again until it is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs each of these tests, functions of one [`Api`], on both databases.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::common::Api::start(crate::common::Kind::Sqlite).await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::common::Api::start(crate::common::Kind::Postgres).await).await;
            })+
        }
    };
}
pub(crate) use on_both;
