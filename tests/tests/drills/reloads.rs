//! A hundred reloads by SIGHUP under load, with servers added and removed and another file each time.

use std::time::{Duration, Instant};

use lb_tests::backend::Backends;
use lb_tests::lb::Lb;
use lb_tests::report::{full, length, row};
use tokio::time::sleep;

use super::{shown, steady, users};

const RELOADS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_that_add_and_remove_servers_cost_no_request_and_leave_nothing_behind() {
    let backends = Backends::start(3).await;
    let all = backends.addrs();
    let mut lb = Lb::start(&users(&all, "")).await;
    let load = steady(&backends, lb.listen()).await.start();
    load.go_on(length(1, 10), 200).await;
    // what the three servers are asked for while one after the other leaves and comes back
    let turns = [&all[..2], &all[1..], &all[..1], &all[..]];
    let pause = Duration::from_millis(if full() { 200 } else { 20 });
    let rounds = if full() { 3 } else { 1 };
    let start = Instant::now();
    let mut warm = lb.process.footprint();
    for round in 0..rounds {
        let begin = Instant::now();
        for number in 0..RELOADS {
            let unrelated = format!(
                "[[routes]]\npath = \"/\"\nupstream = \"users\"\n\n[[routes]]\nname = \"r{round}-{number}\"\npath = \"/unrelated\"\nrespond = {{ status = 200, body = \"{number}\", content_type = \"text/plain\" }}\n"
            );
            lb.reload(&format!("{}\n{unrelated}", users(turns[number % 4], ""))).await;
            sleep(pause).await;
            if (round, number) == (0, 9) {
                warm = lb.process.footprint();
            }
        }
        assert!(
            begin.elapsed() < Duration::from_secs(120),
            "{RELOADS} reloads took {:?}",
            begin.elapsed()
        );
    }
    let took = start.elapsed();
    load.go_on(length(1, 10), 200).await;
    let after = lb.process.footprint();
    let counts = load.stop().await;
    counts.assert_none_failed();
    assert_eq!(lb.reloads().await, ((RELOADS * rounds) as u64, 0));
    lb.wait_until_idle().await;
    // what the allocator keeps goes up and down by 20 MiB; connections to servers are kept, and come and go with these
    let grown = after.resident_kib.saturating_sub(warm.resident_kib);
    assert!(grown < 32 * 1024, "memory grew by {grown} KiB: {warm:?} then {after:?}");
    assert!(after.descriptors <= warm.descriptors + 128, "{warm:?} then {after:?}");
    assert!(after.threads <= warm.threads + 4, "{warm:?} then {after:?}");
    let retries = lb.metrics().await.sum("lb_retries_total", &[]);
    let notes = format!(
        "{} reloads in {took:.1?}; {retries} retries; all counts back at 0; {} descriptors after 10 and {} at the end, {} and {} MiB; slowest {}",
        RELOADS * rounds,
        warm.descriptors,
        after.descriptors,
        warm.resident_kib / 1024,
        after.resident_kib / 1024,
        shown(counts.slowest)
    );
    row(
        "SIGHUP reloads that add and remove servers",
        counts.total(),
        counts.failed(),
        None,
        &notes,
    );
}
