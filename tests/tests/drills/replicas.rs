//! The databases behind the backends: a replica is killed, and the primary is restarted, under load.
//!
//! While there is no primary, writes are refused with 503 and `Retry-After`, and may be. No read fails, what was acknowledged is shown by every
//! backend from then on, and is there in the end.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use lb_tests::backend::Backends;
use lb_tests::client::{self, Request};
use lb_tests::lb::Lb;
use lb_tests::load::{Counts, Load, Running};
use lb_tests::postgres::Cluster;
use lb_tests::redis::Redis;
use lb_tests::report::{full, length, row};
use lb_tests::wait::until;
use serde_json::json;
use tokio::time::sleep;

use super::{shown, users};

const WRITERS: usize = 4;

#[derive(Default)]
struct Seen {
    done: AtomicUsize,
    refused: AtomicUsize,
    reads: AtomicUsize,
}

async fn name(at: SocketAddr, user: &str) -> u64 {
    let answer = client::send(at, &Request::get(user)).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["name"].as_str().unwrap().parse().unwrap()
}

/// Counts a user's name up through `lb`, and reads it everywhere; gives the last number that was acknowledged, and the last that was tried.
async fn write(user: &str, lb: SocketAddr, backends: &[SocketAddr], seen: &Seen, stop: &AtomicBool) -> (u64, u64) {
    let (mut acknowledged, mut tried) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        tried += 1;
        let change = Request::new("PATCH", user)
            .header("Content-Type", "application/json")
            .body(json!({"name": tried.to_string()}).to_string());
        let answer = client::send(lb, &change).await.expect("an answer");
        match answer.status {
            200 => {
                acknowledged = tried;
                seen.done.fetch_add(1, Ordering::SeqCst);
            }
            503 => {
                assert!(!answer.header("Retry-After").is_empty());
                seen.refused.fetch_add(1, Ordering::SeqCst);
            }
            other => panic!("{other}: {}", answer.text()),
        }
        for at in backends.iter().chain([&lb]) {
            let shown = name(*at, user).await;
            // One that was refused may have been done all the same.
            assert!(
                (acknowledged..=tried).contains(&shown),
                "{shown} after {acknowledged} was acknowledged"
            );
            seen.reads.fetch_add(1, Ordering::SeqCst);
        }
        sleep(Duration::from_millis(10)).await;
    }
    (acknowledged, tried)
}

/// Three backends over a primary and two replicas, behind an `lb`, with a user for each writer.
struct System {
    _redis: Redis,
    addrs: Vec<SocketAddr>,
    _backends: Backends,
    lb: Lb,
    paths: Vec<String>,
}

