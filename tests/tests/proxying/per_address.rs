//! `max_connections_per_ip`: over it, a connection is closed as soon as it was accepted.

use std::net::IpAddr;

use lb_tests::client::{Connection, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::wait::{DEADLINE, until};

use super::smallest;

const LIMIT: &str = "[limits]\nmax_connections_per_ip = 3\n\n";

/// An address of this machine that is not the harness's own.
fn client(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

async fn served(lb: &Lb, from: IpAddr) -> Connection {
    let mut connection = Connection::open_from(from, lb.listen()).await.unwrap();
    assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "origin", "{from}");
    connection
}

/// Whether a connection is closed before it is served. The client may learn it as it connects, or later.
async fn is_refused(lb: &Lb, from: IpAddr, target: &str) -> bool {
    let Ok(mut over) = Connection::open_from(from, lb.listen()).await else {
        return true;
    };
    over.write(Request::get(target).bytes()).await;
    over.response("GET").await.is_err() && over.ended_within(DEADLINE).await.is_some()
}

/// Whether an answer of that status comes.
async fn is_answered(lb: &Lb, from: IpAddr, request: &Request, status: u16) -> bool {
    match Connection::open_from(from, lb.listen()).await {
        Ok(mut connection) => connection.send(request).await.is_ok_and(|answer| answer.status == status),
        Err(_) => false,
    }
}

#[tokio::test]
async fn over_the_limit_of_its_address_a_connection_is_closed_at_once() {
    let origin = Origin::named("origin").await;
    let lb = Lb::start(&format!("{LIMIT}{}", smallest(&origin))).await;
    let mut kept = Vec::new();
    for _ in 0..3 {
        kept.push(served(&lb, client(2)).await);
    }
    for _ in 0..5 {
        assert!(is_refused(&lb, client(2), "/over").await, "it was served, or stayed open");
    }
    // nobody else is concerned, nor are those that were there
    let _other = served(&lb, client(3)).await;
    for connection in &mut kept {
        assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "origin");
    }
    assert_eq!(origin.count_of("/over"), 0);
    let refused = [("limit", "max_connections_per_ip")];
    assert_eq!(lb.metrics().await.sum("lb_rate_limited_total", &refused), 5.0);
    // a place that was left is free
    drop(kept.pop());
    until("the address may come again", async || {
        is_answered(&lb, client(2), &Request::get("/"), 200).await
    })
    .await;
}

#[tokio::test]
async fn a_trusted_proxy_may_have_as_many_as_it_wants() {
    let origin = Origin::named("origin").await;
    let server = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\ntrusted_proxies = [\"127.0.0.4\"]\n\n";
    let lb = Lb::start(&format!("{server}{LIMIT}{}", smallest(&origin))).await;
    let mut kept = Vec::new();
    for _ in 0..10 {
        kept.push(served(&lb, client(4)).await);
    }
}

#[tokio::test]
async fn a_tunnel_counts_until_it_ends() {
    let origin = Origin::start(|_| lb_tests::origin::Reply::tunnel("websocket")).await;
    let lb = Lb::start(&format!("[limits]\nmax_connections_per_ip = 1\n\n{}", smallest(&origin))).await;
    let upgrade = Request::get("/").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let mut tunnel = Connection::open_from(client(5), lb.listen()).await.unwrap();
    assert_eq!(tunnel.send(&upgrade).await.unwrap().status, 101);
    assert!(is_refused(&lb, client(5), "/").await, "the tunnel was not counted");
    drop(tunnel);
    until("the place is free again", async || is_answered(&lb, client(5), &upgrade, 101).await).await;
}

#[tokio::test]
async fn a_reload_changes_it_for_those_who_come_then() {
    let origin = Origin::named("origin").await;
    let mut lb = Lb::start(&smallest(&origin)).await;
    let mut kept = Vec::new();
    for _ in 0..5 {
        kept.push(served(&lb, client(6)).await);
    }
    lb.reload(&format!("{LIMIT}{}", smallest(&origin))).await;
    assert!(is_refused(&lb, client(6), "/over").await, "it was served, or stayed open");
    for connection in &mut kept {
        assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "origin");
    }
    lb.reload(&smallest(&origin)).await;
    kept.push(served(&lb, client(6)).await);
}
