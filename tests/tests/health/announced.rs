//! Backends that announce by `X-LB-Drain: 1` that they are about to leave.

use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::servers;
use lb_tests::wait::until;

use super::checked;

fn leaving() -> Reply {
    Reply::text("leaving").header("X-LB-Drain", "1")
}

/// Sends requests until the server that leaves has said so.
async fn until_draining(lb: &Lb, origin: &Origin) {
    until("it is known to drain", async || {
        let answer = lb.get("/").await;
        assert_eq!(answer.status, 200);
        assert!(
            answer.headers.get("x-lb-drain").is_none(),
            "the field is between lb and its servers"
        );
        lb.server("app", origin.addr()).await.state == "draining"
    })
    .await;
}

#[tokio::test]
async fn from_that_answer_on_it_gets_no_new_request() {
    let (steady, gone) = (Origin::named("steady").await, Origin::start(|_| leaving()).await);
    let lb = Lb::start(&format!(
        "[upstreams.app]\nbalance = \"round_robin\"\nservers = [{}]\n",
        servers(&[steady.addr(), gone.addr()])
    ))
    .await;
    until_draining(&lb, &gone).await;
    assert_eq!(gone.count(), 1, "one answer was enough");
    for _ in 0..20 {
        assert_eq!(lb.get("/").await.text(), "steady");
    }
    let server = lb.server("app", gone.addr()).await;
    // unless those took as long as it lasts without checks
    if server.state == "draining" {
        assert_eq!(gone.count(), 1);
    }
    assert_eq!(server.ejections, 0, "it is no ejection");
    let labels = [("upstream", "app"), ("server", &gone.addr().to_string() as &str)];
    assert_eq!(lb.metrics().await.sum("lb_upstream_ejections_total", &labels), 0.0);
    gone.set(|_| Reply::text("back"));
    until("it is forgotten after a while", async || lb.get("/").await.text() == "back").await;
}

#[tokio::test]
async fn with_checks_it_comes_back_when_they_pass() {
    let (steady, gone) = (Origin::named("steady").await, Origin::start(|_| leaving()).await);
    // from now on no check ends
    let config = checked(&[&steady, &gone], "interval = \"100ms\", timeout = \"20s\", rise = 2, fall = 2", "");
    let mut lb = Lb::start(&config).await;
    for origin in [&steady, &gone] {
        lb.wait_for_state("app", origin.addr(), "healthy").await;
    }
    gone.set_check(Reply::text("ok").held());
    let before = gone.checks().len();
    until("a check is held", async || gone.checks().len() > before).await;
    until_draining(&lb, &gone).await;
    lb.reload(&format!("{config}\npanic_percent = 10\n")).await;
    assert_eq!(lb.server("app", gone.addr()).await.state, "draining", "also after a reload");
    let sent = gone.count();
    for _ in 0..10 {
        assert_eq!(lb.get("/").await.text(), "steady");
    }
    assert_eq!(gone.count(), sent);
    gone.set(|_| Reply::text("back"));
    gone.set_check(Reply::text("ok"));
    gone.release_all();
    until("its checks pass", async || lb.get("/").await.text() == "back").await;
}

#[tokio::test]
async fn when_all_drain_they_are_used_rather_than_nobody() {
    let origins = [Origin::start(|_| leaving()).await, Origin::start(|_| leaving()).await];
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\n",
        servers(&[origins[0].addr(), origins[1].addr()])
    ))
    .await;
    for origin in &origins {
        until_draining(&lb, origin).await;
    }
    for _ in 0..10 {
        assert_eq!(lb.get("/").await.text(), "leaving");
    }
    assert_eq!(lb.admin_get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_refusal_that_bears_it_is_no_failure_and_is_tried_elsewhere() {
    let (steady, gone) = (
        Origin::named("steady").await,
        Origin::start(|_| Reply::new(503).header("X-LB-Drain", "1")).await,
    );
    let settings = "passive_health = { failures = 1, window = \"60s\", eject = \"60s\" }\nbalance = \"round_robin\"";
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\n{settings}\n",
        servers(&[gone.addr(), steady.addr()])
    ))
    .await;
    for _ in 0..4 {
        assert_eq!(lb.get("/").await.text(), "steady");
    }
    let server = lb.server("app", gone.addr()).await;
    assert_eq!((server.state.as_str(), server.ejections), ("draining", 0));
}

#[tokio::test]
async fn other_values_mean_nothing_and_are_removed_all_the_same() {
    for value in ["0", "", "true", "11"] {
        let origin = Origin::start(move |_| Reply::text("a").header("X-LB-Drain", value)).await;
        let lb = Lb::start(&format!("[upstreams.app]\nservers = [{}]\n", servers(&[origin.addr()]))).await;
        let answer = lb.get("/").await;
        assert!(answer.headers.get("x-lb-drain").is_none(), "{value:?}");
        assert_eq!(lb.server("app", origin.addr()).await.state, "healthy", "{value:?}");
    }
}

#[tokio::test]
async fn stored_answers_do_not_bear_it() {
    let origin = Origin::start(|_| leaving().header("Cache-Control", "max-age=600")).await;
    let lb = Lb::start(&format!(
        "[upstreams.app]\nservers = [{}]\n\n[[routes]]\nupstream = \"app\"\ncache = {{}}\n",
        servers(&[origin.addr()])
    ))
    .await;
    for _ in 0..3 {
        let answer = lb.get("/").await;
        assert_eq!(answer.text(), "leaving");
        assert!(answer.headers.get("x-lb-drain").is_none());
    }
    until("it was stored", async || lb.get("/").await.header("cache-status").contains("hit")).await;
    assert!(lb.get("/").await.headers.get("x-lb-drain").is_none());
}
