//! `kill -9` of one backend, then of another, under requests that must not be sent twice.
//!
//! A POST of which a byte was written may have been done, so nobody but its client can say whether to send it again. What was under way at
//! the killed server fails, visibly; everything else is served: a connection that is refused has done nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lb_tests::backend::Backends;
use lb_tests::client::{self, Failure, Request, Response};
use lb_tests::lb::Lb;
use lb_tests::report::{length, row};
use lb_tests::wait::until;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::users;

const CLIENTS: usize = 16;

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    created: AtomicUsize,
    failed: AtomicUsize,
}

/// Creates one user after the other, each with an address of its own, so that one that was created twice shows as a conflict.
async fn create(to: SocketAddr, client: usize, shared: Arc<Shared>) {
    let mut number = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        number += 1;
        let name = format!("user-{client}-{number}");
        let body = json!({ "name": name, "email": format!("{name}@example.com") }).to_string();
        let request = Request::post("/users", body).header("Content-Type", "application/json");
        note(&name, client::send(to, &request).await, &shared);
        sleep(Duration::from_millis(20)).await;
    }
}

fn note(name: &str, answer: Result<Response, Failure>, shared: &Shared) {
    let answer = answer.unwrap_or_else(|failure| panic!("{name}: {failure:?} instead of an answer"));
    assert!(!answer.cut, "{name}: an answer that was cut");
    match answer.status {
        201 => {
            assert_eq!(answer.json()["name"], name, "somebody else's answer");
            shared.created.fetch_add(1, Ordering::SeqCst);
        }
        502 => {
            answer.assert_problem(502);
            shared.failed.fetch_add(1, Ordering::SeqCst);
        }
        other => panic!("{name}: {other} {}", answer.text()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_killed_costs_only_the_uploads_that_it_had() {
    let mut backends = Backends::start(3).await;
    let lb = Lb::start(&users(&backends.addrs(), "retry = { budget_percent = 100 }")).await;
    for address in backends.addrs() {
        lb.wait_for_state("users", address, "healthy").await;
    }
    let shared = Arc::<Shared>::default();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(create(lb.listen(), client, shared.clone()));
    }
    let created = || shared.created.load(Ordering::SeqCst);
    for victim in [0, 1] {
        let before = created();
        until("users are created", async || created() > before + 50).await;
        backends.all[victim].crash();
        // what was under way has failed by now; from here on nothing may
        let before = created();
        until("all clients go on", async || created() > before + 3 * CLIENTS).await;
        let failed = shared.failed.load(Ordering::SeqCst);
        sleep(length(1, 20)).await;
        assert_eq!(
            shared.failed.load(Ordering::SeqCst),
            failed,
            "a refused connection failed a request"
        );
        backends.all[victim].restart().await;
        lb.wait_for_state("users", backends.all[victim].addr(), "healthy").await;
    }
    shared.stop.store(true, Ordering::SeqCst);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let failed = shared.failed.load(Ordering::SeqCst);
    assert!(failed <= 2 * CLIENTS, "{failed} failed, more than can have been under way");
    // a failed one was created or not, and none was created twice
    let total = client::send(backends.all[0].addr(), &Request::get("/users?limit=1")).await.unwrap();
    let total = total.json()["total"].as_u64().unwrap() as usize;
    assert!(
        (created()..=created() + failed).contains(&total),
        "{total} users of {} created and {failed} failed",
        created()
    );
    lb.wait_until_idle().await;
    let notes = format!("{total} users there, none twice; failed is what was under way at the killed one");
    row("kill -9 of a backend under POSTs", created() + failed, failed, None, &notes);
}
