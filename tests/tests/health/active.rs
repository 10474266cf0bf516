//! Active checks: what passes, and how often it must.

use std::time::{Duration, Instant};

use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};
use lb_tests::wait::{throughout, until, until_within};

use super::checked;

#[tokio::test]
async fn c06_first_checks_start_at_once_and_an_unchecked_server_gets_nothing_once_one_passed() {
    let (good, mute) = (Origin::named("good").await, Origin::start(|_| Reply::never()).await);
    mute.set_check(Reply::never());
    let start = Instant::now();
    let config = checked(&[&good, &mute], "interval = \"60s\", timeout = \"30s\"", "");
    let lb = Lb::setup(&config).unready().start().await;
    // far below the interval, however busy the machine is
    until_within(Duration::from_secs(20), "the good server has passed", async || {
        lb.server("app", good.addr()).await.state == "healthy"
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(lb.server("app", mute.addr()).await.state, "unchecked");
    for _ in 0..30 {
        assert_eq!(lb.get("/").await.text(), "good");
    }
    assert_eq!(mute.count(), 0);
}

#[tokio::test]
async fn c06_before_any_check_has_passed_unchecked_servers_are_used() {
    let origin = Origin::named("early").await;
    origin.set_check(Reply::never());
    let lb = Lb::setup(&checked(&[&origin], "interval = \"60s\", timeout = \"30s\"", ""))
        .unready()
        .start()
        .await;
    assert_eq!(lb.server("app", origin.addr()).await.state, "unchecked");
    assert_eq!(lb.get("/").await.text(), "early");
}

#[tokio::test]
async fn a_server_falls_after_so_many_failures_and_rises_after_so_many_passes() {
    let (steady, moody) = (Origin::named("steady").await, Origin::named("moody").await);
    let lb = Lb::start(&checked(
        &[&steady, &moody],
        "interval = \"100ms\", timeout = \"5s\", rise = 2, fall = 3",
        "",
    ))
    .await;
    lb.wait_for_state("app", moody.addr(), "healthy").await;
    let before = moody.checks().len();
    moody.set_check(Reply::new(500));
    lb.wait_for_state("app", moody.addr(), "unhealthy").await;
    // the last check before the change may still have been answered well
    let failed = moody.checks().len() - before;
    assert!(failed >= 3, "fell after {failed} failures");
    let sent = moody.count();
    for _ in 0..10 {
        assert_eq!(lb.get("/").await.text(), "steady");
    }
    assert_eq!(moody.count(), sent);
    let before = moody.checks().len();
    moody.set_check(Reply::text("ok"));
    lb.wait_for_state("app", moody.addr(), "healthy").await;
    let passed = moody.checks().len() - before;
    assert!(passed >= 2, "rose after {passed} passes");
    until("it gets requests again", async || lb.get("/").await.text() == "moody").await;
}

#[tokio::test]
async fn fewer_failures_than_fall_change_nothing() {
    let origin = Origin::named("a").await;
    let lb = Lb::start(&checked(
        &[&origin],
        "interval = \"50ms\", timeout = \"5s\", rise = 1, fall = 1000",
        "",
    ))
    .await;
    lb.wait_for_state("app", origin.addr(), "healthy").await;
    let before = origin.checks().len();
    origin.set_check(Reply::new(500));
    until("ten checks failed", async || origin.checks().len() > before + 10).await;
    assert_eq!(lb.server("app", origin.addr()).await.state, "healthy");
}

#[tokio::test]
async fn only_statuses_in_the_range_pass() {
    let (moved, gone) = (Origin::named("moved").await, Origin::named("gone").await);
    moved.set_check(Reply::new(302).header("Location", "/"));
    gone.set_check(Reply::new(404));
    let both = [&moved, &gone];
    let lb = Lb::start(&checked(
        &both,
        "interval = \"100ms\", timeout = \"5s\", rise = 1, fall = 1, expect = \"200-399\"",
        "",
    ))
    .await;
    lb.wait_for_state("app", moved.addr(), "healthy").await;
    lb.wait_for_state("app", gone.addr(), "unhealthy").await;
    // without a range it is 200 to 299
    moved.set_check(Reply::new(204));
    gone.set_check(Reply::new(302).header("Location", "/"));
    let lb = Lb::start(&checked(&both, "interval = \"100ms\", timeout = \"5s\", rise = 1, fall = 1", "")).await;
    lb.wait_for_state("app", moved.addr(), "healthy").await;
    lb.wait_for_state("app", gone.addr(), "unhealthy").await;
}

#[tokio::test]
async fn a_check_asks_for_its_path_and_host_at_its_port() {
    let (origin, side) = (Origin::named("a").await, Origin::named("side").await);
    let port = side.addr().port();
    let config = format!(
        "[upstreams.app]\nservers = [\"{}\"]\nhealth_check = {{ type = \"http\", path = \"/check?deep=1\", host = \"users\", port = {port}, interval = \"100ms\" }}\n",
        origin.addr()
    );
    let lb = Lb::start(&config).await;
    lb.wait_for_state("app", origin.addr(), "healthy").await;
    let check = side.checks().remove(0);
    assert_eq!(
        (check.method.as_str(), check.target.as_str(), check.header("host")),
        ("GET", "/check?deep=1", "users")
    );
    assert_eq!(origin.checks().len(), 0);
    side.set_check(Reply::new(503));
    lb.wait_for_state("app", origin.addr(), "unhealthy").await;
}

#[tokio::test]
async fn a_check_has_one_deadline_as_a_whole() {
    // a byte now and then: each read is in time, the whole is not
    let origin = Origin::named("a").await;
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let drip = head
        .bytes()
        .flat_map(|byte| [Step::write([byte]), Step::Pause(Duration::from_millis(100))])
        .collect();
    origin.set_check(Reply::script(drip));
    let lb = Lb::setup(&checked(&[&origin], "interval = \"200ms\", timeout = \"500ms\", fall = 1", ""))
        .unready()
        .start()
        .await;
    lb.wait_for_state("app", origin.addr(), "unhealthy").await;
}

#[tokio::test]
async fn a_check_is_decided_without_reading_an_endless_body() {
    let origin = Origin::named("a").await;
    let endless = Step::write(
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".as_slice(),
            &[b'x'; 100_000],
        ]
        .concat(),
    );
    origin.set_check(Reply::script(vec![endless, Step::Pause(Duration::from_secs(60))]));
    let lb = Lb::start(&checked(&[&origin], "interval = \"200ms\", timeout = \"10s\", rise = 1", "")).await;
    lb.wait_for_state("app", origin.addr(), "healthy").await;
}

#[tokio::test]
async fn a_tcp_check_wants_a_connection_and_no_more() {
    let origin = Origin::named("a").await;
    let check = "health_check = { type = \"tcp\", interval = \"100ms\", timeout = \"2s\", rise = 1, fall = 2 }";
    let lb = Lb::start(&format!("[upstreams.app]\nservers = [\"{}\"]\n{check}\n", origin.addr())).await;
    lb.wait_for_state("app", origin.addr(), "healthy").await;
    origin.stop().await;
    lb.wait_for_state("app", origin.addr(), "unhealthy").await;
    origin.restart().await;
    lb.wait_for_state("app", origin.addr(), "healthy").await;
    assert_eq!(origin.checks().len(), 0);
}

#[tokio::test]
async fn without_a_check_a_server_is_healthy_from_the_start() {
    let origin = Origin::named("a").await;
    let lb = Lb::start(&format!("[upstreams.app]\nservers = [\"{}\"]\n", origin.addr())).await;
    assert_eq!(lb.server("app", origin.addr()).await.state, "healthy");
    throughout(Duration::from_millis(200), "nobody asks it", async || origin.connections() == 0).await;
}

#[tokio::test]
async fn health_is_in_the_metrics() {
    let (good, bad) = (Origin::named("a").await, Origin::named("b").await);
    bad.set_check(Reply::close());
    let lb = Lb::start(&checked(
        &[&good, &bad],
        "interval = \"100ms\", timeout = \"5s\", rise = 1, fall = 1",
        "",
    ))
    .await;
    lb.wait_for_state("app", bad.addr(), "unhealthy").await;
    lb.wait_for_state("app", good.addr(), "healthy").await;
    let metrics = lb.metrics().await;
    let healthy = |origin: &Origin| {
        metrics.value(
            "lb_upstream_healthy",
            &[("upstream", "app"), ("server", &origin.addr().to_string())],
        )
    };
    assert_eq!((healthy(&good), healthy(&bad)), (Some(1.0), Some(0.0)));
}
