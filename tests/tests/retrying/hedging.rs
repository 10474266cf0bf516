//! A second server for a request whose first one is slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lb_tests::client::Request;
use lb_tests::engine::lacks;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};
use lb_tests::servers;
use lb_tests::wait::until;
use tokio::task::JoinSet;

use super::{counts, origins};

const AT_ONCE: &str = "hedge = { after = \"60ms\", max_percent = 100 }\nretry = \"off\"";

/// The first one is asked first: round robin begins with the heavier. A server is out at its first failure.
async fn pair(first: Reply, second: Reply, settings: &str) -> (Lb, [Origin; 2]) {
    let pair = [
        Origin::start(move |_| first.clone()).await,
        Origin::start(move |_| second.clone()).await,
    ];
    let lb = Lb::start(&config(&pair, settings)).await;
    (lb, pair)
}

fn config(pair: &[Origin; 2], settings: &str) -> String {
    format!(
        "[upstreams.app]\nbalance = \"round_robin\"\nservers = [{{ address = \"{}\", weight = 1000 }}, \"{}\"]\n\
         passive_health = {{ failures = 1, eject = \"5m\", max_ejected_percent = 100 }}\n{settings}\n",
        pair[0].addr(),
        pair[1].addr()
    )
}

async fn hedges(lb: &Lb) -> usize {
    lb.metrics().await.sum("lb_hedges_total", &[("upstream", "app")]) as usize
}

async fn ejections(lb: &Lb) -> u64 {
    lb.servers("app").await.iter().map(|server| server.ejections).sum()
}

fn good_after(millis: u64, text: &str) -> Reply {
    Reply::text(text).after(Duration::from_millis(millis))
}

fn busy_after(millis: u64) -> Reply {
    Reply::new(503).body("busy").after(Duration::from_millis(millis))
}

#[tokio::test]
async fn the_second_one_answers_and_the_first_is_left_and_not_charged() {
    if lacks("hedging") {
        return;
    }
    let (lb, [slow, quick]) = pair(Reply::never(), Reply::text("quick"), AT_ONCE).await;
    for request in [Request::get("/"), Request::head("/"), Request::new("OPTIONS", "/")] {
        let answer = lb.send(&request).await;
        assert_eq!(answer.status, 200);
        assert!(request.method() == "HEAD" || answer.text() == "quick");
    }
    assert_eq!((slow.count(), quick.count()), (3, 3));
    until("the slow one's connections are closed", async || slow.open_connections() == 0).await;
    lb.wait_until_idle().await;
    assert_eq!((hedges(&lb).await, ejections(&lb).await), (3, 0));
    let metrics = lb.metrics_after(3).await;
    assert_eq!(metrics.sum("lb_retries_total", &[]), 0.0, "a hedge is no retry");
    for line in lb.log_lines(3).await {
        assert_eq!((&line["status"], &line["tries"]), (&200.into(), &2.into()), "{line}");
        assert_eq!(line["server"], quick.addr().to_string().as_str(), "{line}");
        assert!(line["upstream_ms"].as_f64() < line["duration_ms"].as_f64(), "{line}");
    }
    assert_eq!(metrics.sum("lb_upstream_requests_total", &[("code", "499")]), 3.0);
    assert_eq!(metrics.sum("lb_upstream_requests_total", &[("code", "200")]), 3.0);
}

#[tokio::test]
async fn the_first_one_may_answer_first_yet() {
    if lacks("hedging") {
        return;
    }
    let (lb, [first, second]) = pair(good_after(400, "first"), Reply::never(), AT_ONCE).await;
    assert_eq!(lb.get("/").await.text(), "first");
    until("the second one's connection is closed", async || second.open_connections() == 0).await;
    lb.wait_until_idle().await;
    assert_eq!((first.count(), second.count(), ejections(&lb).await), (1, 1, 0));
    let line = lb.log_lines(1).await.remove(0);
    assert_eq!(
        (&line["tries"], &line["server"]),
        (&2.into(), &first.addr().to_string().into()),
        "{line}"
    );
}

