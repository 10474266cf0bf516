//! One of three servers becomes 20 times slower.
//!
//! Servers that wait instead of working, so that what is measured is the choice of a server and not the load of the machine. With plain
//! `least_conn` the slow one has as many requests under way as the others, and so a share that is as much smaller as it is slower. Every one
//! of these takes its time, though. What keeps the 99th percentile down is to go there less than once in a hundred times, as `ewma` does.

use std::time::Duration;

use lb_tests::engine::lacks;
use lb_tests::lb::Lb;
use lb_tests::load::{Counts, Load};
use lb_tests::origin::{Origin, Reply};
use lb_tests::report::{full, length, row};
use lb_tests::servers;

use super::shown;

const QUICK: Duration = Duration::from_millis(50);
const SLOW: Duration = Duration::from_secs(1);

/// What came of a drill.
struct Outcome {
    /// While all were quick.
    calm: Counts,
    /// From when one of them is slow.
    after: Counts,
    /// How many of the latter the slow one got.
    share: f64,
}

impl Outcome {
    /// Fails the test when the 99th percentile is more than three times that of the calm run.
    fn assert_little_slower(&self) {
        let (calm, after) = (self.calm.percentile(99), self.after.percentile(99));
        // in the short form, a machine that runs other tests beside gets more
        let margin = Duration::from_millis(if full() { 0 } else { 300 });
        assert!(
            after <= calm * 3 + margin,
            "the 99th percentile is {after:?} with one slow server, and {calm:?} without"
        );
    }

    fn report(&self, name: &str) {
        let total = self.calm.total() + self.after.total();
        let notes = format!(
            "it got {:.2} % of them; 99th percentile {} before, {} after; slowest {}",
            self.share * 100.0,
            shown(self.calm.percentile(99)),
            shown(self.after.percentile(99)),
            shown(self.after.slowest)
        );
        row(name, total, 0, None, &notes);
    }
}

/// Runs the drill with these settings of the upstream. No request fails.
async fn drill(settings: &str) -> Outcome {
    let mut origins = Vec::new();
    for _ in 0..3 {
        origins.push(Origin::start(|_| Reply::text("here").after(QUICK)).await);
    }
    let addresses: Vec<_> = origins.iter().map(Origin::addr).collect();
    let lb = Lb::start(&format!("[upstreams.app]\nservers = [{}]\n{settings}\n", servers(&addresses))).await;
    // all of them are under way at any time
    let load = Load::new(lb.listen(), &["/"])
        .connections(64)
        .pace(Duration::ZERO)
        .check(|_, answer| answer.body == b"here")
        .start();
    load.go_on(length(2, 10), 2_000).await;
    let calm = load.counts();
    let slow = &origins[0];
    let before = slow.count();
    slow.set(|_| Reply::text("here").after(SLOW));
    load.go_on(length(4, 30), 6_000).await;
    let share = (slow.count() - before) as f64;
    let after = load.counts().since(&calm);
    load.stop().await.assert_none_failed();
    lb.wait_until_idle().await;
    let share = share / after.total() as f64;
    Outcome { calm, after, share }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_least_conn_a_slow_server_gets_a_small_share() {
    let outcome = drill("balance = \"least_conn\"").await;
    // where the machine is busy with other tests, the others are slower than they say
    let most = if full() { 0.04 } else { 0.08 };
    assert!(outcome.share <= most, "the slow one got {:.1} %", outcome.share * 100.0);
    outcome.report("one of three servers 20 × slower, least_conn");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_ewma_a_slow_server_is_hardly_noticed() {
    let outcome = drill("balance = \"ewma\"").await;
    outcome.assert_little_slower();
    outcome.report("one of three servers 20 × slower, ewma");
}

/// The slow one gets about one in forty, all of which have a second server: the slowest twentieth is hedged, and a twentieth may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_least_conn_and_hedging_a_slow_server_is_hardly_noticed() {
    if lacks("hedging") {
        return;
    }
    let outcome = drill("balance = \"least_conn\"\nhedge = { after = \"p95\", max_percent = 5 }").await;
    outcome.assert_little_slower();
    outcome.report("one of three servers 20 × slower, least_conn and hedge");
}
