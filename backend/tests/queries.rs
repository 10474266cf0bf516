//! How many statements a request costs, counted by sqlx itself as it sends them: a test binary of its own, since that count is one
//! for the whole process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};

use common::{Api, Ask, Kind};
use serde_json::json;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

static SENT: AtomicU64 = AtomicU64::new(0);

/// Counts what sqlx reports of each statement.
struct Count;

impl<S: Subscriber> Layer<S> for Count {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            SENT.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// What one request costs, by sqlx's count and by the metric, which must agree.
async fn cost(api: &Api, ask: Ask, status: u16) -> u64 {
    let before = (SENT.load(Ordering::SeqCst), api.store.pool().statements);
    let answer = ask.await;
    assert_eq!(answer.status, status, "{}", answer.text());
    let sent = SENT.load(Ordering::SeqCst) - before.0;
    assert_eq!(api.store.pool().statements - before.1, sent, "the metric counts what is sent");
    sent
}

#[tokio::test]
async fn a_request_costs_the_same_however_many_users_there_are() {
    tracing_subscriber::registry().with(Count.with_filter(LevelFilter::DEBUG)).init();
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let api = Api::start(kind).await;
        // What a new connection says to the database first is not the request's.
        for path in ["/users", "/health"] {
            assert_eq!(api.get(path).await.status, 200);
        }
        for path in ["/health", "/ready"] {
            assert_eq!(cost(&api, api.get(path), 200).await, 1);
        }
        let mut made = 0;
        for users in [1, 10, 150] {
            while made < users {
                made += 1;
                let new = json!({"name": "n", "email": format!("{made}@example.com")});
                assert_eq!(cost(&api, api.ask("POST", "/users").json(&new), 201).await, 1);
            }
            for query in ["", "?limit=100", "?page=2&limit=100", "?after=0&limit=100", "?after=100"] {
                assert_eq!(
                    cost(&api, api.get(&format!("/users{query}")), 200).await,
                    1,
                    "{kind:?}, {users} users, {query:?}"
                );
            }
            assert_eq!(cost(&api, api.get("/users/1"), 200).await, 1);
            assert_eq!(cost(&api, api.get("/users/1").header("if-none-match", "*"), 304).await, 1);
            assert_eq!(cost(&api, api.get("/users/999"), 404).await, 1);
            assert_eq!(cost(&api, api.get("/users/x"), 404).await, 0);
            assert_eq!(cost(&api, api.ask("PATCH", "/users/1").json(&json!({"name": "m"})), 200).await, 1);
            assert_eq!(cost(&api, api.ask("PATCH", "/users/1").json(&json!({})), 200).await, 1);
            // A refused condition costs one more, to tell 412 from 404.
            assert_eq!(
                cost(&api, api.ask("DELETE", "/users/1").header("if-match", "\"1-0\""), 412).await,
                2
            );
            assert_eq!(cost(&api, api.get("/health"), 200).await, 1);
            assert_eq!(cost(&api, api.get("/ready"), 200).await, 1);
            assert_eq!(cost(&api, api.get("/metrics"), 200).await, 0);
        }
    }
}
