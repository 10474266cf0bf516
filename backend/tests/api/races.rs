//! What must hold when two servers do it at once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use backend::settings::Who;
use futures::future::{join, join_all};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::common::{Answer, Api, Ask, Guarded, Home, PASSWORD, Tokens, http_settings, on_both, problem};

on_both!(
    a_request_that_comes_again_acts_once,
    a_key_belongs_to_one_body,
    of_one_key_at_two_servers_at_once_a_single_user_comes,
    of_one_key_with_two_bodies_at_once_a_single_one_acts,
    a_malformed_key_is_refused,
    a_refused_request_can_come_again,
    of_one_email_at_two_servers_a_single_user_comes,
    of_one_version_at_two_servers_a_single_write_counts,
    a_listing_skips_and_repeats_nobody_while_users_come_and_go,
);

/// All that a client sees, but what differs each time.
fn seen(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
    let text = |value: &http::HeaderValue| value.to_str().expect("text").to_owned();
    (
        answer.status,
        headers.map(|(name, value)| (name.to_string(), text(value))).collect(),
        answer.json(),
    )
}

fn add(server: SocketAddr, key: &str, body: &Value) -> Ask {
    Ask::new(server, "POST", "/users").header("idempotency-key", key).json(body)
}

async fn a_request_that_comes_again_acts_once(api: Api) {
    let other = api.sibling(&http_settings()).await;
    let body = json!({"name": " Ada ", "email": "Ada@example.com"});
    let first = add(api.addr, "\"k-1\"", &body).await;
    assert_eq!((first.status, first.header("cache-purge")), (201, "users"));
    assert_eq!(seen(&add(other, "k-1", &body).await), seen(&first));
    // Spelt in another way, it is the same.
    let same = add(api.addr, "k-1", &json!({"email": "Ada@example.com", "name": "Ada"})).await;
    assert_eq!(seen(&same), seen(&first));
    // Also when the user is another one meanwhile, or none.
    let path = first.header("location").to_owned();
    assert_eq!(
        Ask::new(other, "PATCH", &path)
            .json(&json!({"email": "al@example.com"}))
            .await
            .status,
        200
    );
    assert_eq!(seen(&add(other, "k-1", &body).await), seen(&first));
    assert_eq!(Ask::new(other, "DELETE", &path).await.status, 204);
    assert_eq!(seen(&add(api.addr, "k-1", &body).await), seen(&first));
    assert_eq!(api.get("/users").await.json()["total"], 0);
    assert_eq!(add(api.addr, "k-2", &body).await.status, 201, "another key, another user");
}

async fn a_key_belongs_to_one_body(api: Api) {
    let body = |name: &str, email: &str| json!({"name": name, "email": email});
    assert_eq!(add(api.addr, "k", &body("Ada", "ada@example.com")).await.status, 201);
    for (name, email) in [
        ("Bob", "bob@example.com"),
        ("Bob", "ada@example.com"),
        ("Ada", "bob@example.com"),
        ("Ada", "ADA@example.com"),
    ] {
        let answer = add(api.addr, "k", &body(name, email)).await;
        problem(&answer, 422);
        assert!(answer.text().contains("Idempotency-Key"), "{}", answer.text());
    }
    assert_eq!(api.get("/users").await.json()["total"], 1);
}

async fn of_one_key_at_two_servers_at_once_a_single_user_comes(api: Api) {
    let other = api.sibling(&http_settings()).await;
    for round in 0..10 {
        let body = json!({"name": "Ada", "email": format!("ada{round}@example.com")});
        let key = format!("k{round}");
        let asks = (0..10).map(|n| add(if n % 2 == 0 { api.addr } else { other }, &key, &body).into_future());
        let answers = join_all(asks).await;
        assert_eq!(answers[0].status, 201, "{}", answers[0].text());
        for answer in &answers {
            assert_eq!(seen(answer), seen(&answers[0]));
        }
        assert_eq!(api.get("/users").await.json()["total"], round + 1);
    }
}

async fn of_one_key_with_two_bodies_at_once_a_single_one_acts(api: Api) {
    let other = api.sibling(&http_settings()).await;
    for round in 0..20 {
        let body = |name: &str| json!({"name": name, "email": format!("{name}{round}@example.com")});
        let key = format!("k{round}");
        let (ada, bob) = join(
            add(api.addr, &key, &body("ada")).into_future(),
            add(other, &key, &body("bob")).into_future(),
        )
        .await;
        let mut statuses = [ada.status, bob.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 422], "round {round}");
        assert_eq!(api.get("/users").await.json()["total"], round + 1);
    }
}

async fn a_malformed_key_is_refused(api: Api) {
    let body = json!({"name": "Ada", "email": "ada@example.com"});
    for key in ["", "\"\"", "a b", "\"a", &"x".repeat(256)] {
        problem(&add(api.addr, key, &body).await, 400);
    }
    problem(&add(api.addr, "a", &body).header("idempotency-key", "a").await, 400);
    assert_eq!(api.get("/users").await.json()["total"], 0);
}

async fn a_refused_request_can_come_again(api: Api) {
    let ada = api.user("Ada", "ada@example.com").await;
    let body = json!({"name": "Eve", "email": "ada@example.com"});
    problem(&add(api.addr, "k", &body).await, 409);
    problem(&add(api.addr, "k", &json!({})).await, 422);
    assert_eq!(api.ask("DELETE", &format!("/users/{ada}")).await.status, 204);
    assert_eq!(add(api.addr, "k", &body).await.status, 201);
}

