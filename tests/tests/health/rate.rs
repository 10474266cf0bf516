//! One task checks a server, whatever the number of reloads and upstreams.

use std::time::{Duration, Instant};

use lb_tests::lb::Lb;
use lb_tests::load::Load;
use lb_tests::origin::{Origin, Reply};
use lb_tests::servers;
use tokio::time::sleep;

use super::checked;

const INTERVAL: Duration = Duration::from_millis(250);

/// Counts the checks of `time`, and fails when they are more than one task makes: intervals may be 10 % shorter by jitter.
async fn assert_one_task(origin: &Origin, time: Duration, what: &str) {
    let (before, start) = (origin.checks().len(), Instant::now());
    sleep(time).await;
    let (count, took) = (origin.checks().len() - before, start.elapsed());
    let most = (took.as_secs_f64() / (INTERVAL.as_secs_f64() * 0.9)).ceil() as usize + 1;
    assert!(count <= most, "{what}: {count} checks in {took:?}, one task makes {most} at most");
    assert!(count >= 2, "{what}: only {count} checks in {took:?}");
}

#[tokio::test]
async fn c24_twenty_reloads_send_no_traffic_to_the_dead_and_make_no_extra_checks() {
    let (a, b, dead) = (Origin::named("a").await, Origin::named("b").await, Origin::named("dead").await);
    dead.set_check(Reply::new(503));
    let config = |number: usize| {
        let app = checked(&[&a, &b, &dead], "interval = \"250ms\", timeout = \"5s\", rise = 1, fall = 1", "");
        let unrelated = format!(
            "[[routes]]\npath = \"/unrelated\"\nrespond = {{ status = 200, body = \"{number}\", content_type = \"text/plain\" }}\n"
        );
        format!("{app}\n[[routes]]\npath = \"/\"\nupstream = \"app\"\n\n{unrelated}")
    };
    let mut lb = Lb::start(&config(0)).await;
    lb.wait_for_state("app", dead.addr(), "unhealthy").await;
    for origin in [&a, &b] {
        lb.wait_for_state("app", origin.addr(), "healthy").await;
    }
    let sent = dead.count();
    let load = Load::new(lb.listen(), &["/"])
        .connections(8)
        .pace(Duration::from_millis(10))
        .start();
    let (checks, start) = (a.checks().len(), Instant::now());
    for number in 1..=20 {
        lb.reload(&config(number)).await;
        assert_eq!(lb.get("/unrelated").await.text(), number.to_string());
        load.more(5).await;
        assert_eq!(lb.server("app", dead.addr()).await.state, "unhealthy", "after reload {number}");
        assert_eq!(lb.server("app", a.addr()).await.state, "healthy", "after reload {number}");
    }
    load.stop().await.assert_none_failed();
    assert_eq!(dead.count(), sent, "the dead one got a request");
    let most = (start.elapsed().as_secs_f64() / (INTERVAL.as_secs_f64() * 0.9)).ceil() as usize + 1;
    assert!(
        a.checks().len() - checks <= most,
        "{} checks while {most} are due",
        a.checks().len() - checks
    );
    assert_one_task(&a, Duration::from_secs(3), "after 20 reloads").await;
}

#[tokio::test]
async fn two_upstreams_with_one_server_check_it_once() {
    let origin = Origin::named("a").await;
    let check = "health_check = { type = \"http\", path = \"/check\", interval = \"250ms\", timeout = \"5s\" }";
    let list = servers(&[origin.addr()]);
    let routes = "[[routes]]\npath = \"/one\"\nupstream = \"one\"\n\n[[routes]]\npath = \"/two\"\nupstream = \"two\"\n";
    let config = format!("[upstreams.one]\nservers = [{list}]\n{check}\n\n[upstreams.two]\nservers = [{list}]\n{check}\n\n{routes}");
    let lb = Lb::start(&config).await;
    for upstream in ["one", "two"] {
        lb.wait_for_state(upstream, origin.addr(), "healthy").await;
    }
    assert_one_task(&origin, Duration::from_secs(3), "two upstreams").await;
}

#[tokio::test]
async fn a_check_that_nobody_needs_any_more_stops() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let check = "interval = \"100ms\", timeout = \"5s\"";
    let mut lb = Lb::start(&checked(&[&a, &b], check, "")).await;
    lb.wait_for_state("app", b.addr(), "healthy").await;
    lb.reload(&checked(&[&a], check, "")).await;
    // a check that was under way may still arrive
    sleep(Duration::from_millis(300)).await;
    let after = b.checks().len();
    let others = a.checks().len();
    lb_tests::wait::until("the other one is checked on", async || a.checks().len() >= others + 5).await;
    assert_eq!(b.checks().len(), after);
}
