//! Who may do what, and who may keep the answers.

use backend::settings::Who;
use serde_json::json;

use super::auth::unauthorized;
use crate::common::{Ask, Guarded, Home, Tokens, problem};

/// All that writes, on a user of this id, with the status of success.
fn writes(servers: &Guarded, id: i64) -> [(Ask, u16); 4] {
    let ask = |method: &str, path: &str| Ask::new(servers.second, method, path);
    let path = format!("/users/{id}");
    let email = servers.email(&format!("u{id}"));
    [
        (
            ask("POST", "/users").json(&json!({"name": "New", "email": servers.email(&format!("new{id}"))})),
            201,
        ),
        (ask("PUT", &path).json(&json!({"name": "x", "email": email})), 200),
        (ask("PATCH", &path).json(&json!({"name": "y"})), 200),
        (ask("DELETE", &path), 204),
    ]
}

#[tokio::test]
async fn users_change_themselves_and_administrators_anyone() {
    for who in [Who::Writers, Who::Everybody] {
        let servers = Guarded::start(Home::Sqlite, who).await;
        let (ada, bob) = (servers.register("ada").await, servers.register("bob").await);
        let (of_ada, admin) = (servers.tokens("ada").await, servers.admin().await);
        for id in [ada, bob, 999] {
            for (ask, _) in writes(&servers, id) {
                unauthorized(&ask.await);
            }
            for bad in [
                "",
                "x",
                "Basic YTpi",
                &of_ada.access,
                "Bearer ",
                "Bearer a.b.c",
                &format!("Bearer {}", of_ada.refresh),
            ] {
                for (ask, _) in writes(&servers, id) {
                    let answer = ask.header("authorization", bad).await;
                    unauthorized(&answer);
                    assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""), "{bad:?}");
                }
            }
        }
        for (ask, _) in writes(&servers, bob) {
            problem(&ask.token(&of_ada.access).await, 403);
        }
        problem(&Ask::new(servers.first, "DELETE", "/users/999").token(&of_ada.access).await, 403);
        let twice = Ask::new(servers.first, "DELETE", &format!("/users/{ada}"));
        unauthorized(&twice.token(&of_ada.access).token(&of_ada.access).await);
        for (n, (ask, status)) in writes(&servers, ada).into_iter().enumerate() {
            let answer = ask.token(&of_ada.access).await;
            assert_eq!(answer.status, if n == 0 { 403 } else { status }, "{}", answer.text());
        }
        for (ask, status) in writes(&servers, bob) {
            let answer = ask.token(&admin.access).await;
            assert_eq!(answer.status, status, "{}", answer.text());
        }
        problem(&Ask::new(servers.first, "DELETE", "/users/999").token(&admin.access).await, 404);
    }
}

/// A stranger must not even learn what is wrong with a body, or keep the server reading one.
#[tokio::test]
async fn a_stranger_is_refused_before_the_body_is_read() {
    let servers = Guarded::start(Home::Sqlite, Who::Writers).await;
    for (method, path) in [("POST", "/users"), ("PUT", "/users/1"), ("PATCH", "/users/1")] {
        unauthorized(&Ask::new(servers.first, method, path).body("{").await);
    }
}

#[tokio::test]
async fn reads_for_everybody_may_be_shared_whoever_asked() {
    let servers = Guarded::start(Home::Sqlite, Who::Writers).await;
    let path = format!("/users/{}", servers.register("ada").await);
    let tokens = servers.tokens("ada").await;
    for path in ["/users", "/users?after=0", &path] {
        let ask = || Ask::new(servers.second, "GET", path);
        let ttl = "max-age=300, stale-while-revalidate=30, stale-if-error=600";
        for (answer, shared) in [
            (ask().await, ttl.to_owned()),
            (ask().token(&tokens.access).await, format!("public, {ttl}")),
            (ask().token("nonsense").await, format!("public, {ttl}")),
        ] {
            assert_eq!((answer.status, answer.header("cache-control")), (200, "public, max-age=0"));
            assert_eq!(answer.header("cdn-cache-control"), shared);
            assert_ne!(answer.header("cache-tag"), "");
        }
    }
}

#[tokio::test]
async fn reads_behind_a_login_are_shared_with_nobody() {
    let servers = Guarded::start(Home::Sqlite, Who::Everybody).await;
    let path = format!("/users/{}", servers.register("ada").await);
    let Tokens { access, .. } = servers.tokens("ada").await;
    for path in ["/users", "/users?limit=0", &path, "/users/999"] {
        unauthorized(&Ask::new(servers.second, "GET", path).await);
        unauthorized(&Ask::new(servers.second, "HEAD", path).await);
    }
    let mut etag = String::new();
    for path in ["/users", "/users?after=0", &path] {
        let answer = Ask::new(servers.second, "GET", path).token(&access).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, "private, max-age=0"));
        assert_eq!((answer.header("cdn-cache-control"), answer.header("cache-tag")), ("no-store", ""));
        etag = answer.header("etag").to_owned();
    }
    let known = Ask::new(servers.first, "GET", &path)
        .token(&access)
        .header("if-none-match", &etag)
        .await;
    assert_eq!((known.status, known.header("cache-control")), (304, "private, max-age=0"));
    for open in ["/health", "/ready", "/metrics"] {
        assert_eq!(Ask::new(servers.first, "GET", open).await.status, 200);
    }
}
