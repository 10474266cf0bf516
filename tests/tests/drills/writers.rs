//! Clients that create users, beside those that read: what must not be sent twice.
//!
//! A POST of which a byte was written may have been done, so nobody but its client can say whether to send it again. What was under way at
//! a server that dies fails, visibly; everything else is served: a connection that is refused has done nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lb_tests::client::{self, Failure, Request, Response};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Clients that create one user after the other.
pub struct Writers {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    before: u64,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    created: AtomicUsize,
    failed: Mutex<Vec<Failed>>,
}

/// What came of them.
pub struct Written {
    /// Users that were created.
    pub created: usize,
    /// Requests that were answered by 502.
    pub failed: Vec<Failed>,
    before: u64,
}

/// A request that failed.
#[derive(Debug)]
pub struct Failed {
    /// When it was sent.
    pub sent: Instant,
    /// When its answer came.
    pub answered: Instant,
}

impl Writers {
    /// Starts so many that send to `to`. The users that are there already are counted at `backend`.
    pub async fn start(count: usize, to: SocketAddr, backend: SocketAddr) -> Writers {
        let before = users(backend).await;
        let shared = Arc::<Shared>::default();
        let mut tasks = JoinSet::new();
        for number in 0..count {
            tasks.spawn(create(to, number, shared.clone()));
        }
        Writers { shared, tasks, before }
    }

    /// How many users were created so far.
    pub fn created(&self) -> usize {
        self.shared.created.load(Ordering::SeqCst)
    }

    /// How many requests failed so far.
    pub fn failed(&self) -> usize {
        self.shared.failed.lock().unwrap().len()
    }

    /// Ends them when the requests under way are done; fails the test when one of them got anything but 201 or 502.
    pub async fn stop(mut self) -> Written {
        self.shared.stop.store(true, Ordering::SeqCst);
        while let Some(task) = self.tasks.join_next().await {
            task.unwrap();
        }
        Written {
            created: self.created(),
            failed: std::mem::take(&mut self.shared.failed.lock().unwrap()),
            before: self.before,
        }
    }
}

impl Written {
    /// Fails the test when more users are at `backend` than were asked for, or fewer than were answered; says how many there are.
    pub async fn assert_none_twice(&self, backend: SocketAddr) -> usize {
        // a failed one was created or not
        let (found, created) = ((users(backend).await - self.before) as usize, self.created);
        let failed = self.failed.len();
        assert!(
            (created..=created + failed).contains(&found),
            "{found} users of {created} created and {failed} failed"
        );
        found
    }
}

async fn users(backend: SocketAddr) -> u64 {
    let answer = client::send(backend, &Request::get("/users?limit=1")).await.unwrap();
    answer.json()["total"].as_u64().unwrap()
}

/// Each user has an address of its own, so that one that was created twice shows as a conflict.
async fn create(to: SocketAddr, client: usize, shared: Arc<Shared>) {
    let mut number = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        number += 1;
        let name = format!("user-{client}-{number}");
        let body = json!({ "name": name, "email": format!("{name}@example.com") }).to_string();
        let request = Request::post("/users", body).header("Content-Type", "application/json");
        let sent = Instant::now();
        note(&name, sent, client::send(to, &request).await, &shared);
        sleep(Duration::from_millis(20)).await;
    }
}

fn note(name: &str, sent: Instant, answer: Result<Response, Failure>, shared: &Shared) {
    let answer = answer.unwrap_or_else(|failure| panic!("{name}: {failure:?} instead of an answer"));
    assert!(!answer.cut, "{name}: an answer that was cut");
    match answer.status {
        201 => {
            assert_eq!(answer.json()["name"], name, "somebody else's answer");
            shared.created.fetch_add(1, Ordering::SeqCst);
        }
        502 => {
            answer.assert_problem(502);
            let answered = Instant::now();
            shared.failed.lock().unwrap().push(Failed { sent, answered });
        }
        other => panic!("{name}: {other} {}", answer.text()),
    }
}
