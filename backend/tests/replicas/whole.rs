//! Whole servers, with a Redis that tells them how much a replica must know.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::future::join_all;
use serde_json::json;

use crate::common::{OwnRedis, Process, Streaming, problem, until};

async fn start(cluster: &Streaming, redis: &OwnRedis) -> Process {
    let replicas: Vec<String> = cluster.replicas.iter().map(|replica| replica.url()).collect();
    let (replicas, redis) = (replicas.join(","), redis.url());
    let environment = [("DATABASE_REPLICA_URLS", replicas.as_str()), ("REDIS_URL", redis.as_str())];
    Process::start(&cluster.primary.url(), &environment).await
}

/// Servers on one cluster and one Redis, all of which find the replicas in use.
async fn servers(cluster: &Streaming, redis: &OwnRedis) -> Vec<Process> {
    let mut servers = join_all((0..2).map(|_| start(cluster, redis))).await;
    for server in &mut servers {
        server.forget_log();
        server.until_ready().await;
    }
    servers
}

/// Statements that the server has sent to the first replica.
async fn asked(server: &Process, cluster: &Streaming) -> u64 {
    let name = format!("backend_db_server_queries_total{{server=\"{}\"}} ", cluster.replicas[0].name());
    let metrics = server.get("/metrics").await;
    let line = metrics
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(&name))
        .expect("it is among them");
    line.parse().expect("a number")
}

/// Asks for ever new parts of the list until one of them comes from the replica.
async fn until_replicas_are_asked(server: &Process, cluster: &Streaming) {
    let before = asked(server, cluster).await;
    let mut after = 1_000_000;
    until("the replica to be asked", async || {
        after += 1;
        assert_eq!(server.get(&format!("/users?after={after}")).await.status, 200);
        asked(server, cluster).await > before
    })
    .await;
}

async fn add(server: &Process, n: u64) -> String {
    let user = json!({"name": "a", "email": format!("{n}@example.com")});
    let answer = server.ask("POST", "/users").json(&user).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.header("location").to_owned()
}

#[tokio::test]
async fn a_lagging_replica_is_nobodys_business() {
    let (cluster, redis) = (Streaming::start(1).await, OwnRedis::start().await);
    let servers = servers(&cluster, &redis).await;
    let (writer, reader) = (&servers[0], &servers[1]);
    add(writer, 0).await;
    until_replicas_are_asked(reader, &cluster).await;
    cluster.replicas[0].execute("SELECT pg_wal_replay_pause()").await;
    for n in 1..20 {
        let path = add(writer, n).await;
        assert_eq!(reader.get(&path).await.status, 200);
        assert_eq!(reader.get("/users?limit=1").await.json()["total"], n + 1);
        let changed = writer.ask("PATCH", &path).json(&json!({"name": "b"})).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        // Twice: what a replica says late must not have been kept for others either.
        for server in [reader, writer] {
            assert_eq!(server.get(&path).await.json(), changed.json());
            assert_eq!(server.get("/users?limit=100").await.json()["users"][n as usize]["name"], "b");
        }
    }
    assert_eq!(writer.ask("DELETE", "/users/1").await.status, 204);
    assert_eq!(reader.get("/users/1").await.status, 404);
    cluster.replicas[0].execute("SELECT pg_wal_replay_resume()").await;
    until_replicas_are_asked(reader, &cluster).await;
}

#[tokio::test]
async fn a_server_that_starts_without_a_primary_is_ready_when_it_can_read() {
    let (mut cluster, redis) = (Streaming::start(1).await, OwnRedis::start().await);
    let before = servers(&cluster, &redis).await;
    let path = add(&before[0], 1).await;
    until_replicas_are_asked(&before[0], &cluster).await;
    cluster.primary.stop().await;
    let mut late = start(&cluster, &redis).await;
    late.forget_log();
    assert_eq!(late.get("/health").await.status, 200, "a replica answers");
    problem(&late.get(&path).await, 503);
    problem(&late.get("/ready").await, 503);
    for path in [&path, "/ready"] {
        assert_eq!(before[0].get(path).await.status, 200, "those who know go on");
    }
    cluster.primary.restart().await;
    late.until_ready().await;
    assert_eq!(late.get(&path).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_primary_fails_no_request_to_read() {
    let (mut cluster, redis) = (Streaming::start(1).await, OwnRedis::start().await);
    let servers = Arc::new(servers(&cluster, &redis).await);
    for n in 0..20 {
        add(&servers[0], n).await;
    }
    for server in servers.iter() {
        until_replicas_are_asked(server, &cluster).await;
    }
    let (stop, read) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let readers = (0..4_u64).map(|reader| {
        let (servers, stop, read) = (Arc::clone(&servers), Arc::clone(&stop), Arc::clone(&read));
        tokio::spawn(async move {
            for n in 0.. {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                // Some that are in the cache, and some that cannot be.
                let paths = [format!("/users/{}", n % 20 + 1), format!("/users?after={}", 100_000 * reader + n)];
                for path in paths {
                    let answer = servers[(reader % 2) as usize].get(&path).await;
                    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                }
                read.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let reads = async || {
        let goal = read.load(Ordering::SeqCst) + 50;
        until("reads", async || read.load(Ordering::SeqCst) >= goal).await;
    };
    reads().await;
    cluster.primary.stop().await;
    reads().await;
    let refused = servers[0]
        .ask("POST", "/users")
        .json(&json!({"name": "a", "email": "late@example.com"}))
        .await;
    problem(&refused, 503);
    assert_eq!(refused.header("retry-after"), "1");
    reads().await;
    cluster.primary.restart().await;
    until("writes to be done again", async || {
        let answer = servers[0]
            .ask("POST", "/users")
            .json(&json!({"name": "a", "email": "late@example.com"}))
            .await;
        answer.status == 201
    })
    .await;
    reads().await;
    stop.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.expect("no read fails");
    }
    assert_eq!(servers[1].get("/users?limit=1").await.json()["total"], 21);
}
