//! A backend that hangs: it accepts connections, and never answers.
//!
//! SIGSTOP does just that. The kernel goes on to accept for the process, so what is sent there is not refused and not reset; only time tells.
//! Requests that wait there are given up at the read timeout and repeated elsewhere, and once that has happened a few times, nobody is sent
//! there any more.

use std::time::Duration;

use lb_tests::backend::Backends;
use lb_tests::lb::Lb;
use lb_tests::report::{full, length, row};
use lb_tests::wait::until;

use super::{shown, steady, users};

/// The longest that a request may wait at one server: to connect, and for its answer.
const TIMEOUTS: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_hangs_costs_no_request_and_little_time() {
    let mut backends = Backends::start(3).await;
    let settings = "timeouts = { connect = \"1s\", read = \"500ms\" }\npassive_health = { eject = \"3s\" }";
    let lb = Lb::start(&users(&backends.addrs(), settings)).await;
    for address in backends.addrs() {
        lb.wait_for_state("users", address, "healthy").await;
    }
    let load = steady(&backends, lb.listen()).await.start();
    load.go_on(length(1, 10), 300).await;
    let calm = load.counts();

    let victim = backends.all[0].addr();
    backends.all[0].hang();
    until("it is not used any more", async || {
        let state = lb.server("users", victim).await.state;
        state == "ejected" || state == "unhealthy"
    })
    .await;
    // those that wait there now are the last
    load.go_on(TIMEOUTS, 100).await;
    let hung = load.counts().since(&calm);
    let before = load.counts();
    load.go_on(length(1, 20), 300).await;
    let after = load.counts().since(&before);

    backends.all[0].go_on();
    lb.wait_for_state("users", victim, "healthy").await;
    load.go_on(length(1, 10), 300).await;
    let counts = load.stop().await;
    counts.assert_none_failed();
    lb.wait_until_idle().await;
    let retries = lb.metrics().await.sum("lb_retries_total", &[]);
    assert!(retries > 0.0, "nothing was retried, so this tests nothing");
    // in the short form, a machine that runs other tests beside gets more
    let margin = Duration::from_millis(if full() { 100 } else { 2_000 });
    assert!(counts.slowest <= TIMEOUTS + margin, "a request took {:?}", counts.slowest);
    let (quiet, normal) = (calm.percentile(99), after.percentile(99));
    assert!(
        normal <= quiet * 3 + margin,
        "the 99th percentile is {normal:?} once it is ejected, and was {quiet:?} before it hung"
    );
    let notes = format!(
        "{retries} retries; 99th percentile {} before, {} while it is found out, {} after; slowest {}",
        shown(quiet),
        shown(hung.percentile(99)),
        shown(normal),
        shown(counts.slowest)
    );
    row("a backend that hangs", counts.total(), counts.failed(), None, &notes);
}
