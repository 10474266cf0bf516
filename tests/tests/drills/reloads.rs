//! 20 SIGHUP reloads under load, with servers added and removed.

use std::time::{Duration, Instant};

use lb_tests::backend::Backends;
use lb_tests::lb::Lb;
use lb_tests::report::{length, row};
use tokio::time::sleep;

use super::{steady, users};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_reloads_that_add_and_remove_servers_cost_no_request() {
    let backends = Backends::start(3).await;
    let all = backends.addrs();
    let mut lb = Lb::start(&users(&all, "")).await;
    let load = steady(&backends, lb.listen()).await.start();
    load.go_on(length(1, 10), 200).await;
    // what the three servers are asked for while one after the other leaves and comes back
    let turns = [&all[..2], &all[1..], &all[..1], &all[..]];
    let rounds = if lb_tests::report::full() { 20 } else { 1 };
    let start = Instant::now();
    for round in 0..rounds {
        let begin = Instant::now();
        for number in 0..20 {
            let unrelated = format!(
                "[[routes]]\npath = \"/\"\nupstream = \"users\"\n\n[[routes]]\nname = \"r{round}-{number}\"\npath = \"/unrelated\"\nrespond = {{ status = 200, body = \"{number}\", content_type = \"text/plain\" }}\n"
            );
            lb.reload(&format!("{}\n{unrelated}", users(turns[number % 4], ""))).await;
            sleep(Duration::from_millis(150)).await;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "20 reloads took {:?}", begin.elapsed());
    }
    let took = start.elapsed();
    load.go_on(length(1, 10), 200).await;
    let counts = load.stop().await;
    counts.assert_none_failed();
    assert_eq!(lb.reloads().await, (20 * rounds, 0));
    lb.wait_until_idle().await;
    let retries = lb.metrics().await.sum("lb_retries_total", &[]);
    let notes = format!(
        "{} reloads in {took:.1?}; {retries} retries; all counts back at 0; slowest {:?}",
        20 * rounds,
        counts.slowest
    );
    row(
        "SIGHUP reloads that add and remove servers",
        counts.total(),
        counts.failed(),
        None,
        &notes,
    );
}
