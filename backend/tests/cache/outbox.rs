//! A write whose server did not come to tell Redis of it.

use backend::settings::DatabaseSettings;
use backend::store::{self, Changed, Condition, Note};
use backend::users::{Change, Name};
use serde_json::json;

use crate::common::{Cached, Database, Kind, OwnRedis, Process, metric, run_with_input, until};
use crate::on_two;

on_two!(
    a_note_that_was_left_is_delivered_by_another,
    a_write_leaves_a_note_and_nothing_else_does,
    notes_that_lie_there_are_in_the_metrics,
);

const NOTES: &str = "SELECT count(*) FROM outbox";

/// What a server does that dies between the commit and Redis.
async fn a_note_that_was_left_is_delivered_by_another(cached: Cached) {
    let id = cached.user(0, "ada").await;
    for server in &cached.servers {
        assert_eq!(server.name(id).await, "ada");
        server.get("/users").await;
    }
    assert_eq!(id, 1);
    cached
        .database
        .execute(
            "UPDATE users SET name = 'eve', version = version + 1 WHERE id = 1; \
            INSERT INTO outbox (user_id, version) SELECT id, version FROM users WHERE id = 1",
        )
        .await;
    for server in &cached.servers {
        until("the new name", async || server.name(id).await == "eve").await;
        until("the new list", async || server.get("/users").await.text().contains("eve")).await;
    }
    until("the note is removed", async || cached.database.number(NOTES).await == 0).await;
    let delivered: u64 = cached.servers.iter().map(|server| server.cache.counts().told_later.get()).sum();
    assert!(delivered >= 1);
}

async fn notes_that_lie_there_are_in_the_metrics(cached: Cached) {
    let found = async || metric(cached.servers[0].addr, "backend_cache_outbox_notes").await;
    until("a look to find none", async || found().await == 0).await;
    until("a look to find some", async || {
        // Again and again, since those that were found are removed.
        cached.database.execute("INSERT INTO outbox (user_id, version) VALUES (1, 1)").await;
        found().await > 0
    })
    .await;
    until("a look to find none", async || found().await == 0).await;
}

async fn a_write_leaves_a_note_and_nothing_else_does(cached: Cached) {
    let quiet = store::open(&DatabaseSettings {
        outbox: true,
        ..cached.database.settings()
    });
    let id = cached.user(0, "ada").await;
    until("the note is removed", async || cached.database.number(NOTES).await == 0).await;
    let change = Change {
        name: Some(Name::new("eve").expect("a name")),
        email: None,
    };
    let anything = Condition::default();
    let none = Condition {
        only: Some(vec![]),
        except: vec![],
    };
    assert_eq!(quiet.update(id, &change, &none).await.expect("it answers"), Changed::Refused);
    assert_eq!(quiet.update(99, &change, &anything).await.expect("it answers"), Changed::Missing);
    assert_eq!(quiet.delete(id, &none).await.expect("it answers"), Changed::Refused);
    assert_eq!(cached.database.number(NOTES).await, 0);
    let Changed::Done((user, note)) = quiet.update(id, &change, &anything).await.expect("it answers") else {
        panic!("nothing was changed")
    };
    assert_eq!((note.user, note.version, user.version), (id, 2, 2));
    assert!(note.row.is_some());
    let Changed::Done(note) = quiet.delete(id, &anything).await.expect("it answers") else {
        panic!("nothing was deleted")
    };
    assert_eq!((note.user, note.version), (id, Note::GONE));
    assert!(note.row.is_some());
    until("the notes are removed", async || cached.database.number(NOTES).await == 0).await;
    assert!(!quiet.has_note(note.row.expect("a row")).await.expect("it answers"));
}

#[tokio::test]
async fn notes_that_nobody_reads_do_not_stay_for_ever() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let database = Database::new(kind).await;
        let store = store::open(&database.settings());
        store.migrate().await.expect("an empty database can be migrated");
        database.execute("INSERT INTO outbox (user_id, version) VALUES (1, 1)").await;
        store.sweep().await.expect("it answers");
        assert_eq!(database.number(NOTES).await, 1, "it is young");
        database.execute("UPDATE outbox SET made_at = made_at - 7300").await;
        store.sweep().await.expect("it answers");
        assert_eq!(database.number(NOTES).await, 0);
    }
}

#[tokio::test]
async fn without_a_cache_no_notes_are_left() {
    let database = Database::new(Kind::Sqlite).await;
    let server = Process::start(&database.url, &[]).await;
    server.until_ready().await;
    let body = json!({"name": "ada", "email": "ada@example.com"});
    assert_eq!(server.ask("POST", "/users").json(&body).await.status, 201);
    assert_eq!(database.number(NOTES).await, 0);
}

#[tokio::test]
async fn an_administrator_from_the_command_line_is_seen_soon() {
    let redis = OwnRedis::start().await;
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let cached = Cached::at(kind, 1, &redis.url()).await;
        assert_eq!(cached.servers[0].get("/users").await.json()["total"], 0);
        let environment = [("DATABASE_URL", cached.database.url.as_str())];
        let arguments = ["create-admin", "--email", "root@example.com"];
        let output = run_with_input(&arguments, &environment, b"correct horse\n").await;
        assert_eq!(output.status.code(), Some(0));
        until("the list shows it", async || {
            cached.servers[0].get("/users").await.json()["total"] == 1
        })
        .await;
    }
}

/// One that was killed with its note undelivered, while Redis had the old value: the next one delivers it before it trusts Redis.
#[tokio::test]
async fn a_killed_servers_note_is_delivered_before_anybody_trusts_redis() {
    let redis = OwnRedis::start().await;
    let (database, url) = (Database::new(Kind::Postgres).await, redis.url());
    let start = async || {
        let server = Process::start(&database.url, &[("REDIS_URL", &url)]).await;
        server.until_ready().await;
        until("it trusts its Redis", async || is_trusted(&server).await).await;
        server
    };
    let name = async |server: &Process| server.get("/users/1").await.json()["name"].clone();
    let mut first = start().await;
    let body = json!({"name": "ada", "email": "ada@example.com"});
    assert_eq!(first.ask("POST", "/users").json(&body).await.status, 201);
    assert_eq!(name(&first).await, "ada");
    first.signal("KILL");
    first.end().await;
    database
        .execute(
            "WITH changed AS (UPDATE users SET name = 'eve', version = version + 1 WHERE id = 1 RETURNING id, version) \
            INSERT INTO outbox (user_id, version) SELECT id, version FROM changed",
        )
        .await;
    let second = Process::start(&database.url, &[("REDIS_URL", &url)]).await;
    until("it is ready and trusts its Redis", async || {
        let answer = second.get("/users/1").await;
        assert!(answer.status == 503 || answer.json()["name"] == "eve", "{}", answer.text());
        answer.status == 200 && is_trusted(&second).await
    })
    .await;
    assert_eq!(name(&second).await, "eve");
}

async fn is_trusted(server: &Process) -> bool {
    server.get("/metrics").await.text().contains("backend_cache_trusted 1")
}