#[tokio::test]
async fn a_quick_one_is_asked_alone() {
    if lacks("hedging") {
        return;
    }
    let (lb, [first, second]) = pair(
        Reply::text("first"),
        Reply::text("second"),
        "hedge = { after = \"20s\", max_percent = 100 }",
    )
    .await;
    for _ in 0..20 {
        assert_eq!(lb.get("/").await.text(), "first");
    }
    assert_eq!((first.count(), second.count(), hedges(&lb).await), (20, 0, 0));
}

#[tokio::test]
async fn the_one_that_lost_counts_until_it_has_answered() {
    if lacks("hedging") {
        return;
    }
    let (lb, [slow, quick]) = pair(Reply::text("slow").held(), Reply::text("quick"), AT_ONCE).await;
    for lost in 1..=3 {
        assert_eq!(lb.get("/").await.text(), "quick");
        let counts: Vec<_> = lb.servers("app").await.iter().map(|server| server.in_flight).collect();
        assert_eq!((counts[0], slow.active()), (lost, lost as usize), "{counts:?}");
    }
    slow.release(3);
    lb.wait_until_idle().await;
    assert_eq!((slow.count(), quick.count(), ejections(&lb).await), (3, 3, 0));
}

#[tokio::test]
async fn with_least_conn_it_is_not_taken_for_idle() {
    if lacks("hedging") {
        return;
    }
    let origins = [
        Origin::start(|_| Reply::text("slow").held()).await,
        Origin::start(|_| Reply::text("quick")).await,
    ];
    let lb = Lb::start(
        &config(&origins, AT_ONCE)
            .replace("round_robin", "least_conn")
            .replace("weight = 1000", "weight = 1"),
    )
    .await;
    for _ in 0..20 {
        assert_eq!(lb.get("/").await.text(), "quick");
    }
    assert_eq!(origins[0].count(), 1, "the others went where nothing was under way");
    origins[0].release_all();
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn whatever_fails_waits_for_the_other() {
    if lacks("hedging") {
        return;
    }
    let failing = [
        busy_after(1),
        Reply::close(),
        Reply::reset(),
        Reply::raw("garbage\r\n\r\n").then(Step::Close),
    ];
    for second in failing {
        let (lb, [first, other]) = pair(good_after(500, "first"), second, AT_ONCE).await;
        assert_eq!(lb.get("/").await.text(), "first");
        assert_eq!(
            (first.count(), other.count(), ejections(&lb).await),
            (1, 1, 1),
            "the second one has failed"
        );
        lb.wait_until_idle().await;
    }
    let late = |reply: Reply| reply.after(Duration::from_millis(400));
    let closing = Reply::script(vec![Step::Pause(Duration::from_millis(400)), Step::Close]);
    for first in [late(Reply::new(503)), closing] {
        let (lb, [one, other]) = pair(first, good_after(800, "second"), AT_ONCE).await;
        assert_eq!(lb.get("/").await.text(), "second");
        assert_eq!(
            (one.count(), other.count(), ejections(&lb).await),
            (1, 1, 1),
            "the first one has failed"
        );
        lb.wait_until_idle().await;
    }
}

#[tokio::test]
async fn a_second_server_without_a_connection_changes_nothing() {
    if lacks("hedging") {
        return;
    }
    let (lb, [first, second]) = pair(good_after(500, "first"), Reply::text("second"), AT_ONCE).await;
    second.stop().await;
    assert_eq!(lb.get("/").await.text(), "first");
    let line = lb.log_lines(1).await.remove(0);
    assert_eq!((&line["tries"], first.count()), (&1.into(), 1), "{line}");
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn when_both_fail_an_answer_stands() {
    if lacks("hedging") {
        return;
    }
    let closing = Reply::script(vec![Step::Pause(Duration::from_millis(600)), Step::Close]);
    for (first, second) in [
        (busy_after(300), closing.clone()),
        (closing, busy_after(1)),
        (busy_after(300), busy_after(500)),
    ] {
        let (lb, pair) = pair(first, second, AT_ONCE).await;
        let answer = lb.get("/").await;
        assert_eq!((answer.status, answer.text().as_str()), (503, "busy"));
        assert_eq!(counts(&pair), [1, 1]);
        assert_eq!(ejections(&lb).await, 1, "a request charges one server");
        lb.wait_until_idle().await;
    }
    let closing = |millis| Reply::script(vec![Step::Pause(Duration::from_millis(millis)), Step::Close]);
    let (lb, _pair) = pair(closing(300), closing(500), AT_ONCE).await;
    lb.get("/").await.assert_problem(502);
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn and_a_third_one_may_be_tried() {
    if lacks("hedging") {
        return;
    }
    let closing = |millis| Reply::script(vec![Step::Pause(Duration::from_millis(millis)), Step::Close]);
    let three = [
        Origin::start(move |_| closing(300)).await,
        Origin::start(move |_| closing(500)).await,
        Origin::named("third").await,
    ];
    let addresses: Vec<_> = three.iter().map(Origin::addr).collect();
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{{ address = \"{}\", weight = 1000 }}, \"{}\", {{ address = \"{}\", backup = true }}]\n\
         passive_health = \"off\"\nhedge = {{ after = \"60ms\", max_percent = 100 }}\n",
        addresses[0], addresses[1], addresses[2]
    ))
    .await;
    assert_eq!(lb.get("/").await.text(), "third");
    assert_eq!(counts(&three), [1, 1, 1]);
    let line = lb.log_lines(1).await.remove(0);
    assert_eq!(line["tries"], 3, "{line}");
    assert_eq!(lb.metrics().await.sum("lb_retries_total", &[]), 1.0);
}

#[tokio::test]
async fn what_is_not_safe_or_has_a_body_or_switches_protocols_is_asked_once() {
    if lacks("hedging") {
        return;
    }
    let settings = format!("{AT_ONCE}\ntimeouts = {{ read = \"400ms\" }}").replace("retry = \"off\"", "retry = \"off\"");
    let origins = origins(2, |_| Reply::never()).await;
    let addresses: Vec<_> = origins.iter().map(Origin::addr).collect();
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\npassive_health = \"off\"\n{settings}\n",
        servers(&addresses)
    ))
    .await;
    let upgrade = Request::get("/").header("Connection", "Upgrade").header("Upgrade", "x");
    let requests = [
        Request::post("/", ""),
        Request::new("PUT", "/").body("x"),
        Request::new("DELETE", "/"),
        Request::get("/").body("x"),
        upgrade,
    ];
    for (n, request) in requests.iter().enumerate() {
        lb.send(request).await.assert_problem(504);
        assert_eq!(counts(&origins).iter().sum::<usize>(), n + 1, "{request:?}");
    }
    assert_eq!(hedges(&lb).await, 0);
}

#[tokio::test]
async fn one_server_is_not_asked_twice_nor_a_full_one_nor_a_backup() {
    if lacks("hedging") {
        return;
    }
    let origins = origins(2, |_| good_after(400, "good")).await;
    let (a, b) = (origins[0].addr(), origins[1].addr());
    let alone = format!("servers = [\"{a}\"]");
    let backup = format!("servers = [\"{a}\", {{ address = \"{b}\", backup = true }}]");
    let mut lb = Lb::start(&format!("[upstreams.app]\n{alone}\n{AT_ONCE}\n")).await;
    assert_eq!(lb.get("/").await.text(), "good");
    lb.reload(&format!("[upstreams.app]\n{backup}\n{AT_ONCE}\n")).await;
    assert_eq!(lb.get("/").await.text(), "good");
    assert_eq!((counts(&origins), hedges(&lb).await), (vec![2, 0], 0));
    let full = format!("servers = [{{ address = \"{a}\", max_connections = 1 }}, {{ address = \"{b}\", max_connections = 1 }}]");
    lb.reload(&format!("[upstreams.app]\n{full}\n{AT_ONCE}\n")).await;
    let (one, other) = tokio::join!(lb.get("/"), lb.get("/"));
    assert_eq!((one.text(), other.text()), ("good".into(), "good".into()));
    assert_eq!(hedges(&lb).await, 0, "each server had its one request");
    assert!(origins.iter().all(|origin| origin.most_active() == 1));
}

#[tokio::test]
async fn no_more_than_its_share_where_every_server_is_slow() {
    if lacks("hedging") {
        return;
    }
    let origins = origins(3, |_| good_after(100, "slow")).await;
    let addresses: Vec<_> = origins.iter().map(Origin::addr).collect();
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\nhedge = {{ after = \"10ms\", max_percent = 5 }}\n",
        servers(&addresses)
    ))
    .await;
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let mut connection = lb.connect().await;
        requests.spawn(async move {
            for _ in 0..15 {
                assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "slow");
            }
        });
    }
    requests.join_all().await;
    let hedges = hedges(&lb).await;
    assert!((1..=15).contains(&hedges), "{hedges} of 300 requests had a second server");
    assert_eq!(counts(&origins).iter().sum::<usize>(), 300 + hedges);
}