impl System {
    async fn start() -> (Cluster, System) {
        let databases = Cluster::start(2).await;
        let redis = Redis::durable().await;
        let settings = [
            ("DATABASE_URL", databases.primary.url()),
            ("DATABASE_REPLICA_URLS", databases.replica_urls()),
            ("REDIS_URL", redis.url()),
            // So that the databases are asked.
            ("CACHE_TTL", "1s".into()),
        ];
        let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let backends = Backends::start_with(3, &settings).await;
        let addrs = backends.addrs();
        let lb = Lb::start(&users(&addrs, "")).await;
        for address in &addrs {
            lb.wait_for_state("users", *address, "healthy").await;
        }
        let paths: Vec<String> = (backends.seed(WRITERS).await.iter())
            .map(|user| format!("/users/{}", user["id"]))
            .collect();
        for path in &paths {
            let zero = Request::new("PATCH", path).header("Content-Type", "application/json");
            let answer = client::send(lb.listen(), &zero.body(r#"{"name":"0"}"#)).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let system = System {
            _redis: redis,
            addrs,
            _backends: backends,
            lb,
            paths,
        };
        system.until_healthy(3).await;
        (databases, system)
    }

    /// Waits until every backend uses so many databases.
    async fn until_healthy(&self, count: usize) {
        for address in &self.addrs {
            until(&format!("{count} databases are used"), async || {
                let answer = client::send(*address, &Request::get("/metrics")).await.expect("an answer");
                let text = answer.text();
                let lines = text.lines().filter(|line| line.starts_with("backend_db_server_healthy"));
                lines.filter(|line| line.ends_with(" 1")).count() == count
            })
            .await;
        }
    }

    /// Readers of the users and of the list.
    fn load(&self) -> Running {
        Load::new(
            self.lb.listen(),
            &[self.paths.clone(), vec!["/users?page=1&limit=10".into()]].concat(),
        )
        .connections(16)
        .pace(Duration::from_millis(20))
        .check(|target, answer| {
            if target.contains('?') {
                answer.json()["users"].is_array()
            } else {
                answer.json()["id"].is_u64()
            }
        })
        .start()
    }

    /// Writes until told to stop; then all of what was acknowledged is there.
    async fn write(&self, seen: &Seen, stop: &AtomicBool) {
        let lb = self.lb.listen();
        let writing = self.paths.iter().map(|path| write(path, lb, &self.addrs, seen, stop));
        for (path, (acknowledged, tried)) in self.paths.iter().zip(join_all(writing).await) {
            let shown = name(self.addrs[0], path).await;
            assert!(
                (acknowledged..=tried).contains(&shown),
                "{path}: {shown} where {acknowledged} was acknowledged"
            );
        }
    }
}

/// Waits until more writes are done.
async fn written(seen: &Seen) {
    let before = seen.done.load(Ordering::SeqCst);
    until("writes are done", async || seen.done.load(Ordering::SeqCst) > before + 2 * WRITERS).await;
}

fn report(drill: &str, happened: &str, seen: Seen, counts: &Counts) {
    let reads = counts.total() + seen.reads.into_inner();
    let notes = format!(
        "{happened}; {} writes, none lost, each seen at once at all backends; {} refused with 503 while there was no primary; 99th percentile of reads {}, \
         slowest {}",
        seen.done.into_inner(),
        seen.refused.into_inner(),
        shown(counts.percentile(99)),
        shown(counts.slowest),
    );
    row(drill, reads, counts.failed(), None, &notes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_killed_and_the_primary_restarted_cost_no_read_and_no_acknowledged_write() {
    let (mut databases, system) = System::start().await;
    let load = system.load();
    let (seen, stop) = (Seen::default(), AtomicBool::new(false));
    let rounds = if full() { 6 } else { 1 };
    let events = async {
        for round in 0..rounds {
            written(&seen).await;
            databases.replicas[round % 2].crash();
            load.go_on(length(1, 5), 100).await;
            written(&seen).await;
            databases.replicas[round % 2].restart().await;
            load.go_on(length(0, 3), 50).await;
            databases.primary.stop().await;
            load.go_on(length(1, 3), 100).await;
            databases.primary.restart().await;
            written(&seen).await;
        }
        stop.store(true, Ordering::SeqCst);
    };
    tokio::join!(system.write(&seen, &stop), events);
    let counts = load.stop().await;
    counts.assert_none_failed();
    let happened = format!("{rounds} replicas killed, {rounds} restarts of the primary");
    report("a replica killed, and the primary restarted", &happened, seen, &counts);
}

/// Whoever tends to the databases promotes the replica that is further in the log, and has the other one follow it. The backends find the new primary.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_of_the_primary_costs_no_read_and_no_acknowledged_write() {
    let (mut databases, system) = System::start().await;
    // A write is acknowledged when a replica has it, too: else what was not sent yet is lost with the primary, whoever asks it.
    databases.primary.execute(&[
        "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'",
        "SELECT pg_reload_conf()",
    ]);
    until("writes wait for a replica", async || {
        databases
            .primary
            .execute(&["SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'"])
            == "2"
    })
    .await;
    let load = system.load();
    let (seen, stop) = (Seen::default(), AtomicBool::new(false));
    let events = async {
        written(&seen).await;
        databases.primary.crash();
        load.go_on(length(1, 5), 100).await;
        let [one, other] = databases.replicas.as_slice() else {
            panic!("there are two")
        };
        let (promoted, follows) = if one.received() >= other.received() {
            (one, other)
        } else {
            (other, one)
        };
        promoted.execute(&["SELECT pg_promote()"]);
        follows.execute(&[
            &format!("ALTER SYSTEM SET primary_conninfo = '{}'", promoted.url()),
            "SELECT pg_reload_conf()",
        ]);
        written(&seen).await;
        system.until_healthy(2).await;
        load.go_on(length(1, 5), 100).await;
        written(&seen).await;
        stop.store(true, Ordering::SeqCst);
    };
    tokio::join!(system.write(&seen, &stop), events);
    let counts = load.stop().await;
    counts.assert_none_failed();
    report(
        "the primary killed, and a replica promoted",
        "the primary killed with `kill -9`, a replica promoted",
        seen,
        &counts,
    );
}
