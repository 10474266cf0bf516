//! A third server comes in by a reload, and is broken: it answers garbage, or resets before its head.

use std::sync::atomic::{AtomicUsize, Ordering};

use lb_tests::backend::Backends;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};
use lb_tests::report::{length, row};
use lb_tests::wait::until;

use super::{shown, steady, users};

/// What is no answer, each in its own way.
const GARBAGE: [&str; 6] = [
    "\x00\x01\x02\x03 \x7f\x1b[2J\r\n\r\n",
    "HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    "SSH-2.0-OpenSSH_9.7\r\n",
];

/// An origin that passes its checks, and answers everything else by one after the other of these.
async fn broken(replies: Vec<Reply>) -> Origin {
    let turn = AtomicUsize::new(0);
    Origin::start(move |seen| {
        if seen.target == "/ready" {
            return Reply::text("ready");
        }
        replies[turn.fetch_add(1, Ordering::SeqCst) % replies.len()].clone()
    })
    .await
}

/// Requests that reached the broken one.
fn asked(broken: &Origin) -> usize {
    broken.count() - broken.count_of("/ready")
}

async fn drill(name: &str, broken: Origin) {
    let backends = Backends::start(2).await;
    let mut addresses = backends.addrs();
    // it is asked again and again
    let passive = "passive_health = { failures = 5, window = \"10s\", eject = \"1s\", max_ejected_percent = 50 }";
    let mut lb = Lb::start(&users(&addresses, passive)).await;
    let load = steady(&backends, lb.listen()).await.start();
    load.go_on(length(1, 10), 300).await;
    addresses.push(broken.addr());
    lb.reload(&users(&addresses, passive)).await;
    until("it is asked, and found out", async || {
        asked(&broken) >= 5 && lb.server("users", broken.addr()).await.ejections > 0
    })
    .await;
    load.go_on(length(2, 20), 300).await;
    let counts = load.stop().await;
    counts.assert_none_failed();
    lb.wait_until_idle().await;
    let retries = lb.metrics().await.sum("lb_retries_total", &[]);
    assert!(retries > 0.0, "nothing was retried, so this tests nothing");
    let notes = format!(
        "it was asked {} times and ejected {} times; {retries} retries; 99th percentile {}, slowest {}",
        asked(&broken),
        lb.server("users", broken.addr()).await.ejections,
        shown(counts.percentile(99)),
        shown(counts.slowest)
    );
    row(name, counts.total(), counts.failed(), None, &notes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_answers_garbage_costs_no_request() {
    let garbage = GARBAGE.map(|text| Reply::raw(text).then(Step::Close));
    drill("a server that answers garbage", broken(garbage.into()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_resets_before_its_head_costs_no_request() {
    let part = Reply::script(vec![Step::write("HTTP/1.1 200 OK\r\nContent-Le"), Step::Reset]);
    let replies = vec![Reply::reset(), Reply::close(), part];
    drill("a server that resets before its head", broken(replies).await).await;
}
