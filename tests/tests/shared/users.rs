//! The whole of it: three backends with one cache in Redis, two `lb` with theirs, writers and readers at once.
//!
//! Each user has one writer, which gives it numbers for names, one greater than the other, through one `lb` and the other in turn. So what
//! a reader must see at least is known at any moment: the greatest number that was acknowledged before its read began.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::join_all;
use lb_tests::backend::{Backends, create_user};
use lb_tests::client::{Connection, Request, Response};
use lb_tests::lb::Lb;
use lb_tests::redis::Redis;
use lb_tests::servers;
use lb_tests::wait::until;
use serde_json::{Value, json};

const USERS: usize = 4;
const WRITES: u64 = 60;
const LIST: &str = "/users?page=1&limit=10";

/// What was acknowledged, by `lb` and user.
type Acknowledged = [[AtomicU64; USERS]; 2];

struct Whole {
    _redis: Redis,
    backends: Backends,
    lbs: Vec<Lb>,
    acknowledged: Acknowledged,
    coherence: &'static str,
    /// Of the answers to readers, by whether the caches of `lb` had them.
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Whole {
    async fn start(coherence: &'static str) -> Whole {
        let redis = Redis::start().await;
        let url = redis.url();
        let backends = Backends::start_with(3, &[("REDIS_URL", &url)]).await;
        let mut lbs = Vec::new();
        for _ in 0..2 {
            let servers = servers(&backends.addrs());
            let config = format!(
                "[cache]\nredis = \"{url}\"\ncoherence = \"{coherence}\"\n\n[upstreams.users]\nservers = [{servers}]\n\n\
                 [[routes]]\npath = \"/\"\nupstream = \"users\"\n\n[routes.cache]\nttl = \"0s\"\n\n"
            );
            lbs.push(Lb::start(&config).await);
        }
        for user in 0..USERS {
            let created = create_user(lbs[0].listen(), &format!("user{user}")).await;
            assert_eq!(created.json()["id"], user + 1);
            rename(&mut Connection::open(lbs[0].listen()).await.unwrap(), user, 0).await;
        }
        let whole = Whole {
            _redis: redis,
            backends,
            lbs,
            acknowledged: Acknowledged::default(),
            coherence,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        };
        for backend in &whole.backends.all {
            until("a backend trusts its Redis", async || {
                metric(backend.addr(), "backend_cache_trusted").await == 1.0
            })
            .await;
        }
        for lb in &whole.lbs {
            until("lb serves from its cache", async || lb.get(LIST).await.is_hit()).await;
        }
        whole
    }

    /// What a reader at this `lb` has to see of each user, if it begins now.
    fn least(&self, lb: usize) -> [u64; USERS] {
        std::array::from_fn(|user| {
            let at = |lb: usize| self.acknowledged[lb][user].load(Ordering::SeqCst);
            if self.coherence == "strict" { at(0).max(at(1)) } else { at(lb) }
        })
    }

    async fn write(&self, user: usize, over: &AtomicU64) {
        let mut connections = [self.connect(0).await, self.connect(1).await];
        for number in 1..=WRITES {
            let lb = (number as usize + user) % 2;
            rename(&mut connections[lb], user, number).await;
            self.acknowledged[lb][user].store(number, Ordering::SeqCst);
            // So that what was read is kept meanwhile, and read again, sometimes.
            let enough = self.reads() + number % 4 * 10;
            until("readers read on", async || self.reads() >= enough).await;
        }
        over.fetch_add(1, Ordering::SeqCst);
    }

    fn reads(&self) -> u64 {
        self.hits.load(Ordering::SeqCst) + self.misses.load(Ordering::SeqCst)
    }

    async fn read(&self, reader: usize, over: &AtomicU64) {
        let lb = reader % 2;
        let mut connection = self.connect(lb).await;
        let mut turn = reader;
        while over.load(Ordering::SeqCst) < USERS as u64 {
            turn += 1;
            let least = self.least(lb);
            let (target, seen) = if turn.is_multiple_of(3) {
                (LIST.to_owned(), self.ask(&mut connection, LIST).await["users"].clone())
            } else {
                let target = format!("/users/{}", turn % USERS + 1);
                let user = self.ask(&mut connection, &target).await;
                (target, json!([user]))
            };
            for user in seen.as_array().unwrap() {
                let id = user["id"].as_u64().unwrap() as usize;
                let number: u64 = user["name"].as_str().unwrap().parse().unwrap();
                assert!(
                    number >= least[id - 1],
                    "{}: {target} at lb {lb} showed {number} of user {id} when {} was acknowledged",
                    self.coherence,
                    least[id - 1]
                );
            }
        }
    }

    async fn ask(&self, connection: &mut Connection, target: &str) -> Value {
        let answer = connection.send(&Request::get(target)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let count = if answer.is_hit() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::SeqCst);
        answer.json()
    }

    async fn connect(&self, lb: usize) -> Connection {
        Connection::open(self.lbs[lb].listen()).await.unwrap()
    }
}

async fn rename(connection: &mut Connection, user: usize, number: u64) -> Response {
    let change = Request::new("PATCH", &format!("/users/{}", user + 1))
        .header("Content-Type", "application/json")
        .body(json!({ "name": number.to_string() }).to_string());
    let answer = connection.send(&change).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// The sum of what a backend's metrics say under a name, or under a name with labels.
async fn metric(backend: std::net::SocketAddr, name: &str) -> f64 {
    let answer = lb_tests::client::send(backend, &Request::get("/metrics")).await.unwrap();
    let text = answer.text();
    let values = text.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    values.sum()
}

async fn nobody_sees_what_was_before(coherence: &'static str) {
    let whole = Whole::start(coherence).await;
    let over = AtomicU64::new(0);
    tokio::join!(
        join_all((0..USERS).map(|user| whole.write(user, &over))),
        join_all((0..16).map(|reader| whole.read(reader, &over))),
    );
    let (hits, misses) = (whole.hits.load(Ordering::SeqCst), whole.misses.load(Ordering::SeqCst));
    assert!(hits > 50 && misses > 50, "{hits} hits and {misses} misses at lb");
    let mut found = 0.0;
    for backend in &whole.backends.all {
        found += metric(backend.addr(), "backend_cache_reads_total{result=\"hit\"}").await;
    }
    assert!(found > 0.0, "the backends found nothing in their cache");
    // In the end, all of them show the last.
    let last = WRITES.to_string();
    for lb in &whole.lbs {
        until("the last of all", async || {
            let users = lb.get(LIST).await.json()["users"].clone();
            users.as_array().unwrap().iter().all(|user| user["name"] == last.as_str())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_no_reader_anywhere_sees_a_user_older_than_was_acknowledged() {
    nobody_sees_what_was_before("strict").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fast_no_reader_at_the_same_lb_sees_a_user_older_than_was_acknowledged() {
    nobody_sees_what_was_before("fast").await;
}
