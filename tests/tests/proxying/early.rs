//! Answers that come while the client still sends its body.

use lb_tests::client::{Connection, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};
use lb_tests::wait::{DEADLINE, until};

use super::smallest;

const LARGE: usize = 8 << 20;

/// Writes a body while it reads the answer, as a client does that does not look up from its work.
async fn upload(lb: &Lb) -> (lb_tests::client::Response, Connection) {
    let mut connection = lb.connect().await;
    connection.write(Request::post("/", vec![b'x'; LARGE]).head_bytes()).await;
    for _ in 0..LARGE >> 16 {
        if connection.ready_within(std::time::Duration::ZERO).await {
            break;
        }
        connection.write(vec![b'x'; 1 << 16]).await;
    }
    let answer = connection.response("POST").await.expect("an answer");
    (answer, connection)
}

#[tokio::test]
async fn a_refusal_of_the_server_s_reaches_a_client_that_still_uploads() {
    for last in [Step::Close, Step::Hold] {
        let origin = Origin::start(move |_| {
            let refusal = Reply::new(413).header("Connection", "close").header("X-Mine", "1").body("too much");
            refusal.early().then(last.clone())
        })
        .await;
        // a client that goes on sending is listened to for a while, so that the answer is not lost to a reset
        let lb = Lb::start(&format!("[limits]\nbody_timeout = \"1s\"\n\n{}", smallest(&origin))).await;
        let (answer, mut connection) = upload(&lb).await;
        assert_eq!(
            (answer.status, answer.header("x-mine"), answer.text().as_str()),
            (413, "1", "too much")
        );
        assert!(!answer.cut && !answer.keeps_alive, "half a body is on its way: {answer:?}");
        assert!(connection.ended_within(DEADLINE).await.is_some());
        until("the upload is over at the server", async || origin.open_connections() == 0).await;
        lb.wait_until_idle().await;
    }
}

#[tokio::test]
async fn a_server_that_answers_early_and_reads_on_gets_the_whole_body() {
    let origin = Origin::start(|seen| {
        if seen.method == "POST" {
            Reply::new(200).body("early").early()
        } else {
            Reply::text("next")
        }
    })
    .await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    connection.write(Request::post("/", vec![b'x'; 100_000]).head_bytes()).await;
    let answer = connection.response("POST").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "early"));
    connection.write(vec![b'x'; 100_000]).await;
    if answer.keeps_alive {
        // the body is the last request's, to its end, and no request
        assert_eq!(connection.send(&Request::get("/next")).await.unwrap().text(), "next");
    } else {
        assert!(connection.ended_within(DEADLINE).await.is_some());
    }
    assert_eq!(lb.get("/other").await.text(), "next");
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn a_refusal_of_lb_s_own_reaches_a_client_that_still_uploads() {
    let origin = Origin::named("origin").await;
    let lb = Lb::start(&format!("[limits]\nmax_body = \"1MB\"\n\n{}", smallest(&origin))).await;
    let (answer, mut connection) = upload(&lb).await;
    answer.assert_problem(413);
    assert!(connection.ended_within(DEADLINE).await.is_some());
    assert_eq!(origin.count(), 0);
}
