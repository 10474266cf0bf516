//! `kill -9` of one backend, its return, then of another.

use lb_tests::backend::Backends;
use lb_tests::lb::Lb;
use lb_tests::load::Counts;
use lb_tests::report::{length, row};

use super::{steady, users};

/// Runs the drill with these settings of the upstream, and says what the clients saw.
async fn drill(settings: &str) -> (Counts, f64) {
    let mut backends = Backends::start(3).await;
    let lb = Lb::start(&users(&backends.addrs(), settings)).await;
    for address in backends.addrs() {
        lb.wait_for_state("users", address, "healthy").await;
    }
    let load = steady(&backends, lb.listen()).await.start();
    load.go_on(length(1, 20), 200).await;
    for victim in [0, 1] {
        backends.all[victim].crash();
        load.go_on(length(2, 30), 300).await;
        backends.all[victim].restart().await;
        lb.wait_for_state("users", backends.all[victim].addr(), "healthy").await;
        load.go_on(length(1, 20), 200).await;
    }
    let counts = load.stop().await;
    lb.wait_until_idle().await;
    let retries = lb.metrics().await.sum("lb_retries_total", &[]);
    (counts, retries)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_killed_costs_no_request() {
    let (without, _) = drill("retry = \"off\"").await;
    assert!(
        without.failed() > 0,
        "without retries nothing failed, so this tests nothing: {without}"
    );
    let (counts, retries) = drill("").await;
    counts.assert_none_failed();
    assert!(retries > 0.0, "nothing was retried");
    let notes = format!("{retries} retries; the slowest request took {:?}", counts.slowest);
    row(
        "kill -9 of one of three backends, then of another",
        counts.total(),
        counts.failed(),
        Some(without.failed()),
        &notes,
    );
}
