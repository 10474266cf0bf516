//! `circuit_breaker`: when an upstream is left alone, and when it is asked again.

use lb_tests::client::{Connection, Request};
use lb_tests::command;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Refusing, Reply, Seen};
use lb_tests::wait::until;

use super::{begin, begin_waiting};

/// Opens at the second failure of two, for longer than any test takes.
const LONG: &str = "circuit_breaker = { error_percent = 50, min_requests = 2, window = \"10m\", open = \"10m\" }";
/// As soon as it is open, it is time for a probe.
const SHORT: &str = "circuit_breaker = { error_percent = 50, min_requests = 2, window = \"10m\", open = \"1ms\" }";

/// Does as the path says.
fn obedient(seen: &Seen) -> Reply {
    match seen.target.as_str() {
        "/bad" => Reply::new(503).body("sorry"),
        "/held" => Reply::text("held").held(),
        "/held_bad" => Reply::new(503).body("sorry").held(),
        "/fresh" => Reply::text("fresh").header("Cache-Control", "max-age=60"),
        _ => Reply::text("good"),
    }
}

/// The upstream `app` of this server, which is asked once for each request.
fn config(origin: &Origin, settings: &str) -> String {
    format!(
        "[upstreams.app]\npassive_health = \"off\"\nretry = \"off\"\nservers = [\"{}\"]\n{settings}\n",
        origin.addr()
    )
}

async fn circuit(lb: &Lb) -> String {
    lb.status().await["upstreams"][0]["circuit"].as_str().unwrap_or("none").to_owned()
}

/// Two requests that fail on their server.
async fn open(lb: &Lb) {
    for _ in 0..2 {
        let answer = lb.get("/bad").await;
        assert_eq!((answer.status, answer.text().as_str()), (503, "sorry"));
    }
}

/// How long it says to wait.
async fn assert_refused(lb: &Lb) -> u32 {
    let answer = lb.get("/").await;
    answer.assert_problem(503);
    assert!(answer.text().contains("circuit is open"), "{}", answer.text());
    answer.header("retry-after").parse().unwrap()
}

/// Sends a request that is let through as the one probe, and is under way.
async fn begin_probe(lb: &Lb, origin: &Origin, target: &str) -> Connection {
    let probe = begin(lb, &Request::get(target)).await;
    until("a probe is under way", async || origin.count_of(target) == 1).await;
    probe
}

#[tokio::test]
async fn while_it_is_open_requests_are_refused_at_once_and_nothing_is_sent_on() {
    let origin = Origin::start(obedient).await;
    let lb = Lb::start(&config(&origin, LONG)).await;
    assert_eq!(circuit(&lb).await, "closed");
    assert_eq!(lb.metrics().await.value("lb_circuit_open", &[("upstream", "app")]), Some(0.0));
    open(&lb).await;
    let left = assert_refused(&lb).await;
    assert!((1..=600).contains(&left), "{left}");
    assert_eq!(origin.count(), 2);
    assert_eq!(circuit(&lb).await, "open");
    assert_eq!(lb.metrics().await.value("lb_circuit_open", &[("upstream", "app")]), Some(1.0));
    let shown = command::lb(&["status", "--admin", &lb.admin_addr().to_string()]).await.stdout;
    assert!(shown.contains("circuit open"), "{shown}");
}

