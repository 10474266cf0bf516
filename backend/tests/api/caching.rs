//! What caches are told.

use std::time::Duration;

use backend::settings::HttpSettings;
use serde_json::json;

use crate::common::{Answer, Api, Kind, http_settings, on_both};

on_both!(
    reads_may_be_cached_under_their_tags,
    writes_name_what_to_forget,
    nothing_else_is_cached
);

const SHARED: &str = "max-age=300, stale-while-revalidate=30, stale-if-error=600";

fn cached(answer: &Answer, tag: &str) {
    assert_eq!(answer.header("cache-control"), "public, max-age=0");
    assert_eq!(answer.header("cdn-cache-control"), SHARED);
    assert_eq!(answer.header("cache-tag"), tag);
    assert_eq!(answer.header("cache-purge"), "");
    assert_eq!(answer.header("vary"), "");
}

fn purges(answer: &Answer, tags: &str) {
    assert_eq!(answer.header("cache-purge"), tags);
    assert_eq!(answer.header("cache-tag"), "");
    assert_eq!(answer.header("cdn-cache-control"), "");
}

async fn reads_may_be_cached_under_their_tags(api: Api) {
    let id = api.user("Ada", "ada@example.com").await;
    cached(&api.get("/users").await, "users");
    cached(&api.get("/users?after=0").await, "users");
    let path = format!("/users/{id}");
    let one = api.get(&path).await;
    cached(&one, &format!("user-{id}"));
    cached(&api.ask("HEAD", &path).await, &format!("user-{id}"));
    cached(
        &api.get(&path).header("if-none-match", one.header("etag")).await,
        &format!("user-{id}"),
    );
}

async fn writes_name_what_to_forget(api: Api) {
    let created = api
        .ask("POST", "/users")
        .json(&json!({"name": "Ada", "email": "ada@example.com"}))
        .await;
    purges(&created, "users");
    let path = created.header("location").to_owned();
    let both = format!("user-{}, users", created.json()["id"]);
    purges(
        &api.ask("PUT", &path).json(&json!({"name": "Ada", "email": "al@example.com"})).await,
        &both,
    );
    purges(&api.ask("PATCH", &path).json(&json!({"name": "Bob"})).await, &both);
    purges(&api.ask("PATCH", &path).json(&json!({})).await, "");
    purges(&api.ask("DELETE", &path).await, &both);
}

async fn nothing_else_is_cached(api: Api) {
    for path in ["/health", "/ready", "/metrics"] {
        let answer = api.get(path).await;
        assert_eq!(
            (answer.status, answer.header("cache-control"), answer.header("cache-tag")),
            (200, "no-store", ""),
            "{path}"
        );
    }
}

async fn with_ttl(cache_ttl: Duration) -> Api {
    let http = HttpSettings {
        cache_ttl,
        ..http_settings()
    };
    Api::with(Kind::Sqlite, http).await
}

#[tokio::test]
async fn the_ttl_is_that_of_the_settings() {
    let api = with_ttl(Duration::from_secs(20)).await;
    let shared = "max-age=20, stale-while-revalidate=30, stale-if-error=600";
    assert_eq!(api.get("/users").await.header("cdn-cache-control"), shared);
    let authorized = api.get("/users").header("authorization", "Bearer x").await;
    assert_eq!(authorized.header("cdn-cache-control"), format!("public, {shared}"));
}

/// `max-age=0` would not say it: what is stale at once may still be served stale.
#[tokio::test]
async fn with_a_ttl_below_a_second_nothing_is_shared() {
    for millis in [0, 500, 999] {
        let api = with_ttl(Duration::from_millis(millis)).await;
        let path = format!("/users/{}", api.user("Ada", "ada@example.com").await);
        for path in ["/users", "/users?after=0", &path] {
            for field in ["authorization", "x-nothing"] {
                let answer = api.get(path).header(field, "Bearer x").await;
                let header = |name| answer.header(name);
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert_eq!(
                    [header("cdn-cache-control"), header("cache-control"), header("cache-tag")],
                    ["no-store", "private, max-age=0", ""],
                    "{path}, {millis} ms"
                );
            }
        }
    }
}