async fn of_one_email_at_two_servers_a_single_user_comes(api: Api) {
    let other = api.sibling(&http_settings()).await;
    for round in 0..5 {
        let asks = (0..10).map(|n| {
            let email = if n % 3 == 0 {
                format!("same{round}@example.com")
            } else {
                format!("SAME{round}@Example.com")
            };
            let server = if n % 2 == 0 { api.addr } else { other };
            Ask::new(server, "POST", "/users")
                .json(&json!({"name": "n", "email": email}))
                .into_future()
        });
        let statuses: Vec<u16> = join_all(asks).await.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 9, "{statuses:?}");
    }
}

/// A counter that many raise, each time under the version that they have read: none of the acknowledged steps is lost.
async fn of_one_version_at_two_servers_a_single_write_counts(api: Api) {
    let other = api.sibling(&http_settings()).await;
    let path = format!("/users/{}", api.user("0", "ada@example.com").await);
    let raise = async |server: SocketAddr| {
        let mut done = 0;
        while done < 10 {
            let read = Ask::new(server, "GET", &path).await;
            let count: u32 = read.json()["name"].as_str().expect("text").parse().expect("a number");
            let write = Ask::new(server, "PATCH", &path)
                .header("if-match", read.header("etag"))
                .json(&json!({"name": (count + 1).to_string()}))
                .await;
            match write.status {
                200 => done += 1,
                412 => {}
                status => panic!("{status}: {}", write.text()),
            }
        }
    };
    join_all((0..6).map(|n| raise(if n % 2 == 0 { api.addr } else { other }))).await;
    assert_eq!(api.get(&path).await.json()["name"], "60");
}

async fn part(server: SocketAddr, after: i64) -> (Vec<i64>, Option<i64>) {
    let part = Ask::new(server, "GET", &format!("/users?after={after}&limit=7")).await;
    assert_eq!(part.status, 200, "{}", part.text());
    let json = part.json();
    let users = json["users"].as_array().expect("a list");
    (
        users.iter().map(|user| user["id"].as_i64().expect("a number")).collect(),
        json["next"].as_i64(),
    )
}

async fn a_listing_skips_and_repeats_nobody_while_users_come_and_go(api: Api) {
    let other = api.sibling(&http_settings()).await;
    let writing = AtomicBool::new(true);
    let write = async |name: usize| {
        let server = if name.is_multiple_of(2) { api.addr } else { other };
        let mut stayed = Vec::new();
        for n in 0..25 {
            let body = json!({"name": "n", "email": format!("{name}-{n}@example.com")});
            let created = Ask::new(server, "POST", "/users").json(&body).await;
            assert_eq!(created.status, 201, "{}", created.text());
            if n % 3 == 0 {
                assert_eq!(Ask::new(server, "DELETE", created.header("location")).await.status, 204);
            } else {
                stayed.push(created.json()["id"].as_i64().expect("a number"));
            }
        }
        stayed
    };
    // One who goes on behind the last id that it saw, again and again, comes by everybody who stays.
    let follow = async |server: SocketAddr| {
        let (mut seen, mut last) = (Vec::new(), 0);
        loop {
            let over = !writing.load(Ordering::SeqCst);
            let (ids, _) = part(server, last).await;
            last = ids.last().copied().unwrap_or(last);
            if over && ids.is_empty() {
                return seen;
            }
            seen.extend(ids);
        }
    };
    let writers = async {
        let stayed = join_all((0..12).map(write)).await.concat();
        writing.store(false, Ordering::SeqCst);
        stayed
    };
    let (stayed, readers) = join(writers, join_all([follow(api.addr), follow(other)])).await;
    for seen in readers {
        assert!(seen.is_sorted_by(|a, b| a < b), "nobody comes twice");
        let seen: BTreeSet<i64> = seen.into_iter().collect();
        let skipped: Vec<&i64> = stayed.iter().filter(|id| !seen.contains(id)).collect();
        assert!(skipped.is_empty(), "skipped: {skipped:?}");
    }
}

#[tokio::test]
async fn a_key_is_its_callers_own_and_a_password_belongs_to_the_body() {
    let servers = Guarded::start(Home::Postgres, Who::Writers).await;
    let admin = servers.admin().await;
    let hash = "SELECT count(*) FROM idempotency_keys";
    let body = |password: &str| json!({"name": "Ada", "email": servers.email("ada"), "password": password});
    let key = Uuid::now_v7().to_string();
    let first = add(servers.first, &key, &body(PASSWORD)).token(&admin.access).await;
    assert_eq!(first.status, 201, "{}", first.text());
    assert_eq!(
        seen(&add(servers.second, &key, &body(PASSWORD)).token(&admin.access).await),
        seen(&first)
    );
    problem(&add(servers.second, &key, &body("another word")).token(&admin.access).await, 422);
    assert_eq!(servers.database.number(hash).await, 1);
    Tokens::of(&servers.login(servers.first, "ada", PASSWORD).await);

    let other = backend::auth::password::Hasher::new().hash(PASSWORD).await.expect("room");
    servers.admin_with("root", &other).await;
    let root = servers.tokens("root").await;
    let mine = add(servers.first, &key, &json!({"name": "Bob", "email": servers.email("bob")}))
        .token(&root.access)
        .await;
    assert_eq!(mine.status, 201, "somebody else's key of the same name: {}", mine.text());
    servers.database.execute("UPDATE idempotency_keys SET ends_at = 1").await;
    servers.store.sweep().await.expect("it answers");
    assert_eq!(servers.database.number(hash).await, 0);
}
