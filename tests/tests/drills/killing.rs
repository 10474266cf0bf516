//! `kill -9` of a backend at random every two seconds.
//!
//! One at a time: the last victim is back before the next one is chosen, but `lb` may still have it ejected. Reads are repeated elsewhere and never fail. A POST fails where it
//! was under way at the victim: one that failed was sent before the victim was gone, and answered after it was killed.

use std::time::{Duration, Instant};

use lb_tests::backend::Backends;
use lb_tests::lb::Lb;
use lb_tests::report::{full, row};
use rand::Rng;
use tokio::time::sleep;

use super::writers::Writers;
use super::{shown, steady, users};

const WRITERS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_killed_at_random_cost_no_read_and_only_the_writes_that_they_had() {
    let mut backends = Backends::start(3).await;
    let lb = Lb::start(&users(&backends.addrs(), "")).await;
    for address in backends.addrs() {
        lb.wait_for_state("users", address, "healthy").await;
    }
    let load = steady(&backends, lb.listen()).await.start();
    let writers = Writers::start(WRITERS, lb.listen(), backends.all[0].addr()).await;
    load.go_on(Duration::ZERO, 200).await;
    let kills = if full() { 15 } else { 2 };
    // From when until when each victim died.
    let mut deaths: Vec<(Instant, Instant)> = Vec::new();
    for _ in 0..kills {
        let next = Instant::now() + Duration::from_secs(2);
        let (victim, down) = {
            let mut random = rand::rng();
            (random.random_range(0..3), Duration::from_millis(random.random_range(100..1000)))
        };
        let begin = Instant::now();
        backends.all[victim].crash();
        deaths.push((begin, Instant::now()));
        sleep(down).await;
        backends.all[victim].restart().await;
        load.go_on(next.saturating_duration_since(Instant::now()), 50).await;
    }
    let written = writers.stop().await;
    let counts = load.stop().await;
    counts.assert_none_failed();
    let mut under_way = 0;
    for (begin, gone) in &deaths {
        let at_this_one = written
            .failed
            .iter()
            .filter(|failed| failed.sent <= *gone && failed.answered >= *begin);
        let count = at_this_one.count();
        assert!(
            count <= WRITERS,
            "{count} POSTs failed at one kill, and {WRITERS} at most were under way"
        );
        under_way += count;
    }
    assert_eq!(
        under_way,
        written.failed.len(),
        "POSTs failed that were not under way when a backend was killed"
    );
    let total = written.assert_none_twice(backends.all[0].addr()).await;
    lb.wait_until_idle().await;
    let retries = lb.metrics().await.sum("lb_retries_total", &[]);
    let notes = format!(
        "{kills} kills; {retries} retries; 99th percentile {}, slowest {}; POSTs apart: {} failed, under way at a killed one, of {}; {total} \
         users there, none twice",
        shown(counts.percentile(99)),
        shown(counts.slowest),
        written.failed.len(),
        written.created + written.failed.len(),
    );
    row(
        "kill -9 of a random backend every 2 s",
        counts.total(),
        counts.failed(),
        None,
        &notes,
    );
}
