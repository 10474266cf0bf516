//! `mirror`: whatever becomes of a copy, the client notices nothing, and there is a bound to all of it.

use std::time::Duration;

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::load::{Counts, Load};
use lb_tests::origin::{Origin, Refusing, Reply, Step};
use lb_tests::wait::until;

use super::mirror::{config, counted, route, wait_for};
use super::{upstream, upstream_with};

#[tokio::test]
async fn a_body_that_is_longer_than_the_bound_is_not_copied_and_comes_whole_to_its_server() {
    let (app, next) = (Origin::start(|_| Reply::echo()).await, Origin::named("next").await);
    let lb = Lb::start(&config(&app, &next, "100")).await;
    let long = vec![b'x'; (64 << 10) + 1];
    for (number, request) in [
        (1, Request::post("/", long.clone())),
        (2, Request::new("POST", "/").chunks(vec![long.clone().into()])),
        (3, Request::post("/", vec![b'x'; 1 << 20])),
    ] {
        assert!(lb.send(&request).await.body.len() >= long.len());
        wait_for(&lb, "dropped", number).await;
    }
    assert_eq!(next.connections(), 0);
    let just = vec![b'x'; 64 << 10];
    assert_eq!(lb.send(&Request::post("/", just.clone())).await.body, just);
    wait_for(&lb, "sent", 1).await;
    assert_eq!(next.last().body, just);
}

#[tokio::test]
async fn a_request_that_never_went_whole_to_a_server_is_counted_as_dropped() {
    let (refusing, next) = (Refusing::start(), Origin::named("next").await);
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [\"{}\"]\npassive_health = \"off\"\nretry = \"off\"\n\n{}{}",
        refusing.addr(),
        upstream("next", &next),
        route("100")
    ))
    .await;
    lb.get("/").await.assert_problem(502);
    wait_for(&lb, "dropped", 1).await;
    assert_eq!(next.connections(), 0);
}

#[tokio::test]
async fn a_mirror_takes_no_more_than_its_servers_may_have() {
    let (app, next) = (Origin::named("app").await, Origin::held("next").await);
    let limited = format!(
        "[upstreams.next]\nservers = [{{ address = \"{}\", max_connections = 2 }}]\n\n",
        next.addr()
    );
    let lb = Lb::start(&format!("{}{limited}{}", upstream("app", &app), route("100"))).await;
    for _ in 0..10 {
        assert_eq!(lb.get("/").await.text(), "app");
    }
    wait_for(&lb, "dropped", 8).await;
    next.release_all();
    wait_for(&lb, "sent", 2).await;
    assert_eq!(next.most_active(), 2);
}

#[tokio::test]
async fn a_mirror_that_hangs_has_so_many_copies_under_way_and_drops_the_rest() {
    let (app, next) = (Origin::named("app").await, Origin::held("next").await);
    let lb = Lb::start(&config(&app, &next, "100")).await;
    let mut connection = lb.connect().await;
    for _ in 0..300 {
        assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "app");
    }
    wait_for(&lb, "dropped", 300 - 256).await;
    next.wait_for(256).await;
    next.release_all();
    wait_for(&lb, "sent", 256).await;
    lb.get("/").await;
    wait_for(&lb, "sent", 257).await;
}