#[tokio::test]
async fn a_percentile_is_learned_first() {
    if lacks("hedging") {
        return;
    }
    let hang = Arc::new(AtomicBool::new(true));
    let hanging = hang.clone();
    let pair = [
        Origin::start(move |_| {
            if hanging.load(Ordering::SeqCst) {
                Reply::never()
            } else {
                Reply::text("first")
            }
        })
        .await,
        Origin::named("second").await,
    ];
    let settings = "hedge = { after = \"p90\", max_percent = 20 }\nretry = \"off\"\ntimeouts = { read = \"600ms\" }";
    let lb = Lb::start(&config(&pair, settings).replace("failures = 1,", "failures = 100,")).await;
    lb.get("/").await.assert_problem(504);
    assert_eq!(hedges(&lb).await, 0, "nobody knew what is slow");
    hang.store(false, Ordering::SeqCst);
    let mut connection = lb.connect().await;
    for _ in 0..150 {
        assert_eq!(connection.send(&Request::get("/")).await.unwrap().status, 200);
    }
    hang.store(true, Ordering::SeqCst);
    until("a slow request has a second server", async || {
        let start = Instant::now();
        let answer = lb.get("/").await;
        answer.text() == "second" && start.elapsed() < Duration::from_millis(600) && hedges(&lb).await > 0
    })
    .await;
}

