//! Servers that hang, die, come back, and take each other's place, while others read and write.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backend::settings::{HttpSettings, Who};
use backend::store::{At, Store, StoreError};
use serde_json::json;
use sqlx::{ConnectOptions, Executor};

use crate::common::{Ask, PASSWORD, PgServer, Streaming, Tokens, http_settings, problem, serve, until};
use crate::load::{Load, change, create, position};

fn is_healthy(store: &dyn Store, server: &PgServer) -> bool {
    store.servers().iter().any(|one| one.name == server.name() && one.healthy)
}

fn is_primary(store: &dyn Store, server: &PgServer) -> bool {
    store.servers().iter().any(|one| one.name == server.name() && one.primary)
}

#[tokio::test]
async fn a_killed_replica_costs_nothing() {
    let mut cluster = Streaming::start(2).await;
    let store = cluster.ready().await;
    let load = Load::start(cluster.store(), cluster.ready().await).await;
    for dead in [0, 1] {
        load.reads_of(dead + 1).await;
        cluster.replicas[dead].kill();
        load.reads().await;
        load.writes().await;
        until("it to be missed", async || !is_healthy(store.as_ref(), &cluster.replicas[dead])).await;
        load.reads().await;
    }
    for dead in [0, 1] {
        cluster.replicas[dead].restart().await;
    }
    until("both to be used again", async || {
        store.servers().iter().all(|server| server.healthy)
    })
    .await;
    load.reads().await;
    load.finish(store.as_ref()).await;
}

#[tokio::test]
async fn a_hanging_replica_costs_nothing() {
    let cluster = Streaming::start(1).await;
    let store = cluster.ready().await;
    let load = Load::start(cluster.store(), cluster.ready().await).await;
    load.reads_of(1).await;
    cluster.replicas[0].freeze();
    load.reads().await;
    load.writes().await;
    until("it to be missed", async || !is_healthy(store.as_ref(), &cluster.replicas[0])).await;
    load.reads().await;
    cluster.replicas[0].thaw();
    load.reads_of(1).await;
    load.finish(store.as_ref()).await;
}

#[tokio::test]
async fn a_restart_of_the_primary_costs_only_writes() {
    let mut cluster = Streaming::start(2).await;
    let store = cluster.ready().await;
    let load = Load::start(cluster.store(), cluster.ready().await).await;
    for _ in 0..2 {
        load.reads().await;
        load.writes().await;
        cluster.primary.stop().await;
        load.reads().await;
        until("it to be missed", async || !is_primary(store.as_ref(), &cluster.primary)).await;
        let started = Instant::now();
        assert!(matches!(create(store.as_ref(), 1_000_000).await, Err(StoreError::Unavailable(_))));
        assert!(started.elapsed() < Duration::from_secs(2), "it is known: {:?}", started.elapsed());
        load.reads().await;
        cluster.primary.restart().await;
        load.writes().await;
        load.reads().await;
    }
    load.finish(store.as_ref()).await;
}

#[tokio::test]
async fn a_hanging_primary_costs_only_writes() {
    let cluster = Streaming::start(1).await;
    let store = cluster.ready().await;
    let load = Load::start(cluster.store(), cluster.ready().await).await;
    load.writes().await;
    load.stop_writing();
    load.reads().await;
    // So that there is a connection that nobody would try out first.
    create(store.as_ref(), 999_999).await.expect("it is there");
    cluster.primary.freeze();
    // While it is only silent, a write waits for it; and no longer than until it is missed.
    let writer = Arc::clone(&store);
    let write = tokio::spawn(async move {
        let started = Instant::now();
        assert!(matches!(create(writer.as_ref(), 1_000_000).await, Err(StoreError::Unavailable(_))));
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    });
    load.reads().await;
    write.await.expect("it is refused in time");
    load.reads().await;
    cluster.primary.thaw();
    until("writes to be done again", async || create(store.as_ref(), 1_000_001).await.is_ok()).await;
    load.finish(store.as_ref()).await;
}

