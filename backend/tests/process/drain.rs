//! How it ends.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{Ask, Database, Kind, Process, until};

const BODY: &str = r#"{"name": "Ada", "email": "ada@example.com"}"#;

/// A request whose body is not sent yet.
async fn begin(addr: SocketAddr, connection: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    let head = format!(
        "POST /users HTTP/1.1\r\nhost: test\r\nconnection: {connection}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        BODY.len()
    );
    stream.write_all(head.as_bytes()).await.expect("it reads");
    // The go-ahead comes when the handler reads the body: the request is under way.
    let mut go = [0; 25];
    stream.read_exact(&mut go).await.expect("it answers");
    assert_eq!(&go, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

/// Sends the body, and returns all that comes until the connection is closed.
async fn complete(mut stream: TcpStream) -> String {
    stream.write_all(BODY.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer is text");
    answer
}

async fn is_refused(addr: SocketAddr) -> bool {
    TcpStream::connect(addr).await.is_err()
}

#[tokio::test]
async fn during_the_delay_it_serves_on_but_says_that_it_goes() {
    let database = Database::new(Kind::Sqlite).await;
    let mut server = Process::start(&database.url, &[("DRAIN_DELAY", "2s")]).await;
    server.until_ready().await;
    let before = server.get("/users").await;
    assert_eq!((before.header("connection"), before.header("x-lb-drain")), ("", ""));
    server.signal("TERM");
    let told = Instant::now();
    until("/ready to answer 503", async || server.get("/ready").await.status == 503).await;
    let answer = server.get("/users").await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, "close"),
        "new connections are served, for one request each"
    );
    assert_eq!(answer.header("x-lb-drain"), "1");
    assert_eq!(server.get("/health").await.status, 200, "it lives");
    assert_eq!(server.end().await, Some(0));
    assert!(told.elapsed() >= Duration::from_secs(2), "ended after {:?}", told.elapsed());
    assert!(told.elapsed() < Duration::from_secs(15), "ended after {:?}", told.elapsed());
}

#[tokio::test]
async fn what_is_under_way_is_finished_and_nothing_new_is_taken() {
    for signal in ["TERM", "INT"] {
        let database = Database::new(Kind::Sqlite).await;
        let mut server = Process::start(&database.url, &[]).await;
        server.until_ready().await;
        let idle = TcpStream::connect(server.addr).await.expect("it listens");
        let slow = begin(server.addr, "keep-alive").await;
        server.signal(signal);
        until("new connections to be refused", async || is_refused(server.addr).await).await;
        assert!(server.runs_on(Duration::from_millis(200)).await, "a request is under way");
        let answer = complete(slow).await;
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        assert_eq!(server.end().await, Some(0));
        drop(idle);
    }
}

#[tokio::test]
async fn with_nothing_under_way_it_ends_at_once() {
    let database = Database::new(Kind::Sqlite).await;
    let mut server = Process::start(&database.url, &[]).await;
    server.until_ready().await;
    // An idle keep-alive connection that has been used.
    let mut idle = TcpStream::connect(server.addr).await.expect("it listens");
    idle.write_all(b"GET /nope HTTP/1.1\r\nhost: test\r\n\r\n").await.expect("it reads");
    let mut some = [0; 64];
    assert!(idle.read(&mut some).await.expect("it answers") > 0);
    let told = Instant::now();
    server.signal("TERM");
    assert_eq!(server.end().await, Some(0));
    assert!(told.elapsed() < Duration::from_secs(10), "ended after {:?}", told.elapsed());
}

#[tokio::test]
async fn a_server_without_a_database_ends_as_well() {
    let mut server = Process::start("postgres://u@127.0.0.1:1/d", &[]).await;
    assert_eq!(Ask::new(server.addr, "GET", "/ready").await.status, 503);
    server.signal("TERM");
    assert_eq!(server.end().await, Some(0));
}
