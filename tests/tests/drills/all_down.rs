//! All servers go down, and come back.
//!
//! While nobody is there the answer is 503, at once: a client that is told quickly can do something else. And when they are back, nobody may
//! be told so any longer than it takes to find out.

use std::time::{Duration, Instant};

use lb_tests::backend::Backends;
use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::report::{full, length, row};
use tokio::time::sleep;

use super::{shown, steady, users};

/// What [`users`] has.
const INTERVAL: Duration = Duration::from_millis(500);

/// Asks for so long while all are down; how long each answer took, in order. A fast 503 with `Retry-After` is right, and nothing else.
async fn ask(lb: &Lb, time: Duration) -> Vec<Duration> {
    let (begin, mut took) = (Instant::now(), Vec::new());
    while begin.elapsed() < time || took.len() < 50 {
        let start = Instant::now();
        let answer = lb.send(&Request::get("/users/1")).await;
        took.push(start.elapsed());
        answer.assert_problem(503);
        answer.header("retry-after");
        sleep(Duration::from_millis(20)).await;
    }
    took.sort_unstable();
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_are_down_it_is_said_fast_and_when_they_are_back_nothing_fails() {
    let mut backends = Backends::start(3).await;
    let lb = Lb::start(&users(&backends.addrs(), "")).await;
    for address in backends.addrs() {
        lb.wait_for_state("users", address, "healthy").await;
    }
    let load = steady(&backends, lb.listen()).await;
    let (mut requests, mut refused, mut slowest) = (0, 0, Duration::ZERO);
    for _ in 0..if full() { 3 } else { 1 } {
        let before = load.clone().start();
        before.go_on(length(1, 5), 200).await;
        let counts = before.stop().await;
        counts.assert_none_failed();
        requests += counts.total();

        backends.all.iter_mut().for_each(lb_tests::backend::Backend::crash);
        for address in backends.addrs() {
            lb.wait_for_state("users", address, "unhealthy").await;
        }
        let took = ask(&lb, length(1, 10)).await;
        // the promise is for all of them; in the short form, a machine that runs other tests beside may hold some of them up
        let fast = if full() { took[took.len() - 1] } else { took[took.len() / 2] };
        assert!(fast < Duration::from_millis(100), "a 503 took {fast:?}");
        refused += took.len();
        slowest = slowest.max(took[took.len() - 1]);

        for backend in &mut backends.all {
            backend.restart().await;
        }
        sleep(2 * INTERVAL).await;
        let after = load.clone().start();
        after.go_on(length(1, 5), 200).await;
        let counts = after.stop().await;
        counts.assert_none_failed();
        requests += counts.total();
    }
    let notes = format!("while all were down {refused} answers 503, the slowest after {}", shown(slowest));
    row("all backends down, and back", requests, 0, None, &notes);
}
