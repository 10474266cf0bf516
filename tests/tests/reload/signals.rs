//! Signals that do not end anything, and those that do.

use std::time::Duration;

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::process::Signal;
use lb_tests::wait::{DEADLINE, until};

use super::versioned;

#[tokio::test]
async fn sigusr2_is_logged_and_ends_nothing() {
    let origin = Origin::named("origin").await;
    let mut lb = Lb::start(&versioned(&origin, 1)).await;
    let before = lb.stderr().len();
    lb.process.signal(Signal::USR2);
    until("something about it is in the log", async || {
        assert!(lb.process.ended().is_none(), "SIGUSR2 ended it");
        lb.stderr()[before..].to_uppercase().contains("USR2")
    })
    .await;
    assert_eq!(lb.get("/version").await.text(), "1");
}

#[tokio::test]
async fn an_idle_lb_ends_at_once_and_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let origin = Origin::named("origin").await;
        let mut lb = Lb::start(&versioned(&origin, 1)).await;
        let mut idle = lb.connect().await;
        assert_eq!(idle.send(&Request::get("/")).await.unwrap().status, 200);
        lb.process.signal(signal);
        // far below the grace period of 30 s, though a client is still connected
        assert_eq!(lb.exit_within(Duration::from_secs(10)).await.code(), Some(0), "{signal:?}");
        assert!(idle.ended_within(DEADLINE).await.is_some());
    }
}

#[tokio::test]
async fn a_reload_that_is_asked_for_in_quick_succession_ends_with_the_last_file() {
    let origin = Origin::named("origin").await;
    let mut lb = Lb::start(&versioned(&origin, 0)).await;
    for version in 1..=50 {
        lb.write_config(&versioned(&origin, version));
        lb.process.signal(Signal::HUP);
    }
    until("the last one is in use", async || lb.get("/version").await.text() == "50").await;
}

#[tokio::test]
async fn whom_the_kernel_had_let_in_before_the_end_is_served() {
    let origin = Origin::held("late").await;
    let mut lb = Lb::start(&format!("[limits]\nmax_connections = 2\n\n{}", versioned(&origin, 1))).await;
    until("the harness's own connections are gone", async || {
        lb.metrics().await.sum("lb_connections", &[]) == 0.0
    })
    .await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut connection = lb.connect().await;
        connection.write(Request::get("/").bytes()).await;
        busy.push(connection);
    }
    origin.wait_for(2).await;
    // There is no room for these yet.
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let mut connection = lb.connect().await;
        connection.write(Request::get("/version").bytes()).await;
        waiting.push(connection);
    }
    lb.terminate();
    until("it drains", async || lb.stderr().contains("stopping")).await;
    origin.release_all();
    for connection in &mut busy {
        assert_eq!(connection.response("GET").await.unwrap().text(), "late");
    }
    for connection in &mut waiting {
        assert_eq!(connection.response("GET").await.unwrap().text(), "1");
    }
    assert_eq!(lb.exit_within(DEADLINE).await.code(), Some(0));
}
