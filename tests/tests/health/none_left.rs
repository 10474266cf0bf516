//! When no server is left: 503 with Retry-After, at once, and nothing is sent on.

use std::time::{Duration, Instant};

use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::until;

use super::checked;

#[tokio::test]
async fn c06_when_all_have_failed_it_is_503_at_once() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let lb = Lb::start(&checked(
        &[&a, &b],
        "interval = \"100ms\", timeout = \"5s\", rise = 1, fall = 2",
        "",
    ))
    .await;
    for origin in [&a, &b] {
        lb.wait_for_state("app", origin.addr(), "healthy").await;
    }
    assert_eq!(lb.get("/").await.status, 200);
    for origin in [&a, &b] {
        origin.set_check(Reply::new(503));
    }
    for origin in [&a, &b] {
        lb.wait_for_state("app", origin.addr(), "unhealthy").await;
    }
    let sent = a.count() + b.count();
    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        let start = Instant::now();
        let answer = lb.get("/").await;
        fastest = fastest.min(start.elapsed());
        answer.assert_problem(503);
        assert!(
            answer.header("retry-after").parse::<u32>().is_ok(),
            "{}",
            answer.header("retry-after")
        );
    }
    assert!(fastest < Duration::from_millis(100), "the fastest of ten took {fastest:?}");
    assert_eq!(a.count() + b.count(), sent, "a request was sent on");
    b.set_check(Reply::text("ok"));
    until("the one that is back is used", async || lb.get("/").await.status == 200).await;
    assert_eq!(lb.get("/").await.text(), "b");
}

#[tokio::test]
async fn one_upstream_without_servers_leaves_the_others_alone() {
    let (dead, alive) = (Origin::named("dead").await, Origin::named("alive").await);
    dead.set_check(Reply::close());
    let app = checked(&[&dead], "interval = \"100ms\", timeout = \"5s\", fall = 1", "");
    let rest = format!(
        "[upstreams.rest]\nservers = [\"{}\"]\n\n[[routes]]\npath = \"/app\"\nupstream = \"app\"\n\n[[routes]]\npath = \"/\"\nupstream = \"rest\"\n",
        alive.addr()
    );
    let lb = Lb::setup(&format!("{app}\n{rest}")).unready().start().await;
    lb.wait_for_state("app", dead.addr(), "unhealthy").await;
    lb.get("/app").await.assert_problem(503);
    assert_eq!(lb.get("/").await.text(), "alive");
}
