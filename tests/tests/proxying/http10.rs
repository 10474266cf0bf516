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

#[tokio::test]
async fn a_request_without_a_host_reaches_the_server_with_one() {
    let (lb, origin) = plain().await;
    let (answer, _) = lb.send_raw("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    // HTTP/1.1 without a Host is malformed (RFC 9112 §3.2)
    let seen = origin.last();
    assert!(seen.version == 0 || seen.headers.has("host"), "{:?}", seen.headers);
}

#[tokio::test]
async fn an_http_1_0_client_that_asks_to_go_on_may() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/chunks" => Reply::new(200).chunked(&["one", "two"]),
        "/until-close" => Reply::new(200).until_close("onetwo"),
        _ => Reply::text("onetwo"),
    })
    .await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    for target in ["/length", "/length", "/chunks", "/length", "/until-close", "/length"] {
        let answer = connection
            .send(&Request::get(target).http10().header("Connection", "keep-alive"))
            .await
            .unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str(), answer.cut),
            (200, "onetwo", false),
            "{target}"
        );
        if !answer.keeps_alive {
            assert!(connection.ended_within(DEADLINE).await.is_some(), "{target}");
            connection = lb.connect().await;
        }
    }
}
