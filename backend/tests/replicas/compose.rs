//! The scripts by which the compose file's PostgreSQL gets its replica.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::common::{Streaming, free_port, signal, until};

/// What the image and the compose file give to `primary.sh`.
fn primary(cluster: &Streaming) -> Command {
    let mut command = cluster.script("primary.sh");
    command
        .env("POSTGRES_USER", "postgres")
        .env("POSTGRES_DB", "postgres")
        .env("PGDATA", cluster.folder("primary"))
        .env("REPLICATION_PASSWORD", "it's secret")
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", cluster.primary.port().to_string());
    command
}

/// The replica, with `PGDATA` there.
fn replica(cluster: &Streaming, data: &Path, port: u16) -> Command {
    let mut command = cluster.script("replica.sh");
    command
        .env("PRIMARY_HOST", "127.0.0.1")
        .env("PRIMARY_PORT", cluster.primary.port().to_string())
        .env("PGDATA", data)
        .env("REPLICATION_PASSWORD", "it's secret")
        .args([
            "-p",
            &port.to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
        ])
        .args(["-c", "shared_buffers=16MB", "-c", "max_connections=200"])
        .stderr(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Killed when this is dropped.
struct Running(Child);

impl Running {
    async fn stop(mut self) {
        signal("INT", &[self.0.id()]);
        until("the replica to end", async || self.0.try_wait().unwrap().is_some()).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        signal("QUIT", &[self.0.id()]);
        let _ = self.0.wait();
    }
}

/// How many rows the replica has, once it answers.
async fn rows(port: u16) -> Option<i64> {
    let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port);
    let mut connection = options.username("postgres").database("postgres").connect().await.ok()?;
    let sql = "SELECT count(*) FROM numbers WHERE pg_is_in_recovery()";
    let rows = sqlx::query_scalar(sql).fetch_one(&mut connection).await.ok();
    connection.close().await.ok()?;
    rows
}

#[tokio::test]
async fn the_scripts_make_a_replica_that_comes_back_after_a_stop() {
    let cluster = Streaming::start(0).await;
    // Nobody is let in to follow it, as in the image.
    let rules = cluster.folder("primary").join("pg_hba.conf");
    fs::write(&rules, "host all all 127.0.0.1/32 trust\n").unwrap();
    cluster.primary.execute("SELECT pg_reload_conf()").await;
    for _ in 0..2 {
        let output = primary(&cluster).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let rule = "host replication replicator all scram-sha-256";
    assert_eq!(fs::read_to_string(&rules).unwrap().matches(rule).count(), 1);
    cluster.primary.execute("CREATE TABLE numbers AS SELECT 1 AS n").await;

    let (data, port) = (cluster.folder("replica"), free_port());
    let running = Running(replica(&cluster, &data, port).spawn().unwrap());
    until("the replica to have a row", async || rows(port).await == Some(1)).await;
    cluster.primary.execute("INSERT INTO numbers VALUES (2)").await;
    until("it to have two", async || rows(port).await == Some(2)).await;
    running.stop().await;

    fs::write(data.join("still-there"), "").unwrap();
    cluster.primary.execute("INSERT INTO numbers VALUES (3)").await;
    let running = Running(replica(&cluster, &data, port).spawn().unwrap());
    until("it to have three", async || rows(port).await == Some(3)).await;
    assert!(data.join("still-there").exists(), "it was not copied anew");
    running.stop().await;
}

#[tokio::test]
async fn a_database_that_follows_nobody_is_not_overwritten() {
    let cluster = Streaming::start(0).await;
    let mut command = replica(&cluster, &cluster.folder("primary"), free_port());
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("holds a database that follows nobody"), "{said}");
}
