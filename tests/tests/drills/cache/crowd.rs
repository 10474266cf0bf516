//! A thousand clients ask for one thing that is not there, at once: the origin is asked once.

use std::time::{Duration, Instant};

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::report::{full, row};

use super::{cached, own};
use crate::shown;

const CLIENTS: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_are_one_request() {
    let origin = Origin::start(|seen| own(&seen.target, "max-age=600").held()).await;
    let lb = Lb::start(&cached(&origin, "ttl = \"0s\"")).await;
    let mut connections = Vec::new();
    for _ in 0..CLIENTS {
        connections.push(lb.connect().await);
    }
    let rounds = if full() { 20 } else { 2 };
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let target = format!("/{round}");
        for connection in &mut connections {
            connection.write(Request::get(&target).bytes()).await;
        }
        origin.wait_for(round + 1).await;
        let begin = Instant::now();
        origin.release_all();
        for connection in &mut connections {
            let answer = connection.response("GET").await.unwrap();
            assert_eq!((answer.status, answer.text()), (200, target.clone()));
        }
        slowest = slowest.max(begin.elapsed());
        assert_eq!(origin.count_of(&target), 1, "{target}");
    }
    let notes = format!(
        "{} requests at the origin in {rounds} rounds of {CLIENTS} clients; all had their answer {} after it had come",
        origin.count(),
        shown(slowest)
    );
    row("1,000 clients miss one key at once", rounds * CLIENTS, 0, None, &notes);
}
