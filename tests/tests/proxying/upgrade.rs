//! WebSocket and other upgrades: a tunnel after a real 101, and only then.

use std::time::Duration;

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};
use lb_tests::wait::until;

use super::smallest;

fn upgrade() -> Request {
    let request = Request::get("/chat").header("Connection", "Upgrade").header("Upgrade", "websocket");
    request
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
}

#[tokio::test]
async fn after_a_101_bytes_pass_both_ways_until_either_side_ends() {
    let origin = Origin::start(|_| Reply::tunnel("websocket")).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    let answer = connection.send(&upgrade()).await.unwrap();
    assert_eq!((answer.status, answer.header("upgrade")), (101, "websocket"));
    assert!(answer.headers.lists("connection", "upgrade"));
    let seen = origin.last();
    assert_eq!(seen.header("upgrade"), "websocket");
    assert!(seen.headers.lists("connection", "upgrade"));
    assert_eq!(seen.header("sec-websocket-key"), "dGhlIHNhbXBsZSBub25jZQ==");
    // bytes that are no HTTP, and more of them than a buffer holds
    for message in [b"\x81\x05hello".to_vec(), b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0xff; 200_000]] {
        connection.write(&message).await;
        assert_eq!(connection.exactly(message.len()).await.unwrap(), message);
    }
    until("the session is counted", async || {
        lb.server("app", origin.addr()).await.in_flight == 1
    })
    .await;
    drop(connection);
    until("the session ends at the server", async || origin.open_connections() == 0).await;
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn the_server_may_end_a_session_too() {
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
    let origin = Origin::start(move |_| Reply::script(vec![Step::write(head), Step::Close])).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    assert_eq!(connection.send(&upgrade()).await.unwrap().status, 101);
    // sent in one piece with the head
    assert_eq!(connection.exactly(5).await.unwrap(), "hello");
    assert!(connection.ended_within(Duration::from_secs(20)).await.is_some());
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn a_server_that_declines_leaves_an_ordinary_connection() {
    let origin = Origin::named("no").await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    let answer = connection.send(&upgrade()).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "no"));
    if answer.keeps_alive {
        assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "no");
    }
    lb.wait_until_idle().await;
}
