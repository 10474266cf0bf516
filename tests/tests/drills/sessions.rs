//! Redis killed and back under load, with what the backends keep there: their cache, and who has logged in. And backends killed between two
//! requests that belong together.
//!
//! Redis has an append-only file here, and answers when what it has done is in it. While it is away, logins and refreshes are refused,
//! which they may be; but the token that was not exchanged is still good afterwards.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use lb_tests::backend::Backends;
use lb_tests::client::{self, Connection, Request, Response};
use lb_tests::lb::Lb;
use lb_tests::load::Load;
use lb_tests::redis::Redis;
use lb_tests::report::{full, length, row};
use lb_tests::wait::until;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{shown, users};

const CLIENTS: usize = 6;
const SECRET: &str = "a secret of the drills, long enough";

async fn start(redis: &Redis) -> (Backends, Lb) {
    let url = redis.url();
    let backends = Backends::start_with(3, &[("REDIS_URL", &url), ("AUTH", "writes"), ("JWT_SECRET", SECRET)]).await;
    let lb = Lb::start(&users(&backends.addrs(), "")).await;
    for address in backends.addrs() {
        lb.wait_for_state("users", address, "healthy").await;
        until_trusting(address).await;
    }
    (backends, lb)
}

/// Waits until a backend uses its cache.
async fn until_trusting(backend: SocketAddr) {
    until("a backend trusts its Redis", async || {
        let answer = client::send(backend, &Request::get("/metrics")).await;
        answer.is_ok_and(|answer| answer.text().contains("backend_cache_trusted 1"))
    })
    .await;
}

fn call(method: &str, target: &str, body: &Value) -> Request {
    Request::new(method, target)
        .header("Content-Type", "application/json")
        .body(body.to_string())
}

async fn ask(to: SocketAddr, request: &Request) -> Response {
    client::send(to, request)
        .await
        .unwrap_or_else(|failure| panic!("{failure:?} instead of an answer"))
}

/// Somebody who has logged in.
struct Client {
    id: u64,
    access: String,
    refresh: String,
}

/// What its refresh came to.
#[derive(PartialEq, Eq)]
enum Refreshed {
    Done,
    /// Not now.
    Refused,
}

impl Client {
    async fn new(at: SocketAddr, name: &str) -> Client {
        let (email, password) = (format!("{name}@example.com"), "correct horse");
        let registered = ask(
            at,
            &call(
                "POST",
                "/auth/register",
                &json!({"name": "0", "email": email, "password": password}),
            ),
        )
        .await;
        assert_eq!(registered.status, 201, "{}", registered.text());
        let mut client = Client {
            id: registered.json()["id"].as_u64().unwrap(),
            access: String::new(),
            refresh: String::new(),
        };
        let login = ask(at, &call("POST", "/auth/login", &json!({"email": email, "password": password}))).await;
        assert_eq!(login.status, 200, "{}", login.text());
        client.take(&login);
        client
    }

    fn take(&mut self, answer: &Response) {
        let tokens = answer.json();
        self.access = tokens["access_token"].as_str().unwrap().to_owned();
        self.refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
    }

    async fn refresh(&mut self, at: SocketAddr) -> Refreshed {
        let answer = ask(at, &call("POST", "/auth/refresh", &json!({"refresh_token": self.refresh}))).await;
        match answer.status {
            200 => {
                self.take(&answer);
                Refreshed::Done
            }
            503 => Refreshed::Refused,
            other => panic!("the session of user {} is lost: {other} {}", self.id, answer.text()),
        }
    }

    async fn rename(&self, at: SocketAddr, name: u64) -> Response {
        let bearer = format!("Bearer {}", self.access);
        let change = call("PATCH", &format!("/users/{}", self.id), &json!({"name": name.to_string()}));
        ask(at, &change.header("Authorization", bearer)).await
    }

