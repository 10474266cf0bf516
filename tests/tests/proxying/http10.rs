//! HTTP/1.0 clients.

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::DEADLINE;

use super::{plain, smallest};

#[tokio::test]
async fn an_http_1_0_client_is_served_and_its_connection_ends() {
    let (lb, origin) = plain().await;
    let (answer, mut connection) = lb.send_raw("GET /x HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "origin"));
    assert!(connection.ended_within(DEADLINE).await.is_some());
    assert_eq!(origin.last().target, "/x");
}

#[tokio::test]
async fn the_shortest_request_there_is_is_served() {
    let (lb, _origin) = plain().await;
    let (answer, _) = lb.send_raw("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(answer.text(), "origin");
}

#[tokio::test]
async fn an_http_1_0_client_gets_no_chunks() {
    let origin = Origin::start(|_| Reply::new(200).chunked(&["one", "two"])).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let answer = lb.send(&Request::get("/").http10()).await;
    assert!(!answer.headers.has("transfer-encoding"), "{:?}", answer.headers);
    assert_eq!((answer.text().as_str(), answer.keeps_alive), ("onetwo", false));
}

#[tokio::test]
async fn an_http_1_0_post_has_its_body() {
    let origin = Origin::start(|_| Reply::echo()).await;
    let lb = Lb::start(&smallest(&origin)).await;
    assert_eq!(lb.send(&Request::post("/", "body").http10()).await.text(), "body");
}
