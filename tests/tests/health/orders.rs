//! Servers that an operator drains while requests are under way.

use std::time::Duration;

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::load::Load;
use lb_tests::origin::{Origin, Reply};
use lb_tests::servers;
use lb_tests::wait::until;
use tokio::time::sleep;

#[tokio::test]
async fn a_drained_server_ends_what_it_has_and_gets_nothing_new() {
    for state in ["drain", "down"] {
        let (a, b) = (Origin::held("a").await, Origin::held("b").await);
        let lb = Lb::start(&format!("[upstreams.app]\nservers = [{}]\n", servers(&[a.addr(), b.addr()]))).await;
        let mut open = Vec::new();
        for number in 1..=4 {
            let mut connection = lb.connect().await;
            connection.write(Request::get("/").bytes()).await;
            until("it is at a server", async || a.count() + b.count() == number).await;
            open.push(connection);
        }
        assert_eq!((a.count(), b.count()), (2, 2));
        lb.set_state("app", a.addr(), state).await;
        b.set(|_| Reply::text("b"));
        for _ in 0..10 {
            assert_eq!(lb.get("/").await.text(), "b");
        }
        assert_eq!(lb.server("app", a.addr()).await.in_flight, 2);
        // also on the connections that it has served before
        a.release_all();
        b.release_all();
        for connection in &mut open {
            assert_eq!(connection.response("GET").await.unwrap().status, 200);
            connection.write(Request::get("/").bytes()).await;
            assert_eq!(connection.response("GET").await.unwrap().text(), "b");
        }
        assert_eq!(a.count(), 2, "{state}");
        lb.wait_until_idle().await;
        a.set(|_| Reply::text("a"));
        lb.set_state("app", a.addr(), "ready").await;
        until("it is used again", async || lb.get("/").await.text() == "a").await;
    }
}

#[tokio::test]
async fn with_all_drained_it_is_503_and_no_request_is_sent_on() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let settings = "panic_percent = 100\npassive_health = { failures = 1, window = \"60s\", eject = \"60s\", max_ejected_percent = 100 }";
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\n{settings}\n",
        servers(&[a.addr(), b.addr()])
    ))
    .await;
    // neither the one that is drained nor, with it, the one that is ejected
    a.set(|_| Reply::reset());
    until("it is ejected", async || {
        lb.get("/").await;
        lb.server("app", a.addr()).await.state == "ejected"
    })
    .await;
    lb.set_state("app", a.addr(), "drain").await;
    lb.set_state("app", b.addr(), "down").await;
    let sent = a.count() + b.count();
    for _ in 0..5 {
        let answer = lb.get("/").await;
        answer.assert_problem(503);
        assert!(answer.header("retry-after").parse::<u32>().is_ok());
    }
    assert_eq!(a.count() + b.count(), sent);
}

#[tokio::test]
async fn a_weight_that_is_changed_counts_at_once() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let lb = Lb::start(&format!(
        "[upstreams.app]\nbalance = \"round_robin\"\nservers = [{}]\n",
        servers(&[a.addr(), b.addr()])
    ))
    .await;
    for (weight, due) in [(3, 30), (0, 0), (1, 20)] {
        let answer = lb.order("app", a.addr(), &format!("{{\"weight\": {weight}}}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let before = a.count();
        for _ in 0..40 {
            assert_eq!(lb.get("/").await.status, 200);
        }
        assert_eq!(a.count() - before, due, "weight {weight}");
    }
}

#[tokio::test]
async fn c32_limits_hold_while_servers_are_drained_and_readied_under_load() {
    let mut origins = Vec::new();
    for name in ["a", "b"] {
        origins.push(Origin::start(move |_| Reply::text(name).after(Duration::from_millis(15))).await);
    }
    let list: Vec<_> = origins
        .iter()
        .map(|origin| format!("{{ address = \"{}\", max_connections = 5 }}", origin.addr()))
        .collect();
    let lb = Lb::start(&format!("[upstreams.app]\nservers = [{}]\n", list.join(", "))).await;
    // one server is ready at any time, and every answer is a server's or says that all are full
    let load = Load::new(lb.listen(), &["/"])
        .connections(24)
        .pace(Duration::from_millis(1))
        .start();
    for round in 0..30 {
        let origin = &origins[round % 2];
        lb.set_state("app", origin.addr(), "drain").await;
        sleep(Duration::from_millis(100)).await;
        lb.set_state("app", origin.addr(), "ready").await;
    }
    load.stop().await;
    for origin in &origins {
        assert!(origin.most_active() <= 5, "{} at once", origin.most_active());
        assert!(origin.count() > 10, "only {} requests", origin.count());
    }
    lb.wait_until_idle().await;
}
