//! Deadlines towards clients.

use std::time::{Duration, Instant};

use lb_tests::client::{Connection, Failure, Request, Response};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::DEADLINE;
use tokio::time::sleep;

use super::smallest;

async fn with_limits(limits: &str) -> (Lb, Origin) {
    let origin = Origin::start(|_| Reply::echo()).await;
    let lb = Lb::start(&format!("[limits]\n{limits}\n\n{}", smallest(&origin))).await;
    (lb, origin)
}

/// Sends a head one byte at a time, slowly, until an answer comes; says how long that took.
async fn drip(connection: &mut Connection) -> (Result<Response, Failure>, Duration) {
    let start = Instant::now();
    let head = format!("GET /{} HTTP/1.1\r\n", "x".repeat(1000));
    for byte in head.bytes() {
        connection.write([byte]).await;
        // the pause is the attack: a server that counts from byte to byte never ends it
        if connection.ready_within(Duration::from_millis(100)).await || start.elapsed() > DEADLINE {
            break;
        }
    }
    (connection.response("GET").await, start.elapsed())
}

#[tokio::test]
async fn c30_a_head_has_one_deadline_as_a_whole_on_a_new_connection() {
    let (lb, _origin) = with_limits("header_timeout = \"1s\"").await;
    let mut connection = lb.connect().await;
    let (answer, took) = drip(&mut connection).await;
    answer.expect("an answer to a head that does not end").assert_problem(408);
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
    assert!(connection.ended_within(DEADLINE).await.is_some());
}

#[tokio::test]
async fn c30_and_so_has_the_second_one_of_a_connection() {
    let (lb, _origin) = with_limits("header_timeout = \"1s\"").await;
    let mut connection = lb.connect().await;
    assert_eq!(connection.send(&Request::post("/", "a")).await.unwrap().text(), "a");
    // the time between two requests does not count
    sleep(Duration::from_millis(1200)).await;
    let (answer, took) = drip(&mut connection).await;
    answer.expect("an answer to a head that does not end").assert_problem(408);
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
    assert!(connection.ended_within(DEADLINE).await.is_some());
}

#[tokio::test]
async fn c30_five_hundred_slow_heads_do_not_harm_the_others() {
    let (lb, _origin) = with_limits("header_timeout = \"1s\"").await;
    let mut slow = Vec::new();
    for _ in 0..500 {
        let mut connection = lb.connect().await;
        connection.write("GET / HT").await;
        slow.push(connection);
    }
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(lb.send(&Request::post("/", "a")).await.text(), "a");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
    for mut connection in slow {
        connection.response("GET").await.unwrap().assert_problem(408);
    }
}

#[tokio::test]
async fn a_request_s_body_may_not_stall() {
    let (lb, origin) = with_limits("body_timeout = \"500ms\"").await;
    for head in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let (answer, mut connection) = lb.send_raw(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}")).await;
        answer.assert_problem(408);
        assert!(connection.ended_within(DEADLINE).await.is_some());
    }
    assert!(origin.requests().iter().all(|seen| !seen.whole));
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_order() {
    let (lb, _origin) = with_limits("idle_timeout = \"500ms\"").await;
    let mut connection = lb.connect().await;
    assert_eq!(connection.send(&Request::post("/", "a")).await.unwrap().text(), "a");
    let start = Instant::now();
    // nothing is said on it: an idle client is no error
    assert_eq!(connection.response("GET").await.unwrap_err(), Failure::Reset);
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
}