#[tokio::test]
async fn the_mirror_s_own_timeouts_hold_and_its_failures_are_its_own() {
    let (app, next) = (Origin::named("app").await, Origin::start(|_| Reply::never()).await);
    let config = |settings: &str| {
        format!(
            "{}[upstreams.next]\nservers = [\"{}\"]\n{settings}\n\n{}",
            upstream("app", &app),
            next.addr(),
            route("100")
        )
    };
    let mut lb = Lb::start(&config("timeouts = { read = \"100ms\" }")).await;
    lb.get("/").await;
    wait_for(&lb, "failed", 1).await;
    lb.reload(&config("timeouts = { request = \"100ms\" }")).await;
    lb.get("/").await;
    wait_for(&lb, "failed", 2).await;
    assert_eq!(next.count(), 2, "a copy has one try");
    let metrics = lb.metrics().await;
    assert_eq!(
        metrics.sum("lb_upstream_requests_total", &[("upstream", "next"), ("code", "504")]),
        2.0
    );
    assert_eq!(
        metrics.sum("lb_upstream_requests_total", &[("upstream", "app"), ("code", "200")]),
        2.0
    );
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn an_answer_without_end_is_read_to_a_bound_and_cut() {
    let app = Origin::named("app").await;
    let next = Origin::start(|_| {
        let head = Step::write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        let piece = Step::write(vec![b'x'; 1 << 20]);
        Reply::script(
            std::iter::once(head)
                .chain(std::iter::repeat_n(piece, 95))
                .chain([Step::Hold])
                .collect(),
        )
    })
    .await;
    let lb = Lb::start(&config(&app, &next, "100")).await;
    lb.get("/").await;
    wait_for(&lb, "sent", 1).await;
    until("its connection is closed", async || next.open_connections() == 0).await;
    lb.wait_until_idle().await;
}

/// How a load fares before this mirror, over the smallest time that tells something.
async fn load(lb: &Lb) -> Counts {
    let load = Load::new(lb.listen(), &["/a", "/b"])
        .connections(8)
        .pace(Duration::from_millis(2))
        .check(|_, answer| answer.body == b"app");
    let running = load.start();
    running.go_on(Duration::from_secs(1), 500).await;
    running.stop().await
}

/// No request fails, and none waits for a mirror that answers so.
async fn nobody_notices(next: impl Fn() -> Reply + Send + Sync + 'static) {
    let (app, mirror) = (Origin::named("app").await, Origin::start(move |_| next()).await);
    let mut lb = Lb::start(&config(&app, &mirror, "0")).await;
    let calm = load(&lb).await;
    lb.reload(&config(&app, &mirror, "100")).await;
    let copied = load(&lb).await;
    calm.assert_none_failed();
    copied.assert_none_failed();
    assert!(mirror.connections() > 0, "nothing was copied");
    // Both ends and the mirror share this machine's cores, so a factor can but be generous. Who waited for the mirror would wait for seconds.
    let (before, after) = (calm.percentile(99), copied.percentile(99));
    assert!(
        after < before * 5 + Duration::from_millis(200),
        "p99 {before:?} without copies, {after:?} with"
    );
    let metrics = lb.metrics().await;
    assert_eq!(
        metrics.sum("lb_requests_total", &[("code", "200")]),
        metrics.sum("lb_requests_total", &[])
    );
}

#[tokio::test]
async fn a_mirror_that_answers_costs_no_client_anything() {
    nobody_notices(|| Reply::text("next")).await;
}

#[tokio::test]
async fn a_mirror_that_hangs_costs_no_client_anything() {
    nobody_notices(Reply::never).await;
}

#[tokio::test]
async fn a_mirror_that_answers_garbage_costs_no_client_anything() {
    nobody_notices(|| Reply::raw("no HTTP at all\r\n\r\n").then(Step::Close)).await;
}

#[tokio::test]
async fn a_mirror_that_resets_costs_no_client_anything() {
    nobody_notices(Reply::reset).await;
}

#[tokio::test]
async fn a_mirror_that_is_dead_costs_no_client_anything() {
    let (app, dead) = (Origin::named("app").await, Refusing::start());
    let config = |percent: &str| {
        format!(
            "{}[upstreams.next]\nservers = [\"{}\"]\npassive_health = \"off\"\n\n{}",
            upstream_with("app", &app, ""),
            dead.addr(),
            route(percent)
        )
    };
    let lb = Lb::start(&config("100")).await;
    let counts = load(&lb).await;
    counts.assert_none_failed();
    until("every copy has failed", async || {
        counted(&lb, "failed").await + counted(&lb, "dropped").await >= counts.ok
    })
    .await;
    assert_eq!(counted(&lb, "sent").await, 0);
    assert!(counted(&lb, "failed").await > 0);
    lb.wait_until_idle().await;
}
