//! Who answers a read.

use backend::settings::DatabaseSettings;
use backend::store::{At, Store};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::common::{Ask, PgServer, Streaming, http_settings, metrics, serve, until};
use crate::load::{Load, change, create, position};

/// Statements sent so far to each server.
fn statements(store: &dyn Store) -> Vec<u64> {
    store.servers().iter().map(|server| server.pool.statements).collect()
}

fn since(store: &dyn Store, before: &[u64]) -> Vec<u64> {
    statements(store).iter().zip(before).map(|(now, before)| now - before).collect()
}

/// Waits until the server has replayed all that the other one has written.
async fn until_equal(server: &PgServer, primary: &PgServer) {
    until("the replica to be as far as the primary", async || {
        server.place().await >= primary.place().await
    })
    .await;
}

#[tokio::test]
async fn reads_go_to_the_replicas_by_turns() {
    let cluster = Streaming::start(2).await;
    let store = cluster.ready().await;
    let id = create(store.as_ref(), 1).await.expect("it is added");
    let place = position(store.as_ref()).await.expect("it answers");
    // Until both are known to be so far.
    let before = statements(store.as_ref());
    until("both replicas to be asked", async || {
        store.user(id, At::Replayed(place)).await.expect("it answers").expect("it is there");
        since(store.as_ref(), &before)[1..].iter().all(|sent| *sent > 0)
    })
    .await;

    let before = statements(store.as_ref());
    for _ in 0..20 {
        store.user(id, At::Replayed(place)).await.expect("it answers").expect("it is there");
        assert_eq!(store.page(0, 10, At::Replayed(place)).await.expect("it answers").1, 1);
        assert_eq!(store.after(0, 10, At::Replayed(place)).await.expect("it answers").len(), 1);
    }
    // Whatever a busy machine delays may be asked of another server as well.
    let sent = since(store.as_ref(), &before);
    assert!(sent[1] >= 15 && sent[2] >= 15 && sent[0] <= 15, "{sent:?}");

    let before = statements(store.as_ref());
    for _ in 0..10 {
        store.user(id, At::Primary).await.expect("it answers").expect("it is there");
    }
    assert_eq!(since(store.as_ref(), &before), [10, 0, 0]);
}

#[tokio::test]
async fn with_its_replay_paused_a_replica_answers_what_it_knows_and_nothing_else() {
    let cluster = Streaming::start(1).await;
    let (first, second) = (cluster.ready().await, cluster.ready().await);
    let replica = &cluster.replicas[0];
    let id = create(first.as_ref(), 1).await.expect("it is added");
    let old = position(first.as_ref()).await.expect("it answers");
    until_equal(replica, &cluster.primary).await;
    pause(replica).await;

    for n in 2..20 {
        let version = change(first.as_ref(), id).await.expect("it is changed");
        create(first.as_ref(), n).await.expect("it is added");
        let place = At::Replayed(position(first.as_ref()).await.expect("it answers"));
        let user = second.user(id, place).await.expect("it answers").expect("it is there");
        assert_eq!(user.version, version);
        assert_eq!(
            second.page(0, 1, place).await.expect("it answers").1,
            i64::try_from(n).expect("small")
        );
        assert_eq!(second.after(0, 100, place).await.expect("it answers").len() as u64, n);
    }

    // Those who need no more than it has are still answered there, as it was then.
    until("an answer of the replica", async || {
        let user = second.user(id, At::Replayed(old)).await.expect("it answers").expect("it is there");
        user.version == 1
    })
    .await;

    replica.execute("SELECT pg_wal_replay_resume()").await;
    let newest = At::Replayed(position(first.as_ref()).await.expect("it answers"));
    let before = statements(second.as_ref());
    until("the replica to answer again", async || {
        assert_eq!(second.page(0, 1, newest).await.expect("it answers").1, 19);
        since(second.as_ref(), &before)[1] > 2
    })
    .await;
}

async fn pause(replica: &PgServer) {
    replica.execute("SELECT pg_wal_replay_pause()").await;
    until("the pause", async || {
        replica
            .number("SELECT (pg_get_wal_replay_pause_state() = 'paused')::int::bigint")
            .await
            == 1
    })
    .await;
}

