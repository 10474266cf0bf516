//! A database that is away, comes back, or hangs.

use std::time::{Duration, Instant};

use backend::settings::Database as Where;
use backend::store;
use serde_json::json;
use tokio::net::TcpListener;

use crate::common::{Answer, Api, Ask, Database, Kind, database_settings, http_settings, on_both, problem, serve, until};

on_both!(a_newer_schema_is_fine);

/// 503 with Retry-After, and not a word about what is behind.
fn unavailable(answer: &Answer) {
    problem(answer, 503);
    assert_eq!(answer.header("retry-after"), "1");
    let text = answer.text().to_lowercase();
    for secret in [
        "postgres",
        "sqlite",
        "users.db",
        "127.0.0.1",
        "select",
        "connection",
        "sql",
        "test_",
    ] {
        assert!(!text.contains(secret), "{text}");
    }
}

async fn all_unavailable(ask: impl Fn(&str, &str) -> Ask) {
    for path in ["/users", "/users?after=0", "/users/1", "/health", "/ready"] {
        unavailable(&ask("GET", path).await);
    }
    unavailable(&ask("POST", "/users").json(&json!({"name": "a", "email": "a@example.com"})).await);
    unavailable(&ask("PUT", "/users/1").json(&json!({"name": "a", "email": "a@example.com"})).await);
    unavailable(&ask("PATCH", "/users/1").json(&json!({"name": "a"})).await);
    unavailable(&ask("DELETE", "/users/1").await);
    assert_eq!(ask("GET", "/metrics").await.status, 200);
    problem(&ask("GET", "/nope").await, 404);
}

#[tokio::test]
async fn without_its_file_sqlite_is_away() {
    let database = Database::new(Kind::Sqlite).await;
    let addr = serve(store::open(&database.settings()), &http_settings()).await;
    all_unavailable(|method, path| Ask::new(addr, method, path)).await;
}

#[tokio::test]
async fn postgres_may_go_away_and_come_back() {
    let api = Api::start(Kind::Postgres).await;
    let id = api.user("Ada", "ada@example.com").await;
    api.database.let_in(false).await;
    all_unavailable(|method, path| api.ask(method, path)).await;
    api.database.let_in(true).await;
    assert_eq!(api.get(&format!("/users/{id}")).await.status, 200);
    assert_eq!(api.get("/ready").await.status, 200);
}

#[tokio::test]
async fn a_read_survives_that_its_connections_were_cut() {
    let api = Api::start(Kind::Postgres).await;
    let path = format!("/users/{}", api.user("Ada", "ada@example.com").await);
    for _ in 0..5 {
        // Several connections, all of which have been used and are idle then.
        let answers = futures::future::join_all((0..10).map(|_| api.get(&path).into_future())).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        api.database.let_in(true).await;
    }
    assert_eq!(api.get(&path).await.status, 200);
}

#[tokio::test]
async fn a_database_without_our_schema_is_not_ready() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let database = Database::new(kind).await;
        let migrated = store::open(&database.settings());
        migrated.migrate().await.expect("it can be migrated");
        database.execute("DELETE FROM _sqlx_migrations").await;
        let addr = serve(migrated, &http_settings()).await;
        assert_eq!(Ask::new(addr, "GET", "/health").await.status, 200, "it answers");
        unavailable_schema(&Ask::new(addr, "GET", "/ready").await);
    }
}

fn unavailable_schema(answer: &Answer) {
    problem(answer, 503);
    assert_eq!(answer.header("retry-after"), "1");
}

/// During a rolling upgrade the old version lives on with what the new one made of the database, and may even start again.
async fn a_newer_schema_is_fine(api: Api) {
    let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999, 'later', true, '', 0)";
    api.database.execute(sql).await;
    assert_eq!(api.get("/ready").await.status, 200);
    api.store.migrate().await.expect("what is not known is left alone");
}

/// Whoever balances the load would else take an overload for the death of all servers.
#[tokio::test]
async fn an_overload_is_no_illness() {
    let api = Api::start(Kind::Postgres).await;
    let mut blocker = api.database.connection().await;
    // Whoever adds a user waits for it, with a connection.
    let taken = sqlx::query("SELECT pg_advisory_lock(7305808868)").execute(&mut blocker).await;
    taken.expect("nobody else has it");
    let add = |n: usize| {
        let user = json!({"name": "a", "email": format!("{n}@example.com")});
        tokio::spawn(api.ask("POST", "/users").json(&user).into_future())
    };
    let adding: Vec<_> = (0..30).map(add).collect();
    until("all connections to be in use", async || {
        let pool = api.store.pool();
        pool.open - pool.idle == pool.max
    })
    .await;
    let reading = tokio::spawn(api.get("/users").into_future());
    let probes = (0..20).flat_map(|_| ["/health", "/ready"]).map(|path| api.get(path).into_future());
    for answer in futures::future::join_all(probes).await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    unavailable(&reading.await.expect("it is answered"));
    // With the connection goes the lock.
    drop(blocker);
    let mut added = 0;
    for answer in adding {
        match answer.await.expect("it is answered") {
            answer if answer.status == 201 => added += 1,
            answer => unavailable(&answer),
        }
    }
    assert!(added >= 20, "{added}: those who had a connection were only late");
}

#[tokio::test]
async fn a_database_that_hangs_is_given_up_in_time() {
    // It accepts connections (the kernel does), and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = silent.local_addr().expect("it is bound").port();
    let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username("u")
        .database("d");
    let addr = serve(store::open(&database_settings(Where::Postgres(options))), &http_settings()).await;
    let started = Instant::now();
    let asks = ["/health", "/ready", "/users", "/users/1"].map(|path| Ask::new(addr, "GET", path).into_future());
    for answer in futures::future::join_all(asks).await {
        problem(&answer, 503);
    }
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}
