//! Three servers on one SQLite file, all of them writing.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;

use crate::common::{Database, Kind, Process};

const WRITERS: usize = 8;
const TIME: Duration = Duration::from_secs(3);

/// Creates, changes, lists and deletes as fast as it can; the users that it leaves behind.
async fn write(server: &Process, name: String) -> usize {
    let started = Instant::now();
    let mut left = 0;
    for n in 0.. {
        if started.elapsed() > TIME {
            break;
        }
        let created = server
            .ask("POST", "/users")
            .json(&json!({"name": name, "email": format!("{name}-{n}@example.com")}))
            .await;
        assert_eq!(created.status, 201, "{}", created.text());
        let path = created.header("location").to_owned();
        let changed = server
            .ask("PATCH", &path)
            .header("if-match", created.header("etag"))
            .json(&json!({"name": "x"}))
            .await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        let listed = server.get("/users").await;
        assert_eq!(listed.status, 200, "{}", listed.text());
        if n % 2 == 0 {
            let deleted = server.ask("DELETE", &path).await;
            assert_eq!(deleted.status, 204, "{}", deleted.text());
        } else {
            left += 1;
        }
    }
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_write_at_once_and_nobody_finds_the_database_locked() {
    let database = Database::new(Kind::Sqlite).await;
    let mut servers = join_all((0..3).map(|_| Process::start(&database.url, &[]))).await;
    for server in &mut servers {
        server.forget_log();
        server.until_ready().await;
    }
    let servers = &servers;
    let writers = (0..3 * WRITERS).map(|n| write(&servers[n % 3], format!("w{n}")));
    let left: usize = join_all(writers).await.into_iter().sum();
    assert!(left > 0);
    for server in servers {
        assert_eq!(server.get("/users").await.json()["total"], left, "all see all of it");
    }
    assert_eq!(
        database
            .number("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'")
            .await,
        1
    );
}

#[tokio::test]
async fn an_acknowledged_write_survives_a_killed_server() {
    let database = Database::new(Kind::Sqlite).await;
    let mut first = Process::start(&database.url, &[]).await;
    first.until_ready().await;
    let created = first
        .ask("POST", "/users")
        .json(&json!({"name": "Ada", "email": "ada@example.com"}))
        .await;
    first.signal("KILL");
    first.end().await;
    let second = Process::start(&database.url, &[]).await;
    second.until_ready().await;
    assert_eq!(second.get(created.header("location")).await.json(), created.json());
}
