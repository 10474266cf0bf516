//! Far more clients at once than connections to the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::common::{Database, Kind, Process, until};

const CLIENTS: usize = 10_000;
/// Connections that are opened at the same time: fewer than may wait to be accepted.
const OPENING: usize = 200;
/// Files for everything else in this process, and in that of the server.
const SPARE: u64 = 500;
/// `DATABASE_MAX_CONNECTIONS` and `DATABASE_CONNECT_TIMEOUT`, by default.
const POOL: i64 = 20;
/// With the one over which the database's health is asked.
const MOST: i64 = POOL + 1;
const WAIT: Duration = Duration::from_secs(2);
const LIST: &str = "/users?limit=1";
/// For all of them together, on a slow machine.
const ALL: Duration = Duration::from_secs(180);

/// The server inherits the limit.
fn raise_limit_of_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = CLIENTS as u64 + SPARE;
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let most = limit.maximum.unwrap_or(u64::MAX);
    assert!(
        most >= wanted,
        "expected a hard limit of at least {wanted} open files; found {most}"
    );
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit everybody may");
}

struct Answer {
    status: u16,
    retry_after: bool,
    after: Duration,
}

async fn ask(stream: &mut TcpStream, path: &str) -> Answer {
    let asked = Instant::now();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes())
        .await
        .expect("it reads");
    let (mut buffer, mut filled) = ([0; 4096], 0);
    loop {
        let read = stream.read(&mut buffer[filled..]).await.expect("it answers");
        assert!(read > 0, "it closed the connection, or said more than expected");
        filled += read;
        let text = std::str::from_utf8(&buffer[..filled]).expect("text");
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let length: usize = field("content-length: ").expect("a length").parse().expect("a number");
        if body.len() == length {
            return Answer {
                status: head[9..12].parse().expect("a status"),
                retry_after: field("retry-after: 1").is_some(),
                after: asked.elapsed(),
            };
        }
    }
}

/// Connections of the server to its database.
async fn in_use(database: &Database) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'backend'";
    database.number(sql).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_clients_at_once_do_not_exhaust_the_pool() {
    raise_limit_of_files();
    let database = Database::new(Kind::Postgres).await;
    let mut server = Process::start(&database.url, &[]).await;
    server.forget_log();
    server.until_ready().await;
    let addr = server.addr;
    let connecting = futures::stream::iter(0..CLIENTS).map(|_| async move { TcpStream::connect(addr).await.expect("it listens") });
    let streams: Vec<TcpStream> = connecting.buffer_unordered(OPENING).collect().await;

    // Whoever has a connection to the database keeps it for now.
    let mut holder = PgConnection::connect(&database.url).await.expect("the server answers");
    holder.execute("BEGIN; LOCK TABLE users").await.expect("nobody else has it");
    let refused = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for mut stream in streams {
        let refused = Arc::clone(&refused);
        clients.spawn(async move {
            let answer = ask(&mut stream, LIST).await;
            refused.fetch_add(usize::from(answer.status == 503), Ordering::Relaxed);
            (answer, stream)
        });
    }
    until("all connections to the database to be in use", async || {
        in_use(&database).await >= POOL
    })
    .await;
    until("the first client to be told to come later", async || {
        let used = in_use(&database).await;
        assert!(used <= MOST, "{used} connections to the database");
        refused.load(Ordering::Relaxed) > 0
    })
    .await;
    let mut other = TcpStream::connect(addr).await.expect("it listens");
    let missing = timeout(ALL, ask(&mut other, "/nothing"))
        .await
        .expect("what needs no database goes on");
    assert_eq!(missing.status, 404);
    for path in ["/health", "/ready"] {
        let answer = timeout(ALL, ask(&mut other, path)).await.expect("it is answered");
        assert_eq!(answer.status, 200, "it is busy, not ill");
    }
    holder.execute("COMMIT").await.expect("the server answers");

    let mut streams = Vec::new();
    let mut served = 0;
    let all = async {
        while let Some(client) = clients.join_next().await {
            let (answer, stream) = client.expect("no panic");
            match answer.status {
                200 => served += 1,
                503 => assert!(answer.retry_after && answer.after >= WAIT, "told to go after {:?}", answer.after),
                other => panic!("{other}"),
            }
            streams.push(stream);
            if streams.len().is_multiple_of(1000) {
                let used = in_use(&database).await;
                assert!(used <= MOST, "{used} connections to the database");
            }
        }
    };
    timeout(ALL, all).await.expect("every client is answered");
    assert_eq!(streams.len(), CLIENTS);
    assert!(served > 0, "those who had a connection to the database got what they asked for");

    // It serves as before, also those whom it has sent away.
    for stream in streams.iter_mut().take(100) {
        assert_eq!(ask(stream, LIST).await.status, 200);
    }
    assert_eq!(server.get("/ready").await.status, 200);
    assert!(in_use(&database).await <= MOST);
}
