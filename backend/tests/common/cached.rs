//! Several servers on one database, with their cache in one Redis.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use backend::cache::Cache;
use backend::settings::DatabaseSettings;
use backend::store::{self, Store};
use serde_json::json;

use super::{Ask, Database, Kind, http_settings, redis_url, serve_with, until};

/// One of them.
pub struct Server {
    pub addr: SocketAddr,
    pub store: Arc<dyn Store>,
    pub cache: Arc<Cache>,
}

/// All of them.
pub struct Cached {
    pub servers: Vec<Server>,
    pub database: Database,
}

impl Cached {
    /// So many of them, with the Redis that all tests share.
    pub async fn start(kind: Kind, count: usize) -> Self {
        Self::at(kind, count, &redis_url()).await
    }

    /// The same, with another Redis.
    pub async fn at(kind: Kind, count: usize, redis: &str) -> Self {
        let database = Database::new(kind).await;
        let mut cached = Self {
            servers: Vec::new(),
            database,
        };
        let store = store::open(&cached.settings());
        store.migrate().await.expect("an empty database can be migrated");
        for _ in 0..count {
            let server = cached.server(redis).await;
            cached.servers.push(server);
        }
        cached.until_trusted().await;
        cached
    }

    fn settings(&self) -> DatabaseSettings {
        DatabaseSettings {
            outbox: true,
            ..self.database.settings()
        }
    }

    /// One more.
    pub async fn server(&self, redis: &str) -> Server {
        let store = store::open(&self.settings());
        let client = redis::Client::open(redis).expect("a Redis URL");
        let cache = Arc::new(Cache::start(client, Arc::clone(&store), Duration::from_secs(300)));
        let addr = serve_with(Arc::clone(&store), None, Some(Arc::clone(&cache)), &http_settings()).await;
        Server { addr, store, cache }
    }

    /// Waits until all of them use the cache.
    pub async fn until_trusted(&self) {
        for server in &self.servers {
            until("a server trusts its Redis", async || server.cache.status().holds).await;
        }
    }

    /// Statements that all of them have sent.
    pub fn statements(&self) -> u64 {
        self.servers.iter().map(|server| server.store.pool().statements).sum()
    }

    /// Adds a user through one of them; the id.
    pub async fn user(&self, at: usize, name: &str) -> i64 {
        let body = json!({"name": name, "email": format!("{name}@example.com")});
        let answer = self.servers[at].ask("POST", "/users").json(&body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_i64().expect("a number")
    }

    /// Renames a user through one of them.
    pub async fn rename(&self, at: usize, id: i64, name: &str) {
        let answer = self.servers[at]
            .ask("PATCH", &format!("/users/{id}"))
            .json(&json!({ "name": name }))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

impl Server {
    pub fn get(&self, path: &str) -> Ask {
        Ask::new(self.addr, "GET", path)
    }

    pub fn ask(&self, method: &str, path: &str) -> Ask {
        Ask::new(self.addr, method, path)
    }

    /// The name of a user.
    pub async fn name(&self, id: i64) -> String {
        let answer = self.get(&format!("/users/{id}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["name"].as_str().expect("text").to_owned()
    }
}