    async fn name(&self, at: SocketAddr) -> u64 {
        let answer = ask(at, &Request::get(&format!("/users/{}", self.id))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["name"].as_str().unwrap().parse().unwrap()
    }
}

#[derive(Default)]
struct Seen {
    writes: AtomicUsize,
    refreshes: AtomicUsize,
    refused: AtomicUsize,
    slowest_write: std::sync::Mutex<Duration>,
}

/// Writes, reads what it has written at `lb` and at each backend, and exchanges its token now and then.
async fn live(mut client: Client, lb: SocketAddr, backends: &[SocketAddr], seen: &Seen, stop: &AtomicBool) -> (Client, u64) {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        let begin = Instant::now();
        let written = client.rename(lb, number).await;
        assert_eq!(written.status, 200, "{}", written.text());
        {
            let mut slowest = seen.slowest_write.lock().unwrap();
            *slowest = begin.elapsed().max(*slowest);
        }
        seen.writes.fetch_add(1, Ordering::SeqCst);
        for at in backends.iter().chain([&lb]) {
            assert_eq!(client.name(*at).await, number, "what was acknowledged is not shown");
        }
        if number % 5 == 0 {
            match client.refresh(lb).await {
                Refreshed::Done => seen.refreshes.fetch_add(1, Ordering::SeqCst),
                Refreshed::Refused => seen.refused.fetch_add(1, Ordering::SeqCst),
            };
        }
        sleep(Duration::from_millis(10)).await;
    }
    (client, number)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed_and_back_costs_no_read_no_session_and_no_acknowledged_write() {
    let mut redis = Redis::durable().await;
    let (backends, lb) = start(&redis).await;
    let addrs = backends.addrs();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Client::new(lb.listen(), &format!("client{number}")).await);
    }
    let targets: Vec<String> = clients.iter().map(|client| format!("/users/{}", client.id)).collect();
    let load = Load::new(
        lb.listen(),
        &[targets, vec!["/users?page=1&limit=10".into(), "/users?after=0".into()]].concat(),
    )
    .connections(16)
    .pace(Duration::from_millis(20))
    .check(|target, answer| {
        let json = answer.json();
        if target.contains('?') {
            json["users"].is_array()
        } else {
            json["id"].is_u64()
        }
    })
    .start();
    let (seen, stop) = (Seen::default(), AtomicBool::new(false));
    let kills = if full() { 10 } else { 2 };
    let events = async {
        load.go_on(Duration::ZERO, 200).await;
        for round in 0..kills {
            redis.crash();
            // Away for long, and then for a moment.
            let away = if round % 2 == 0 { length(2, 5) } else { Duration::ZERO };
            load.go_on(away, 50).await;
            redis.restart().await;
            for address in &addrs {
                until_trusting(*address).await;
            }
            let refreshed = seen.refreshes.load(Ordering::SeqCst);
            until("tokens are exchanged again", async || {
                seen.refreshes.load(Ordering::SeqCst) > refreshed
            })
            .await;
            load.go_on(length(0, 3), 100).await;
        }
        stop.store(true, Ordering::SeqCst);
    };
    let living = clients.into_iter().map(|client| live(client, lb.listen(), &addrs, &seen, &stop));
    let (lived, ()) = tokio::join!(join_all(living), events);
    let counts = load.stop().await;
    counts.assert_none_failed();
    for (mut client, last) in lived {
        for address in &addrs {
            assert_eq!(client.name(*address).await, last);
            assert!(client.refresh(*address).await == Refreshed::Done, "Redis is back");
        }
    }
    let notes = format!(
        "{kills} kills; {CLIENTS} sessions, {} refreshes and {} refused while Redis was away, none lost; {} writes, none lost, each seen at once at all backends, \
         the slowest after {}; 99th percentile of reads {}, slowest {}",
        seen.refreshes.into_inner(),
        seen.refused.into_inner(),
        seen.writes.load(Ordering::SeqCst),
        shown(seen.slowest_write.into_inner().unwrap()),
        shown(counts.percentile(99)),
        shown(counts.slowest),
    );
    row(
        "Redis killed and back, with cache and sessions in it",
        counts.total() + seen.writes.into_inner(),
        counts.failed(),
        None,
        &notes,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_killed_between_two_requests_of_one_client_is_not_missed() {
    let redis = Redis::durable().await;
    let (mut backends, lb) = start(&redis).await;
    let mut created = Vec::new();
    for number in 0..10 {
        created.push(Client::new(lb.listen(), &format!("client{number}")).await.id);
    }
    let rounds = if full() { 12 } else { 3 };
    let mut requests = 0;
    for round in 0..rounds {
        let victim = round % 3;
        let at = backends.all[victim].addr();
        let mut client = Client::new(at, &format!("late{round}")).await;
        created.push(client.id);
        let first = part(at, 0).await;
        backends.all[victim].crash();
        assert!(client.refresh(lb.listen()).await == Refreshed::Done);
        let (mut seen, mut next) = first;
        let mut pages = 1;
        while let Some(after) = next {
            let (ids, further) = part(lb.listen(), after).await;
            seen.extend(ids);
            next = further;
            pages += 1;
        }
        assert_eq!(seen, created, "everybody once");
        // And a write with the token of a session that began at one that is gone.
        assert_eq!(client.rename(lb.listen(), 1).await.status, 200);
        requests += pages + 2;
        backends.all[victim].restart().await;
        lb.wait_for_state("users", at, "healthy").await;
    }
    let mut connection = Connection::open(lb.listen()).await.unwrap();
    assert_eq!(connection.send(&Request::get("/health")).await.unwrap().status, 200);
    let notes = format!("{rounds} kills, each between two pages of a listing and between a login and its refresh");
    row("kill -9 of a backend between two requests", requests, 0, None, &notes);
}

/// The users behind an id, and where to go on.
async fn part(at: SocketAddr, after: u64) -> (Vec<u64>, Option<u64>) {
    let answer = ask(at, &Request::get(&format!("/users?after={after}&limit=3"))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    let users = json["users"].as_array().unwrap();
    (
        users.iter().map(|user| user["id"].as_u64().unwrap()).collect(),
        json["next"].as_u64(),
    )
}
