//! `kill -9` of one backend, then of another, under requests that must not be sent twice.

use lb_tests::backend::Backends;
use lb_tests::lb::Lb;
use lb_tests::report::{length, row};
use lb_tests::wait::until;
use tokio::time::sleep;

use super::users;
use super::writers::Writers;

const CLIENTS: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_killed_costs_only_the_uploads_that_it_had() {
    let mut backends = Backends::start(3).await;
    let lb = Lb::start(&users(&backends.addrs(), "retry = { budget_percent = 100 }")).await;
    for address in backends.addrs() {
        lb.wait_for_state("users", address, "healthy").await;
    }
    let writers = Writers::start(CLIENTS, lb.listen(), backends.all[0].addr()).await;
    for victim in [0, 1] {
        let before = writers.created();
        until("users are created", async || writers.created() > before + 50).await;
        backends.all[victim].crash();
        // what was under way has failed by now; from here on nothing may
        let before = writers.created();
        until("all clients go on", async || writers.created() > before + 3 * CLIENTS).await;
        let failed = writers.failed();
        sleep(length(1, 20)).await;
        assert_eq!(writers.failed(), failed, "a refused connection failed a request");
        backends.all[victim].restart().await;
        lb.wait_for_state("users", backends.all[victim].addr(), "healthy").await;
    }
    let written = writers.stop().await;
    let failed = written.failed.len();
    assert!(failed <= 2 * CLIENTS, "{failed} failed, more than can have been under way");
    let total = written.assert_none_twice(backends.all[0].addr()).await;
    lb.wait_until_idle().await;
    let notes = format!("{total} users there, none twice; failed is what was under way at the killed one");
    row("kill -9 of a backend under POSTs", written.created + failed, failed, None, &notes);
}
