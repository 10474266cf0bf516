//! `panic_percent`: too few servers are healthy.

use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::until;

use super::checked;

#[tokio::test]
async fn below_the_share_ejected_servers_are_used_and_those_that_fail_their_checks_are_not() {
    let (good, flaky, dead) = (
        Origin::named("good").await,
        Origin::start(|_| Reply::reset()).await,
        Origin::named("dead").await,
    );
    let settings = "panic_percent = 50\npassive_health = { failures = 1, window = \"60s\", eject = \"1h\", max_ejected_percent = 50 }";
    let check = "interval = \"100ms\", timeout = \"5s\", rise = 1, fall = 1";
    let lb = Lb::start(&checked(&[&good, &flaky, &dead], check, settings)).await;
    for origin in [&good, &flaky, &dead] {
        lb.wait_for_state("app", origin.addr(), "healthy").await;
    }
    until("it is ejected", async || {
        lb.get("/").await;
        lb.server("app", flaky.addr()).await.state == "ejected"
    })
    .await;
    flaky.set(|_| Reply::text("flaky"));
    let used = flaky.count();
    for _ in 0..10 {
        assert_ne!(lb.get("/").await.text(), "flaky", "two of three are healthy");
    }
    assert_eq!(flaky.count(), used);
    dead.set_check(Reply::new(503));
    lb.wait_for_state("app", dead.addr(), "unhealthy").await;
    let sent = dead.count();
    until("one of three is too few", async || lb.get("/").await.text() == "flaky").await;
    for _ in 0..10 {
        assert_ne!(lb.get("/").await.text(), "dead");
    }
    assert_eq!(dead.count(), sent, "one that fails its check is never used");
    assert_eq!(lb.server("app", flaky.addr()).await.state, "ejected");
    let panics = async || lb.metrics().await.value("lb_upstream_panic_total", &[("upstream", "app")]);
    assert_eq!(panics().await, Some(1.0));
    let upstream = lb.status().await["upstreams"][0].clone();
    assert_eq!(upstream["panic"], true, "{upstream}");
    dead.set_check(Reply::text("ok"));
    lb.wait_for_state("app", dead.addr(), "healthy").await;
    for _ in 0..10 {
        assert_ne!(lb.get("/").await.text(), "flaky", "two of three are healthy again");
    }
    assert_eq!(lb.status().await["upstreams"][0]["panic"], false);
    assert_eq!(panics().await, Some(1.0));
}
