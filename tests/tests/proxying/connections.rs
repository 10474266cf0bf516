//! Client connections: kept, shared out, pipelined.

use lb_tests::client::{Connection, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::{DEADLINE, until};

use super::{plain, smallest};

#[tokio::test]
async fn a_connection_serves_many_requests_and_so_does_the_one_behind_it() {
    let (lb, origin) = plain().await;
    let mut connection = lb.connect().await;
    for _ in 0..20 {
        let answer = connection.send(&Request::get("/")).await.unwrap();
        assert!(answer.keeps_alive);
    }
    assert_eq!(origin.count(), 20);
    assert!(
        origin.connections() <= 2,
        "{} connections for 20 requests one after the other",
        origin.connections()
    );
}

#[tokio::test]
async fn keepalive_0_keeps_no_connection_to_a_server() {
    let origin = Origin::named("origin").await;
    let lb = Lb::start(&format!("{}keepalive = 0\n", smallest(&origin))).await;
    for _ in 0..5 {
        assert_eq!(lb.get("/").await.text(), "origin");
    }
    assert_eq!(origin.connections(), 5);
    until("no connection is kept", async || origin.open_connections() == 0).await;
}

#[tokio::test]
async fn a_client_that_asks_for_the_end_gets_it() {
    let (lb, origin) = plain().await;
    let mut connection = lb.connect().await;
    let answer = connection.send(&Request::get("/").header("Connection", "close")).await.unwrap();
    assert_eq!((answer.text().as_str(), answer.keeps_alive), ("origin", false));
    assert!(connection.ended_within(DEADLINE).await.is_some());
    // that is between the client and lb
    assert!(!origin.last().headers.lists("connection", "close"));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|seen| Reply::text(&seen.target)).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    let post = Request::post("/2", "a body").bytes();
    connection
        .write(
            [
                Request::get("/1").bytes(),
                post,
                Request::get("/3").bytes(),
                Request::head("/4").bytes(),
                Request::get("/5").bytes(),
            ]
            .concat(),
        )
        .await;
    for (method, body) in [("GET", "/1"), ("POST", "/2"), ("GET", "/3"), ("HEAD", ""), ("GET", "/5")] {
        assert_eq!(connection.response(method).await.unwrap().text(), body);
    }
    assert_eq!(
        origin.requests().iter().map(|seen| seen.target.as_str()).collect::<Vec<_>>(),
        ["/1", "/2", "/3", "/4", "/5"]
    );
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let (lb, _origin) = plain().await;
    let mut connection = lb.connect().await;
    for byte in Request::get("/slowly").bytes() {
        connection.write([byte]).await;
    }
    assert_eq!(connection.response("GET").await.unwrap().text(), "origin");
}

#[tokio::test]
async fn over_max_connections_the_longest_idle_one_is_closed() {
    let origin = Origin::named("origin").await;
    let lb = Lb::start(&format!("[limits]\nmax_connections = 3\n\n{}", smallest(&origin))).await;
    until("the harness's own connections are gone", async || {
        lb.metrics().await.sum("lb_connections", &[]) == 0.0
    })
    .await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut connection = lb.connect().await;
        assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "origin");
        idle.push(connection);
    }
    let mut fourth = lb.connect().await;
    assert_eq!(fourth.send(&Request::get("/")).await.unwrap().text(), "origin");
    assert!(idle[0].ended_within(DEADLINE).await.is_some(), "the longest idle one stayed open");
    for younger in &mut idle[1..] {
        assert_eq!(younger.send(&Request::get("/")).await.unwrap().text(), "origin");
    }
}

#[tokio::test]
async fn at_max_connections_without_an_idle_one_a_new_one_waits() {
    let origin = Origin::held("late").await;
    let lb = Lb::start(&format!("[limits]\nmax_connections = 2\n\n{}", smallest(&origin))).await;
    until("the harness's own connections are gone", async || {
        lb.metrics().await.sum("lb_connections", &[]) == 0.0
    })
    .await;
    let mut busy: Vec<Connection> = Vec::new();
    for _ in 0..2 {
        let mut connection = lb.connect().await;
        connection.write(Request::get("/").header("Connection", "close").bytes()).await;
        busy.push(connection);
    }
    origin.wait_for(2).await;
    let mut third = lb.connect().await;
    third.write(Request::get("/").bytes()).await;
    assert!(
        !third.ready_within(std::time::Duration::from_millis(300)).await,
        "it was served, or refused"
    );
    assert_eq!(origin.count(), 2);
    origin.release_all();
    for connection in &mut busy {
        assert_eq!(connection.response("GET").await.unwrap().text(), "late");
    }
    assert_eq!(third.response("GET").await.unwrap().text(), "late");
}
