//! Everything at once: a backend that stutters, another one that is killed again and again, and a new file every so often.

use std::time::Duration;

use lb_tests::backend::Backend;
use lb_tests::backend::Backends;
use lb_tests::lb::Lb;
use lb_tests::report::{length, row};
use tokio::time::{Instant, sleep};

use super::{shown, steady, users};

/// Stands still half of the time, for a fifth of a second each, until `end`.
async fn stutter(backend: &mut Backend, end: Instant) {
    while Instant::now() < end {
        backend.hang();
        sleep(Duration::from_millis(200)).await;
        backend.go_on();
        sleep(Duration::from_millis(200)).await;
    }
}

/// Dies and comes back until `end`; how often.
async fn die(backend: &mut Backend, end: Instant) -> usize {
    let mut kills = 0;
    while Instant::now() < end {
        backend.crash();
        kills += 1;
        sleep(Duration::from_millis(300)).await;
        backend.restart().await;
        sleep(Duration::from_secs(1)).await;
    }
    kills
}

/// A new file every tenth of a second until `end`; how many.
async fn reload(lb: &mut Lb, upstream: &str, end: Instant) -> usize {
    let mut reloads = 0;
    while Instant::now() < end {
        let unrelated = format!("respond = {{ status = 200, body = \"{reloads}\", content_type = \"text/plain\" }}");
        let routes = format!("[[routes]]\npath = \"/\"\nupstream = \"users\"\n\n[[routes]]\npath = \"/unrelated\"\n{unrelated}\n");
        lb.reload(&format!("{upstream}\n{routes}")).await;
        reloads += 1;
        sleep(Duration::from_millis(100)).await;
    }
    reloads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stutter_kills_and_reloads_at_once_cost_no_request() {
    let mut backends = Backends::start(3).await;
    let upstream = users(&backends.addrs(), "timeouts = { read = \"1s\" }");
    let mut lb = Lb::start(&upstream).await;
    for address in backends.addrs() {
        lb.wait_for_state("users", address, "healthy").await;
    }
    let load = steady(&backends, lb.listen()).await.start();
    load.go_on(length(1, 5), 200).await;
    let end = Instant::now() + length(4, 30);
    let [_, stuttering, dying] = &mut backends.all[..] else {
        panic!("three backends");
    };
    let ((), kills, reloads) = tokio::join!(stutter(stuttering, end), die(dying, end), reload(&mut lb, &upstream, end));
    load.go_on(length(1, 5), 200).await;
    let counts = load.stop().await;
    counts.assert_none_failed();
    lb.wait_until_idle().await;
    let retries = lb.metrics().await.sum("lb_retries_total", &[]);
    let notes = format!(
        "{kills} kills, {reloads} reloads; {retries} retries; 99th percentile {}, slowest {}",
        shown(counts.percentile(99)),
        shown(counts.slowest)
    );
    row(
        "a stutter, kill -9 and reloads at once",
        counts.total(),
        counts.failed(),
        None,
        &notes,
    );
}
