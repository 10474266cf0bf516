//! Two servers that ask for a login, on one database, and the calls that a client makes there.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use backend::auth::password::Hasher;
use backend::settings::{HttpSettings, Who};
use backend::store::{self, Store};
use backend::users::{Email, Name, NewUser};
use serde_json::json;
use uuid::Uuid;

use super::{Answer, Ask, Database, Kind, http_settings, serve, serve_with_redis};

pub const PASSWORD: &str = "correct horse";

/// Where users and sessions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    Sqlite,
    Postgres,
    /// Users in PostgreSQL, sessions in Redis.
    Redis,
}

/// Two servers that share nothing but their home.
pub struct Guarded {
    pub first: SocketAddr,
    pub second: SocketAddr,
    pub store: Arc<dyn Store>,
    pub database: Database,
    /// An address and a domain of this test's own, since all tests share one Redis.
    pub from: IpAddr,
    domain: String,
}

/// What a login or refresh gave.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
}

impl Tokens {
    pub fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let json = answer.json();
        let text = |name: &str| json[name].as_str().expect("text").to_owned();
        Self {
            access: text("access_token"),
            refresh: text("refresh_token"),
        }
    }
}

/// Some address that no other test has.
pub fn stranger() -> IpAddr {
    // Not the time, which comes first in it, but what is random.
    let [.., a, b, c, d, e, f, g, h] = Uuid::now_v7().into_bytes();
    let pair = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(pair(0x20, a), pair(b, c), pair(d, e), pair(f, g), u16::from(h), 0, 0, 1).into()
}

impl Guarded {
    pub async fn start(home: Home, who: Who) -> Self {
        let http = HttpSettings { who, ..http_settings() };
        let database = Database::new(if home == Home::Sqlite { Kind::Sqlite } else { Kind::Postgres }).await;
        let store = store::open(&database.settings());
        store.migrate().await.expect("an empty database can be migrated");
        let mut addrs = Vec::new();
        for store in [Arc::clone(&store), store::open(&database.settings())] {
            addrs.push(match home {
                Home::Redis => serve_with_redis(store, &http).await,
                Home::Sqlite | Home::Postgres => serve(store, &http).await,
            });
        }
        Self {
            first: addrs[0],
            second: addrs[1],
            store,
            database,
            from: stranger(),
            domain: format!("{}.example", Uuid::now_v7().simple()),
        }
    }

    pub fn email(&self, name: &str) -> String {
        format!("{name}@{}", self.domain)
    }

    /// A call below `/auth` from this test's address.
    pub fn auth(&self, server: SocketAddr, call: &str, body: &serde_json::Value) -> Ask {
        Ask::new(server, "POST", &format!("/auth/{call}"))
            .header("x-forwarded-for", &self.from.to_string())
            .json(body)
    }

    /// Registers a user; the id.
    pub async fn register(&self, name: &str) -> i64 {
        let body = json!({"name": name, "email": self.email(name), "password": PASSWORD});
        let answer = self.auth(self.first, "register", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_i64().expect("a number")
    }

    pub fn login(&self, server: SocketAddr, name: &str, password: &str) -> Ask {
        self.auth(server, "login", &json!({"email": self.email(name), "password": password}))
    }

    pub async fn tokens(&self, name: &str) -> Tokens {
        Tokens::of(&self.login(self.first, name, PASSWORD).await)
    }

    pub fn refresh(&self, server: SocketAddr, token: &str) -> Ask {
        self.auth(server, "refresh", &json!({ "refresh_token": token }))
    }

    /// Makes an administrator, past the servers, and logs in.
    pub async fn admin(&self) -> Tokens {
        let hash = Hasher::new().hash(PASSWORD).await.expect("room");
        self.admin_with("admin", &hash).await;
        self.tokens("admin").await
    }

    pub async fn admin_with(&self, name: &str, hash: &str) {
        let new = NewUser {
            name: Name::new(name).expect("a name"),
            email: Email::new(&self.email(name)).expect("an address"),
            password: None,
        };
        self.store.make_admin(&new, hash).await.expect("the database answers");
    }
}

impl Ask {
    pub fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }
}

/// Runs each of these tests, functions of a [`Guarded`], with users and sessions in all the places where they may be.
macro_rules! at_every_home {
    ($who:expr => $($test:ident),+ $(,)?) => {
        mod sqlite { $(#[tokio::test] async fn $test() {
            super::$test(crate::common::Guarded::start(crate::common::Home::Sqlite, $who).await).await;
        })+ }
        mod postgres { $(#[tokio::test] async fn $test() {
            super::$test(crate::common::Guarded::start(crate::common::Home::Postgres, $who).await).await;
        })+ }
        mod redis { $(#[tokio::test] async fn $test() {
            super::$test(crate::common::Guarded::start(crate::common::Home::Redis, $who).await).await;
        })+ }
    };
}
pub(crate) use at_every_home;