#[tokio::test]
async fn a_replica_without_the_latest_migration_is_not_asked_for_what_that_brings() {
    let cluster = Streaming::start(1).await;
    let store = cluster.ready().await;
    create(store.as_ref(), 1).await.expect("it is added");
    let replica = &cluster.replicas[0];
    let older = "DROP TABLE user_counts; DROP FUNCTION count_users CASCADE; DELETE FROM _sqlx_migrations WHERE version = 6";
    cluster.primary.execute(older).await;
    let old = At::Replayed(position(store.as_ref()).await.expect("it answers"));
    let before = statements(store.as_ref());
    until("the replica to be so far", async || {
        store.user(1, old).await.expect("it answers");
        since(store.as_ref(), &before)[1] > 0
    })
    .await;
    pause(replica).await;
    store.migrate().await.expect("it answers");
    let before = statements(store.as_ref());
    until("the replica to be tried", async || {
        assert_eq!(store.page(0, 1, old).await.expect("the primary answers").1, 1);
        since(store.as_ref(), &before)[1] > 0
    })
    .await;
}

/// A forwarder, every other connection through which, but not the first one, ends at the second port.
async fn one_address_of(ports: [u16; 2]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        for n in 0.. {
            let Ok((mut near, _)) = listener.accept().await else { return };
            let Ok(mut far) = TcpStream::connect(("127.0.0.1", ports[n % 2])).await else {
                return;
            };
            tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
        }
    });
    port
}

/// What is known of an address counts for nothing: behind it may be several replicas, or another one than before.
#[tokio::test]
async fn of_two_replicas_behind_one_address_the_older_one_is_not_believed() {
    let cluster = Streaming::start(1).await;
    let _ = cluster.ready().await;
    let old = cluster.folder("old");
    until_equal(&cluster.replicas[0], &cluster.primary).await;
    cluster.primary.backup(&old).await;
    // It finds nobody to stream from, and stays where it is.
    std::fs::write(old.join("postgresql.auto.conf"), "").expect("it can be written");
    let old = PgServer::start(old).await;
    // The monitor comes first.
    let port = one_address_of([cluster.replicas[0].port(), old.port()]).await;
    let settings = DatabaseSettings {
        replicas: vec![old.options().port(port)],
        ..cluster.settings()
    };
    let reads = backend::store::open(&settings);
    until("the address to be used", async || {
        reads.servers().iter().all(|server| server.healthy)
    })
    .await;
    let load = Load::start(cluster.store(), reads).await;
    load.writes().await;
    for _ in 0..5 {
        load.reads_of(1).await;
        load.reads().await;
        load.writes().await;
    }
    let both = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'backend'";
    assert!(old.number(both).await > 0, "some of the connections ended there");
    load.finish(cluster.store().as_ref()).await;
}

#[tokio::test]
async fn the_api_and_its_metrics_over_replicas() {
    let cluster = Streaming::start(1).await;
    let addr = serve(cluster.ready().await, &http_settings()).await;
    let created = Ask::new(addr, "POST", "/users")
        .json(&json!({"name": "a", "email": "a@example.com"}))
        .await;
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(Ask::new(addr, "GET", created.header("location")).await.json(), created.json());
    let metrics = metrics(addr).await;
    let (primary, replica) = (cluster.primary.name(), cluster.replicas[0].name());
    for line in [
        format!("backend_db_server_primary{{server=\"{primary}\"}} 1"),
        format!("backend_db_server_primary{{server=\"{replica}\"}} 0"),
        format!("backend_db_server_healthy{{server=\"{primary}\"}} 1"),
        format!("backend_db_server_healthy{{server=\"{replica}\"}} 1"),
        format!("backend_db_server_lag_bytes{{server=\"{replica}\"}} "),
        format!("backend_db_server_queries_total{{server=\"{replica}\"}} "),
        format!("backend_db_server_connections{{server=\"{primary}\",state=\"idle\"}} 1"),
        "backend_db_connections_max 40".to_owned(),
    ] {
        assert!(metrics.text().contains(&line), "{line} is not in\n{}", metrics.text());
    }
}

#[tokio::test]
async fn without_replicas_nobody_needs_a_place() {
    let mut cluster = Streaming::start(0).await;
    let store = cluster.store();
    assert_eq!(store.position().await.expect("nobody is asked"), None);
    assert!(store.servers().is_empty());
    cluster.primary.kill();
    assert_eq!(store.position().await.expect("nobody is asked"), None);
}
