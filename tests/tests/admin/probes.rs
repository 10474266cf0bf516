//! `/healthz` and `/readyz`.

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::{DEADLINE, until};

use super::plain;

#[tokio::test]
async fn ready_means_that_a_server_is_up() {
    let origin = Origin::named("origin").await;
    let check = "health_check = { type = \"http\", path = \"/check\", interval = \"100ms\", timeout = \"5s\", rise = 1, fall = 1 }";
    let lb = Lb::start(&format!("[upstreams.app]\nservers = [\"{}\"]\n{check}\n", origin.addr())).await;
    let probes = async || (lb.admin_get("/healthz").await.status, lb.admin_get("/readyz").await.status);
    lb.wait_for_state("app", origin.addr(), "healthy").await;
    assert_eq!(probes().await, (200, 200));
    origin.set_check(Reply::new(503));
    lb.wait_for_state("app", origin.addr(), "unhealthy").await;
    assert_eq!(probes().await, (200, 503), "alive, but it would serve nobody");
    origin.set_check(Reply::text("ok"));
    lb.wait_for_state("app", origin.addr(), "healthy").await;
    assert_eq!(probes().await, (200, 200));
}

#[tokio::test]
async fn without_any_upstream_it_is_ready_to_answer_by_itself() {
    let lb = Lb::start("[[routes]]\npath = \"/\"\nrespond = { status = 200, body = \"ok\", content_type = \"text/plain\" }\n").await;
    assert_eq!(lb.admin_get("/readyz").await.status, 200);
}

#[tokio::test]
async fn while_draining_it_is_alive_and_not_ready() {
    let origin = Origin::held("late").await;
    let mut lb = Lb::start(&format!("[upstreams.app]\nservers = [\"{}\"]\n", origin.addr())).await;
    let mut connection = lb.connect().await;
    connection.write(Request::get("/").bytes()).await;
    origin.wait_for(1).await;
    assert_eq!(lb.status().await["draining"], false);
    lb.terminate();
    until("it is not ready any more", async || lb.admin_get("/readyz").await.status == 503).await;
    assert_eq!(lb.admin_get("/healthz").await.status, 200);
    assert_eq!(lb.status().await["draining"], true);
    origin.release_all();
    let answer = connection.response("GET").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "late"));
    assert_eq!(lb.exit_within(DEADLINE).await.code(), Some(0));
}

#[tokio::test]
async fn probes_need_no_body_to_be_read() {
    let (lb, _origin) = plain().await;
    for path in ["/healthz", "/readyz"] {
        let answer = lb.admin(&Request::head(path)).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{path}");
    }
}