#[tokio::test]
async fn a_miss_that_fills_the_cache_may_have_a_second_server() {
    if lacks("hedging") {
        return;
    }
    let stored = Reply::text("stored").header("Cache-Control", "max-age=60");
    let (lb, pair) = pair(
        Reply::never(),
        stored,
        &format!("{AT_ONCE}\n\n[[routes]]\nupstream = \"app\"\ncache = {{}}"),
    )
    .await;
    for _ in 0..3 {
        assert_eq!(lb.get("/").await.text(), "stored");
    }
    assert_eq!((counts(&pair), hedges(&lb).await), (vec![1, 1], 1));
}

#[tokio::test]
async fn an_interim_answer_is_no_answer_yet() {
    if lacks("hedging") {
        return;
    }
    let hints = Reply::script(vec![
        Step::write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        Step::Pause(Duration::from_secs(3600)),
    ]);
    let both = Reply::script(vec![
        Step::write("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"),
        Step::Pause(Duration::from_secs(3600)),
    ]);
    let (lb, _pair) = pair(hints, both, AT_ONCE).await;
    let mut connection = lb.connect().await;
    connection.write(Request::get("/").bytes()).await;
    assert_eq!(connection.head("GET").await.unwrap().status, 103);
    let answer = connection.response("GET").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "good"));
}

#[tokio::test]
async fn a_client_that_leaves_leaves_both() {
    if lacks("hedging") {
        return;
    }
    let (lb, pair) = pair(Reply::never(), Reply::never(), AT_ONCE).await;
    let mut connection = lb.connect().await;
    connection.write(Request::get("/").bytes()).await;
    pair[1].wait_for(1).await;
    drop(connection);
    until("both connections are closed", async || {
        pair.iter().all(|origin| origin.open_connections() == 0)
    })
    .await;
    lb.wait_until_idle().await;
    assert_eq!(ejections(&lb).await, 0);
}

#[tokio::test]
async fn the_deadline_holds_for_both() {
    if lacks("hedging") {
        return;
    }
    let (lb, pair) = pair(
        Reply::never(),
        Reply::never(),
        &format!("{AT_ONCE}\ntimeouts = {{ request = \"400ms\" }}"),
    )
    .await;
    lb.get("/").await.assert_problem(504);
    assert_eq!(counts(&pair), [1, 1]);
    until("both connections are closed", async || {
        pair.iter().all(|origin| origin.open_connections() == 0)
    })
    .await;
    lb.wait_until_idle().await;
}
