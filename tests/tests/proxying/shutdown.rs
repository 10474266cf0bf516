//! SIGTERM: what is under way ends well, and says that it is the last.

use std::time::Duration;

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::{DEADLINE, until};

use super::smallest;

async fn refuses(lb: &Lb) {
    let listen = lb.listen();
    until("new connections are refused", async || {
        lb_tests::client::Connection::open(listen).await.is_err()
    })
    .await;
}

#[tokio::test]
async fn an_upload_under_way_is_taken_to_its_end() {
    let origin = Origin::start(|_| Reply::echo()).await;
    let mut lb = Lb::start(&smallest(&origin)).await;
    let mut half = lb.connect().await;
    half.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nfirst").await;
    let mut chunks = lb.connect().await;
    chunks
        .write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        .await;
    until("both have begun at the server", async || {
        origin.requests().iter().filter(|seen| seen.body == b"first").count() == 2
    })
    .await;
    lb.terminate();
    refuses(&lb).await;
    half.write("last").await;
    chunks.write("4\r\nlast\r\n0\r\n\r\n").await;
    for connection in [&mut half, &mut chunks] {
        let answer = connection.response("POST").await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "firstlast"));
        assert!(connection.ended_within(DEADLINE).await.is_some());
    }
    assert_eq!(lb.exit_within(DEADLINE).await.code(), Some(0));
}

#[tokio::test]
async fn a_head_that_has_begun_to_come_is_served_yet() {
    let origin = Origin::named("served").await;
    let mut lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "served");
    connection.write("GET /begun HTTP/1.1\r\nHo").await;
    // the bytes are there before the signal is: a request that is answered on another connection came after them
    lb.get("/after").await;
    lb.terminate();
    refuses(&lb).await;
    connection.write("st: a\r\n\r\n").await;
    let answer = connection.response("GET").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str(), answer.keeps_alive), (200, "served", false));
    assert_eq!(lb.exit_within(DEADLINE).await.code(), Some(0));
}

#[tokio::test]
async fn an_answer_that_begins_afterwards_says_that_the_connection_ends() {
    let origin = Origin::held("late").await;
    let mut lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    connection.write(Request::get("/").bytes()).await;
    origin.wait_for(1).await;
    lb.terminate();
    refuses(&lb).await;
    origin.release(1);
    let answer = connection.response("GET").await.unwrap();
    assert_eq!((answer.text().as_str(), answer.cut), ("late", false));
    assert!(connection.ended_within(Duration::from_secs(20)).await.is_some());
    assert_eq!(lb.exit_within(DEADLINE).await.code(), Some(0));
}
