//! A rolling restart: SIGTERM to each backend in turn, its orderly end, and its return.
//!
//! Nothing may fail here, not even what must not be sent twice: a backend says by its `/ready` that it is about to go, and still serves
//! until `lb` has noticed.

use lb_tests::backend::Backends;
use lb_tests::lb::Lb;
use lb_tests::report::{full, length, row};

use super::writers::Writers;
use super::{shown, steady, users};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_all_backends_costs_no_request() {
    // a little more than interval × fall, as docs/BACKEND.md asks for
    let mut backends = Backends::start_with(3, &[("DRAIN_DELAY", "1500ms")]).await;
    let lb = Lb::start(&users(&backends.addrs(), "")).await;
    for address in backends.addrs() {
        lb.wait_for_state("users", address, "healthy").await;
    }
    let load = steady(&backends, lb.listen()).await.start();
    let writers = Writers::start(4, lb.listen(), backends.all[0].addr()).await;
    let rounds = if full() { 4 } else { 1 };
    for _ in 0..rounds {
        for backend in &mut backends.all {
            load.go_on(length(0, 2), 100).await;
            backend.end().await;
            backend.restart().await;
            lb.wait_for_state("users", backend.addr(), "healthy").await;
        }
    }
    load.go_on(length(1, 5), 100).await;
    let written = writers.stop().await;
    let counts = load.stop().await;
    counts.assert_none_failed();
    assert!(written.failed.is_empty(), "{} POSTs failed", written.failed.len());
    written.assert_none_twice(backends.all[0].addr()).await;
    lb.wait_until_idle().await;
    let retries = lb.metrics().await.sum("lb_retries_total", &[]);
    let notes = format!(
        "{} restarts; {} POSTs among them; {retries} retries; 99th percentile {}, slowest {}",
        3 * rounds,
        written.created,
        shown(counts.percentile(99)),
        shown(counts.slowest)
    );
    row(
        "rolling restart of three backends",
        counts.total() + written.created,
        counts.failed(),
        None,
        &notes,
    );
}
