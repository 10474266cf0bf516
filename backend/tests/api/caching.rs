//! What caches are told.

use serde_json::json;

use crate::common::{Answer, Api, on_both};

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
