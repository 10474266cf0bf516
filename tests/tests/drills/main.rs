//! Drills: something goes wrong, or is changed, under load, and nobody notices.
//!
//! Real processes, and a client of our own that checks every body. Failed means: not 2xx, no connection, a reset, too slow, a body too
//! short or wrong. Where retries are what saves the day, the drill first runs without them and has to count failures: otherwise it tests
//! nothing.
//!
//! `LB_DRILLS=full` makes them long, and `LB_DRILLS_REPORT` collects a row from each: see [`lb_tests::report`].

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod all_down;
mod broken_file;
mod cache;
mod crash;
mod cut;
mod dns;
mod drain;
mod hang;
mod killing;
mod misbehaving;
mod overload;
mod own_writes;
mod reloads;
mod replicas;
mod rolling;
mod sessions;
mod slow;
mod slowloris;
mod stalled_log;
mod storm;
mod uploads;
mod writers;

use std::time::Duration;

use lb_tests::backend::Backends;
use lb_tests::client::{self, Request, Response};
use lb_tests::load::Load;
use lb_tests::servers;
use serde_json::Value;

/// An upstream `users` of these backends, checked as `make run` does, with these settings besides.
fn users(addresses: &[std::net::SocketAddr], settings: &str) -> String {
    let check = "health_check = { type = \"http\", path = \"/ready\", interval = \"500ms\", timeout = \"2s\", rise = 1, fall = 2 }";
    format!("[upstreams.users]\nservers = [{}]\n{check}\n{settings}\n", servers(addresses))
}

/// Puts some users into the backends' database, and gives a load of 64 connections at `to` that knows the right answers.
async fn steady(backends: &Backends, to: std::net::SocketAddr) -> Load {
    let users = backends.seed(10).await;
    let mut targets = vec!["/users?page=1&limit=10".to_owned()];
    targets.extend(users.iter().map(|user| format!("/users/{}", user["id"])));
    let mut right: Vec<(String, Value)> = Vec::new();
    for target in targets.clone() {
        let answer = client::send(backends.all[0].addr(), &Request::get(&target)).await.unwrap();
        assert_eq!(answer.status, 200, "{target} {}", answer.text());
        right.push((target, answer.json()));
    }
    targets.push("/health".into());
    Load::new(to, &targets)
        .connections(64)
        .pace(Duration::from_millis(60))
        .check(move |target, answer| is_right(target, answer, &right))
}

/// Durations as a row of the report shows them.
fn shown(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn is_right(target: &str, answer: &Response, right: &[(String, Value)]) -> bool {
    let Ok(found) = serde_json::from_slice::<Value>(&answer.body) else {
        return false;
    };
    match right.iter().find(|(known, _)| known == target) {
        // others may create users meanwhile, behind those on this page
        Some((_, expected)) if target.contains('?') => {
            found["users"] == expected["users"] && found["total"].as_u64() >= expected["total"].as_u64()
        }
        Some((_, expected)) => found == *expected,
        None => found["status"] == "healthy",
    }
}