/// What others have written into the log, and nobody has waited for, may be lost with it.
#[tokio::test]
async fn a_place_in_the_log_is_no_further_than_what_outlives_the_primary() {
    for is_synchronous in [false, true] {
        let mut cluster = Streaming::start(1).await;
        let store = cluster.ready().await;
        let standbys = if is_synchronous { "ANY 1 (*)" } else { "" };
        for sql in [
            "ALTER SYSTEM SET wal_writer_delay = '10s'",
            "ALTER SYSTEM SET wal_writer_flush_after = '1GB'",
            &format!("ALTER SYSTEM SET synchronous_standby_names = '{standbys}'"),
            "SELECT pg_reload_conf()",
            "CREATE TABLE other (n bigint)",
        ] {
            cluster.primary.execute(sql).await;
        }
        until("the standbys to count", async || {
            let waiting = cluster
                .primary
                .number("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'")
                .await;
            (waiting == 1) == is_synchronous
        })
        .await;
        create(store.as_ref(), 1).await.unwrap();
        let place = cluster.primary.place().await;
        until("the replica to be so far", async || cluster.replicas[0].place().await >= place).await;
        let mut other = cluster.primary.options().connect().await.unwrap();
        let unfinished = "BEGIN; INSERT INTO other SELECT * FROM generate_series(1, 100)";
        other.execute(unfinished).await.unwrap();
        let place = position(store.as_ref()).await.unwrap();
        cluster.primary.kill();
        until("the replica to have it", async || {
            u64::try_from(cluster.replicas[0].place().await).unwrap() >= place.lsn
        })
        .await;
    }
}

#[tokio::test]
async fn where_commits_wait_for_a_replica_their_place_in_the_log_does_too() {
    let mut cluster = Streaming::start(1).await;
    let store = cluster.ready().await;
    for sql in [
        "CREATE TABLE other (n bigint)",
        "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'",
        "SELECT pg_reload_conf()",
    ] {
        cluster.primary.execute(sql).await;
    }
    until("the standbys to count", async || {
        cluster
            .primary
            .number("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'")
            .await
            == 1
    })
    .await;
    create(store.as_ref(), 1).await.unwrap();
    cluster.replicas[0].freeze();
    cluster
        .primary
        .execute("SET synchronous_commit = local; INSERT INTO other VALUES (1)")
        .await;
    let asking = Arc::clone(&store);
    let mut asking = tokio::spawn(async move { position(asking.as_ref()).await });
    assert!(
        tokio::time::timeout(Duration::from_millis(500), &mut asking).await.is_err(),
        "no replica has it"
    );
    let started = Instant::now();
    store.end_of_log().await.expect("this one waits for nobody");
    assert!(started.elapsed() < Duration::from_secs(5));
    cluster.primary.kill();
    assert!(asking.await.unwrap().is_err());
}

#[tokio::test]
async fn a_promoted_replica_is_written_to_and_the_old_primary_never_again() {
    let mut cluster = Streaming::start(2).await;
    let (store, settings) = (cluster.ready().await, cluster.settings());
    let addr = serve(cluster.ready().await, &http_settings()).await;
    let load = Load::start(cluster.store(), cluster.ready().await).await;
    load.writes().await;
    load.stop_writing();
    load.reads().await;
    // Replication is not synchronous here: what was not sent yet would be lost with the primary.
    let place = cluster.primary.place().await;
    for replica in &cluster.replicas {
        until("the replica to be so far", async || replica.place().await >= place).await;
    }
    cluster.primary.kill();
    until("it to be missed", async || !is_primary(store.as_ref(), &cluster.primary)).await;

    let refused = Ask::new(addr, "POST", "/users")
        .json(&json!({"name": "a", "email": "a@example.com"}))
        .await;
    problem(&refused, 503);
    assert_eq!(refused.header("retry-after"), "1");
    for path in ["/health", "/ready"] {
        assert_eq!(Ask::new(addr, "GET", path).await.status, 200, "reads are still answered");
    }
    assert!(
        store.user(1, At::Primary).await.is_err(),
        "nobody knows whether a replica has the last write"
    );
    load.reads().await;

    // One is promoted, and the other one made to follow it.
    let [promoted, other] = cluster.replicas.as_mut_slice() else {
        panic!("there are two")
    };
    promoted.execute("SELECT pg_promote()").await;
    until("writes to be done again", async || create(store.as_ref(), 1_000_000).await.is_ok()).await;
    assert!(is_primary(store.as_ref(), promoted));
    let follow = format!("ALTER SYSTEM SET primary_conninfo = '{}'", promoted.url());
    other.execute(&follow).await;
    other.execute("SELECT pg_reload_conf()").await;
    until("the other replica to be used", async || is_healthy(store.as_ref(), other)).await;
    load.reads().await;

    // The old one comes back, and believes to be the primary.
    cluster.primary.restart().await;
    let count = "SELECT count(*) FROM users";
    let (before, sent) = (cluster.primary.number(count).await, store.servers()[0].pool.statements);
    let newcomer = backend::store::open(&settings);
    for n in 0..20 {
        let id = create(store.as_ref(), 2_000_000 + n).await.expect("there is a primary");
        create(newcomer.as_ref(), 3_000_000 + n).await.expect("there is a primary");
        let place = At::Replayed(position(newcomer.as_ref()).await.expect("there is a primary"));
        assert!(store.user(id, place).await.expect("it is answered").is_some());
        assert!(newcomer.user(id, At::Primary).await.expect("it is answered").is_some());
    }
    assert_eq!(cluster.primary.number(count).await, before);
    assert_eq!(store.servers()[0].pool.statements, sent);
    assert_eq!(newcomer.servers()[0].pool.statements, 0);

    // Made anew as a replica of the new one, it is read from.
    let again = cluster.folder("again");
    cluster.replicas[0].backup(&again).await;
    cluster.primary.replace(again).await;
    until("it to be used as a replica", async || is_healthy(store.as_ref(), &cluster.primary)).await;
    let place = At::Replayed(position(store.as_ref()).await.expect("there is a primary"));
    until("an answer of it", async || {
        store.user(1, place).await.expect("it is answered");
        store.servers()[0].pool.statements > sent
    })
    .await;
    load.reads().await;
    load.finish(store.as_ref()).await;
}

