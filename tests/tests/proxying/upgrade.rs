//! WebSocket and other upgrades: a tunnel after a real 101, and only then.

use std::time::Duration;

use lb_tests::client::Request;
use lb_tests::engine::lacks;
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

/// Agrees to any upgrade, and then does this.
fn agrees(then: Vec<Step>) -> Reply {
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    Reply::script([vec![Step::write(head)], then].concat())
}

#[tokio::test]
async fn any_other_protocol_is_tunnelled_too() {
    let origin = Origin::start(|_| Reply::tunnel("my-protocol/3")).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    let request = Request::get("/")
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", "my-protocol/3");
    let answer = connection.send(&request).await.unwrap();
    assert_eq!((answer.status, answer.header("upgrade")), (101, "my-protocol/3"));
    assert_eq!(origin.last().header("upgrade"), "my-protocol/3");
    connection.write("\0\x01\x02").await;
    assert_eq!(connection.exactly(3).await.unwrap(), "\0\x01\x02");
}

#[tokio::test]
async fn an_upgrade_that_the_connection_field_does_not_name_is_none() {
    let origin = Origin::named("plain").await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    for request in [
        Request::get("/").header("Upgrade", "websocket"),
        Request::get("/").header("Upgrade", "websocket").header("Connection", "keep-alive"),
        Request::get("/").header("Connection", "Upgrade"),
    ] {
        assert_eq!(connection.send(&request).await.unwrap().text(), "plain");
        assert!(!origin.last().headers.has("upgrade"), "{:?}", origin.last().headers);
        assert!(!origin.last().headers.lists("connection", "upgrade"), "{:?}", origin.last().headers);
    }
}

#[tokio::test]
async fn a_server_that_asks_for_another_protocol_or_none_is_passed_on() {
    let origin = Origin::start(|seen| {
        let status = if seen.target == "/426" { 426 } else { 200 };
        Reply::new(status).header("X-Mine", "1").body("no")
    })
    .await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    for (target, status) in [("/426", 426), ("/200", 200)] {
        let request = Request::get(target).header("Connection", "Upgrade").header("Upgrade", "websocket");
        let answer = connection.send(&request).await.unwrap();
        assert_eq!(
            (answer.status, answer.header("x-mine"), answer.text().as_str()),
            (status, "1", "no")
        );
        // what follows is HTTP still, and no tunnel
        if !answer.keeps_alive {
            connection = lb.connect().await;
        }
        assert_eq!(connection.send(&Request::get("/next")).await.unwrap().status, 200);
    }
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_is_502() {
    let origin = Origin::start(|_| agrees(vec![Step::write("forged"), Step::Tunnel])).await;
    let lb = Lb::start(&format!("{}passive_health = \"off\"\nretry = \"off\"\n", smallest(&origin))).await;
    for request in [
        Request::get("/"),
        Request::get("/").header("Upgrade", "websocket"),
        Request::post("/", "x"),
    ] {
        lb.send(&request).await.assert_problem(502);
    }
    until("none of its connections is kept", async || origin.open_connections() == 0).await;
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn a_client_that_has_said_all_still_gets_what_the_server_has_to_say() {
    if lacks("half-closed tunnels") {
        return;
    }
    let origin = Origin::start(|_| agrees(vec![Step::ReadToEnd, Step::write("the last word"), Step::Close])).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    assert_eq!(connection.send(&upgrade()).await.unwrap().status, 101);
    connection.write("all").await;
    connection.finish_writing().await;
    assert_eq!(connection.exactly(13).await.unwrap(), "the last word");
    assert!(connection.ended_within(Duration::from_secs(20)).await.is_some());
    assert!(origin.raw(origin.last().connection).ends_with(b"all"));
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn a_server_that_has_said_all_ends_the_session_when_the_client_has_it_all() {
    let last = vec![b'x'; 3_000_000];
    let origin = Origin::start(move |_| agrees(vec![Step::write(&last), Step::FinishWriting, Step::ReadToEnd, Step::Close])).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    assert_eq!(connection.send(&upgrade()).await.unwrap().status, 101);
    assert_eq!(connection.exactly(3_000_000).await.unwrap().len(), 3_000_000);
    assert!(connection.ended_within(Duration::from_secs(20)).await.is_some());
    until("the session ends at the server", async || origin.open_connections() == 0).await;
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn bytes_of_a_client_that_does_not_wait_for_the_101_are_kept_for_it() {
    let origin = Origin::start(|_| Reply::tunnel("websocket").after(Duration::from_millis(100))).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    connection.write([upgrade().bytes(), b"early".to_vec()].concat()).await;
    assert_eq!(connection.response("GET").await.unwrap().status, 101);
    assert_eq!(connection.exactly(5).await.unwrap(), "early");
}

#[tokio::test]
async fn a_tunnel_is_counted_as_active_and_a_reset_ends_it_on_both_sides() {
    let origin = Origin::start(|_| Reply::tunnel("websocket")).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut tunnels = Vec::new();
    for _ in 0..3 {
        let mut connection = lb.connect().await;
        assert_eq!(connection.send(&upgrade()).await.unwrap().status, 101);
        tunnels.push(connection);
    }
    let active = async || lb.metrics().await.sum("lb_upstream_active_requests", &[("upstream", "app")]);
    until("all three are counted", async || active().await == 3.0).await;
    tunnels.into_iter().for_each(lb_tests::client::Connection::reset);
    until("none is any more", async || active().await == 0.0 && origin.open_connections() == 0).await;
}

#[tokio::test]
async fn a_tunnel_outlives_the_timeouts_of_requests() {
    let origin = Origin::start(|_| Reply::tunnel("websocket")).await;
    let limits = "[limits]\nheader_timeout = \"200ms\"\nbody_timeout = \"200ms\"\nidle_timeout = \"200ms\"\n\n";
    let lb = Lb::start(&format!("{limits}{}timeouts = {{ idle = \"200ms\" }}\n", smallest(&origin))).await;
    let mut connection = lb.connect().await;
    assert_eq!(connection.send(&upgrade()).await.unwrap().status, 101);
    for _ in 0..2 {
        // a quiet session is no idle connection
        tokio::time::sleep(Duration::from_millis(1500)).await;
        connection.write("ping").await;
        assert_eq!(connection.exactly(4).await.unwrap(), "ping");
    }
}
