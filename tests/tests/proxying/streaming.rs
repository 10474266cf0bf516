//! Bodies pass while they arrive: the first byte is there before the last one is sent.

use lb_tests::client::Request;
use lb_tests::framing::chunked;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};
use lb_tests::wait::until;

use super::smallest;

#[tokio::test]
async fn an_answer_reaches_the_client_while_the_server_still_writes() {
    let origin = Origin::start(|seen| {
        if seen.target == "/length" {
            let head = Step::write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst");
            return Reply::script(vec![head, Step::Hold, Step::write("last")]);
        }
        let wire = chunked(&["first", "last"]);
        let head = Step::write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        Reply::script(vec![head, Step::write(&wire[..10]), Step::Hold, Step::write(&wire[10..])])
    })
    .await;
    let lb = Lb::start(&smallest(&origin)).await;
    for target in ["/length", "/chunks"] {
        let mut connection = lb.connect().await;
        connection.write(Request::get(target).bytes()).await;
        assert_eq!(connection.head("GET").await.unwrap().status, 200);
        assert_eq!(connection.data().await.unwrap().unwrap(), "first", "{target}");
        origin.release(1);
        assert_eq!(connection.data().await.unwrap().unwrap(), "last", "{target}");
        assert_eq!(connection.data().await.unwrap(), None, "{target}");
    }
}

#[tokio::test]
async fn a_head_reaches_the_client_before_the_body_begins() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let origin = Origin::start(move |_| {
        let event = |text: &str| Step::write(format!("{:x}\r\n{text}\r\n", text.len()));
        Reply::script(vec![
            Step::write(head),
            Step::Hold,
            event("data: 1\n\n"),
            Step::Hold,
            event("data: 2\n\n"),
            Step::Hold,
            Step::Close,
        ])
    })
    .await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    connection.write(Request::get("/events").bytes()).await;
    assert_eq!(
        connection.head("GET").await.unwrap().headers.get("content-type"),
        Some("text/event-stream")
    );
    origin.release(1);
    assert_eq!(connection.data().await.unwrap().unwrap(), "data: 1\n\n");
    origin.release(1);
    assert_eq!(connection.data().await.unwrap().unwrap(), "data: 2\n\n");
    drop(connection);
    until("the client's leaving reaches the server", async || origin.open_connections() == 0).await;
}

#[tokio::test]
async fn a_request_s_body_reaches_the_server_while_the_client_still_sends() {
    let origin = Origin::start(|_| Reply::echo()).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    connection
        .write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nfirst")
        .await;
    until("the first half is at the server", async || {
        origin.requests().iter().any(|seen| seen.body == b"first")
    })
    .await;
    assert!(!origin.last().whole);
    connection.write("last").await;
    assert_eq!(connection.response("POST").await.unwrap().text(), "firstlast");

    connection
        .write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        .await;
    until("the first chunk is at the server", async || origin.last().body == b"one").await;
    connection.write("3\r\ntwo\r\n0\r\n\r\n").await;
    assert_eq!(connection.response("POST").await.unwrap().text(), "onetwo");
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_s_end_is_passed_on() {
    let origin = Origin::start(|_| Reply::new(401).header("Connection", "close").body("no").early().then(Step::Close)).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    connection
        .write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nonly the start")
        .await;
    let answer = connection.response("POST").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (401, "no"));
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_the_request_at_the_server() {
    let origin = Origin::held("late").await;
    let lb = Lb::start(&smallest(&origin)).await;
    for _ in 0..3 {
        let mut connection = lb.connect().await;
        connection.write(Request::get("/").bytes()).await;
        until("the request is at the server", async || origin.active() == 1).await;
        connection.reset();
        until("it is over there", async || origin.active() == 0).await;
    }
    lb.wait_until_idle().await;
}