#[tokio::test]
async fn without_a_primary_users_still_see_themselves() {
    let mut cluster = Streaming::start(1).await;
    let http = HttpSettings {
        who: Who::Everybody,
        ..http_settings()
    };
    let addr = serve(cluster.ready().await, &http).await;
    let post = async |path: &str, body: serde_json::Value| Ask::new(addr, "POST", path).json(&body).await;
    let known = json!({"name": "a", "email": "a@example.com", "password": PASSWORD});
    let credentials = json!({"email": "a@example.com", "password": PASSWORD});
    assert_eq!(post("/auth/register", known).await.status, 201);
    let known = Tokens::of(&post("/auth/login", credentials).await);
    let me = async |tokens: &Tokens| Ask::new(addr, "GET", "/auth/me").token(&tokens.access).await;
    let before = me(&known).await;
    assert_eq!(before.status, 200, "{}", before.text());
    let place = cluster.primary.place().await;
    until("the replica to be so far", async || cluster.replicas[0].place().await >= place).await;
    cluster.replicas[0].execute("SELECT pg_wal_replay_pause()").await;
    until("the pause", async || {
        let state = "SELECT (pg_get_wal_replay_pause_state() = 'paused')::int::bigint";
        cluster.replicas[0].number(state).await == 1
    })
    .await;
    let unknown = json!({"name": "b", "email": "b@example.com", "password": PASSWORD});
    let credentials = json!({"email": "b@example.com", "password": PASSWORD});
    assert_eq!(post("/auth/register", unknown).await.status, 201);
    let unknown = Tokens::of(&post("/auth/login", credentials).await);

    cluster.primary.stop().await;
    for _ in 0..3 {
        let after = me(&known).await;
        assert_eq!((after.status, after.text()), (200, before.text()));
        assert_eq!(after.header("etag"), before.header("etag"));
        // Not 401, by which a client would throw its tokens away.
        problem(&me(&unknown).await, 503);
    }
    cluster.primary.restart().await;
    until("the primary to be asked again", async || me(&unknown).await.status == 200).await;
}

/// It may be further in its log than the new primary is: that log is another one.
#[tokio::test]
async fn a_replica_of_the_old_primary_is_not_read_from() {
    let mut cluster = Streaming::start(2).await;
    let store = cluster.ready().await;
    let id = create(store.as_ref(), 1).await.expect("there is a primary");
    let place = cluster.primary.place().await;
    for replica in &cluster.replicas {
        until("the replica to be so far", async || replica.place().await >= place).await;
    }
    cluster.primary.kill();
    let [promoted, other] = cluster.replicas.as_slice() else {
        panic!("there are two")
    };
    promoted.execute("SELECT pg_promote()").await;
    until("the new primary to be found", async || create(store.as_ref(), 2).await.is_ok()).await;
    cluster.primary.restart().await;
    cluster
        .primary
        .execute("SELECT pg_switch_wal(), pg_logical_emit_message(false, 'test', 'x')")
        .await;
    cluster
        .primary
        .execute("SELECT pg_switch_wal(), pg_logical_emit_message(false, 'test', 'x')")
        .await;
    until("the other one to follow the old one", async || {
        other.place().await >= cluster.primary.place().await
    })
    .await;
    assert!(other.place().await > promoted.place().await, "else this test says nothing");
    let newcomer = cluster.store();
    for _ in 0..20 {
        let version = change(newcomer.as_ref(), id).await.expect("there is a primary");
        let place = At::Replayed(position(newcomer.as_ref()).await.expect("there is a primary"));
        for reader in [&store, &newcomer] {
            let user = reader.user(id, place).await.expect("it is answered").expect("it is there");
            assert_eq!(user.version, version);
            assert!(!is_healthy(reader.as_ref(), other));
        }
    }
}