#[tokio::test]
async fn it_stays_closed_below_its_share_and_its_number() {
    let origin = Origin::start(obedient).await;
    let breaker = "circuit_breaker = { error_percent = 60, min_requests = 4, window = \"10m\", open = \"10m\" }";
    let lb = Lb::start(&config(&origin, breaker)).await;
    for target in ["/bad", "/bad", "/bad"] {
        assert_eq!(lb.get(target).await.text(), "sorry");
    }
    let lb = Lb::start(&config(&origin, breaker)).await;
    for target in ["/", "/", "/", "/bad", "/bad", "/bad", "/good"] {
        lb.get(target).await;
    }
    assert_eq!(circuit(&lb).await, "closed");
    assert_eq!(lb.get("/").await.status, 200);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_opens_it_too() {
    let down = Refusing::start();
    let lb = Lb::start(&format!(
        "[upstreams.app]\npassive_health = \"off\"\nservers = [\"{}\"]\n{LONG}\n",
        down.addr()
    ))
    .await;
    lb.get("/").await.assert_problem(502);
    lb.get("/").await.assert_problem(502);
    assert_refused(&lb).await;
}

#[tokio::test]
async fn one_probe_at_a_time_and_a_good_one_closes_it() {
    let origin = Origin::start(obedient).await;
    let mut lb = Lb::start(&config(&origin, LONG)).await;
    open(&lb).await;
    lb.reload(&config(&origin, SHORT)).await;
    let mut probe = begin_probe(&lb, &origin, "/held").await;
    let asked = origin.count();
    for _ in 0..3 {
        assert_eq!(assert_refused(&lb).await, 1);
    }
    assert_eq!(origin.count(), asked);
    assert_eq!(circuit(&lb).await, "half-open");
    origin.release_all();
    assert_eq!(probe.response("GET").await.unwrap().text(), "held");
    assert_eq!(lb.get("/").await.text(), "good");
    assert_eq!(circuit(&lb).await, "closed");
    assert_eq!(lb.get("/").await.text(), "good");
    assert_eq!(lb.get("/bad").await.text(), "sorry");
    assert_eq!(circuit(&lb).await, "closed", "what was before is forgotten");
}

#[tokio::test]
async fn a_bad_probe_opens_it_again() {
    let origin = Origin::start(obedient).await;
    let mut lb = Lb::start(&config(&origin, LONG)).await;
    open(&lb).await;
    lb.reload(&config(&origin, SHORT)).await;
    let mut probe = begin_probe(&lb, &origin, "/held_bad").await;
    lb.reload(&config(&origin, LONG)).await;
    origin.release_all();
    assert_eq!(probe.response("GET").await.unwrap().text(), "sorry");
    assert!(assert_refused(&lb).await > 1);
    assert_eq!(circuit(&lb).await, "open");
}

#[tokio::test]
async fn a_probe_whose_client_leaves_makes_room_for_another() {
    let origin = Origin::start(obedient).await;
    let mut lb = Lb::start(&config(&origin, LONG)).await;
    open(&lb).await;
    lb.reload(&config(&origin, SHORT)).await;
    let probe = begin_probe(&lb, &origin, "/held").await;
    assert_refused(&lb).await;
    drop(probe);
    until("another probe passes", async || lb.get("/").await.status == 200).await;
    assert_eq!(circuit(&lb).await, "closed");
}

#[tokio::test]
async fn a_retry_counts_as_a_try_and_the_last_answer_stands_once_it_is_open() {
    let (first, second) = (Origin::start(obedient).await, Origin::start(obedient).await);
    let third = Origin::start(obedient).await;
    let lb = Lb::start(&format!(
        "[upstreams.app]\npassive_health = \"off\"\nservers = [\"{}\", \"{}\", \"{}\"]\n{LONG}\n",
        first.addr(),
        second.addr(),
        third.addr()
    ))
    .await;
    let answer = lb.get("/bad").await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "sorry"));
    assert_eq!(first.count() + second.count() + third.count(), 2, "no third try");
    assert_refused(&lb).await;
}

#[tokio::test]
async fn those_who_wait_for_a_server_are_refused_when_it_opens() {
    let origin = Origin::start(obedient).await;
    let breaker = LONG.replace("min_requests = 2", "min_requests = 1");
    let lb = Lb::start(&format!(
        "[upstreams.app]\npassive_health = \"off\"\nretry = \"off\"\nqueue = {{ size = 10, timeout = \"5m\" }}\n\
         servers = [{{ address = \"{}\", max_connections = 1 }}]\n{breaker}\n",
        origin.addr()
    ))
    .await;
    let mut first = begin(&lb, &Request::get("/held_bad")).await;
    origin.wait_for(1).await;
    let mut second = begin_waiting(&lb, &Request::get("/"), 1).await;
    let mut third = begin_waiting(&lb, &Request::get("/"), 2).await;
    origin.release_all();
    assert_eq!(first.response("GET").await.unwrap().text(), "sorry");
    for waiting in [&mut second, &mut third] {
        let answer = waiting.response("GET").await.unwrap();
        answer.assert_problem(503);
        assert!(answer.text().contains("circuit is open"), "{}", answer.text());
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn what_is_stored_is_served_while_it_is_open() {
    let origin = Origin::start(obedient).await;
    let routes = "[[routes]]\nupstream = \"app\"\ncache = {}\n";
    let lb = Lb::start(&format!("{}\n{routes}", config(&origin, LONG))).await;
    assert_eq!(lb.get("/fresh").await.text(), "fresh");
    lb.get("/bad").await;
    lb.get("/bad").await;
    lb.get("/bad").await;
    assert_refused(&lb).await;
    let stored = lb.get("/fresh").await;
    assert_eq!((stored.status, stored.is_hit()), (200, true));
}

#[tokio::test]
async fn a_split_turns_to_another_upstream_and_back() {
    let (bad, good) = (Origin::start(obedient).await, Origin::named("other").await);
    let config = |breaker: &str| {
        format!(
            "[upstreams.app]\npassive_health = \"off\"\nretry = \"off\"\nservers = [\"{}\"]\n{breaker}\n\n\
             [upstreams.other]\nservers = [\"{}\"]\n\n[[routes]]\nsplit = {{ app = 65535, other = 1 }}\n",
            bad.addr(),
            good.addr()
        )
    };
    let mut lb = Lb::start(&config(LONG)).await;
    open(&lb).await;
    for _ in 0..3 {
        assert_eq!(lb.get("/").await.text(), "other");
    }
    lb.reload(&config(SHORT)).await;
    until("it is asked again", async || lb.get("/").await.text() == "good").await;
}

#[tokio::test]
async fn it_survives_a_reload_and_is_gone_with_its_key() {
    let origin = Origin::start(obedient).await;
    let mut lb = Lb::start(&config(&origin, LONG)).await;
    open(&lb).await;
    lb.reload(&config(&origin, LONG)).await;
    assert_refused(&lb).await;
    lb.reload(&config(&origin, "")).await;
    assert_eq!(circuit(&lb).await, "none");
    assert_eq!(lb.get("/").await.text(), "good");
}
