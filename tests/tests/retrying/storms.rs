//! When every server fails, retries do not make it worse.

use std::time::{Duration, Instant};

use lb_tests::lb::Lb;
use lb_tests::load::Load;
use lb_tests::origin::{Refusing, Reply};
use lb_tests::servers;

use super::{app, counts, origins};

/// Requests from 24 connections for some seconds: how many there were, and how many tries the servers may see at most.
async fn storm(lb: &Lb) -> (usize, usize) {
    let start = Instant::now();
    let load = Load::new(lb.listen(), &["/"])
        .connections(24)
        .pace(Duration::from_millis(10))
        .start();
    load.go_on(Duration::from_secs(4), 300).await;
    let counts = load.stop().await;
    let sent = counts.total();
    assert_eq!(counts.failed(), sent, "every server fails, and so does every request");
    // A second more than has passed: ten may come at once.
    (sent, sent + sent / 5 + 10 * (start.elapsed().as_secs() as usize + 2))
}

async fn assert_no_storm(reply: Reply, what: &str) {
    let origins = origins(3, move |_| reply.clone()).await;
    let settings = "timeouts = { read = \"100ms\" }\nretry = { attempts = 3, budget_percent = 20 }";
    let lb = Lb::start(&app(&origins, settings)).await;
    let (sent, most) = storm(&lb).await;
    let tries: usize = counts(&origins).iter().sum();
    assert!(tries <= most, "{what}: {tries} tries of {sent} requests where {most} are the most");
    assert!(tries > sent, "{what}: nothing was retried");
    let retries = lb.metrics().await.sum("lb_retries_total", &[("upstream", "app")]) as usize;
    // What is under way at the end may be on one side only.
    assert!(
        retries.abs_diff(tries - sent) <= 24,
        "{what}: {retries} retries counted, {tries} tries of {sent}"
    );
}

#[tokio::test]
async fn statuses() {
    assert_no_storm(Reply::new(503).body("mine"), "503").await;
}

#[tokio::test]
async fn resets() {
    assert_no_storm(Reply::reset(), "resets").await;
}

#[tokio::test]
async fn timeouts() {
    assert_no_storm(Reply::never(), "timeouts").await;
}

#[tokio::test]
async fn refused_connections() {
    let refusing: Vec<_> = (0..3).map(|_| Refusing::start()).collect();
    let addresses: Vec<_> = refusing.iter().map(Refusing::addr).collect();
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\npassive_health = \"off\"\n",
        servers(&addresses)
    ))
    .await;
    let (sent, _) = storm(&lb).await;
    let dialled = lb.metrics().await.sum("lb_upstream_requests_total", &[("upstream", "app")]) as usize;
    assert!(
        dialled <= 3 * (sent + 24),
        "{dialled} connections were tried for {sent} requests: a server was tried twice"
    );
}

#[tokio::test]
async fn a_request_does_not_dial_a_large_pool_from_end_to_end() {
    let refusing: Vec<_> = (0..80).map(|_| Refusing::start()).collect();
    let addresses: Vec<_> = refusing.iter().map(Refusing::addr).collect();
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\npassive_health = \"off\"\n",
        servers(&addresses)
    ))
    .await;
    lb.get("/").await.assert_problem(502);
    assert_eq!(lb.metrics().await.sum("lb_upstream_requests_total", &[("upstream", "app")]), 64.0);
}
