//! `fault`: delays and errors on purpose.

use std::time::{Duration, Instant};

use lb_tests::client::Request;
use lb_tests::command;
use lb_tests::h2c;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::DEADLINE;

use super::upstream;

const DELAY: Duration = Duration::from_millis(300);

fn config(origin: &Origin, fault: &str) -> String {
    format!(
        "{}[[routes]]\nname = \"broken\"\nupstream = \"app\"\nfault = {{ {fault} }}\n",
        upstream("app", origin)
    )
}

/// The answer, and how long it took.
async fn timed(lb: &Lb, request: &Request) -> (lb_tests::client::Response, Duration) {
    let start = Instant::now();
    (lb.send(request).await, start.elapsed())
}

#[tokio::test]
async fn an_abort_is_an_error_of_lb_s_own_and_no_server_sees_the_request() {
    let origin = Origin::named("origin").await;
    let lb = Lb::start(&config(&origin, "abort = 503")).await;
    let mut connection = lb.connect().await;
    for request in [Request::get("/"), Request::get("/"), Request::post("/", "a body")] {
        let answer = connection.send(&request).await.expect("an answer on a kept connection");
        answer.assert_problem(503);
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(origin.connections(), 0);
    let mut over_2 = h2c::Client::connect(lb.listen()).await;
    assert_eq!(over_2.request("GET", "/", b"").await.status, 503);
    let lines = lb.log_lines(4).await;
    assert!(
        lines.iter().all(|line| line["error"] == "Fault injected." && line["status"] == 503),
        "{lines:?}"
    );
    assert!(
        lines.iter().all(|line| line["route"] == "broken" && line["upstream"].is_null()),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_delay_comes_before_the_request_goes_on() {
    let origin = Origin::start(|_| Reply::echo()).await;
    let lb = Lb::start(&config(&origin, "delay = \"300ms\"")).await;
    let long = "x".repeat(100_000);
    for body in ["", "short", &long] {
        let (answer, took) = timed(&lb, &Request::post("/", body.to_owned())).await;
        assert_eq!((answer.status, answer.text() == body), (200, true));
        assert!(took >= DELAY, "{took:?}");
    }
    let mut over_2 = h2c::Client::connect(lb.listen()).await;
    let start = Instant::now();
    assert_eq!(over_2.request("POST", "/", b"over 2").await.body.as_ref(), b"over 2");
    assert!(start.elapsed() >= DELAY);
    let lines = lb.log_lines(4).await;
    assert!(
        lines.iter().all(|line| line["error"] == "Fault injected." && line["status"] == 200),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_delay_and_an_abort_follow_each_other() {
    let origin = Origin::named("origin").await;
    let lb = Lb::start(&config(&origin, "delay = \"300ms\", abort = 418")).await;
    let (answer, took) = timed(&lb, &Request::get("/")).await;
    answer.assert_problem(418);
    assert!(took >= DELAY, "{took:?}");
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn so_many_percent_of_the_requests_are_hit() {
    let origin = Origin::named("origin").await;
    let mut lb = Lb::start(&config(&origin, "abort = 500, percent = 50")).await;
    let mut connection = lb.connect().await;
    let mut hit = 0;
    for _ in 0..200 {
        let answer = connection.send(&Request::get("/")).await.unwrap();
        assert!(answer.status == 500 || answer.text() == "origin");
        hit += usize::from(answer.status == 500);
    }
    // A hundred, give or take five standard deviations.
    assert!((65..=135).contains(&hit), "{hit} of 200");
    lb.reload(&config(&origin, "abort = 500, percent = 0")).await;
    for _ in 0..20 {
        assert_eq!(lb.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_delayed_is_noticed_at_once() {
    let origin = Origin::named("origin").await;
    let lb = Lb::start(&config(&origin, "delay = \"1h\"")).await;
    for request in [Request::get("/"), Request::get("/")] {
        let mut connection = lb.connect().await;
        connection.write(request.bytes()).await;
        assert!(!connection.ready_within(Duration::from_millis(50)).await);
        drop(connection);
    }
    let lines = lb.log_lines(2).await;
    assert!(
        lines.iter().all(|line| line["status"] == 499 && line["error"] == "Fault injected."),
        "{lines:?}"
    );
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn a_fault_hits_what_the_cache_would_have_answered_and_comes_after_admission() {
    let origin = Origin::start(|_| Reply::text("fresh").header("Cache-Control", "max-age=60")).await;
    let cached = |fault: &str, more: &str| format!("{}cache = {{}}\n{more}\n", config(&origin, fault));
    let mut lb = Lb::start(&cached("abort = 500, percent = 0", "")).await;
    lb_tests::wait::until("it is stored", async || lb.get("/").await.is_hit()).await;
    lb.reload(&cached("abort = 500", "")).await;
    lb.get("/").await.assert_problem(500);
    lb.reload(&cached("abort = 500", "deny = [\"127.0.0.0/8\"]")).await;
    lb.get("/").await.assert_problem(403);
    lb.reload(&cached("delay = \"1ms\"", "max_body = \"5B\"")).await;
    lb.send(&Request::post("/", "too long")).await.assert_problem(413);
    assert_eq!(lb.send(&Request::post("/", "short")).await.status, 200);
}

#[tokio::test]
async fn delays_hold_up_nobody_else_and_answers_and_redirects_have_faults_as_well() {
    let origin = Origin::named("origin").await;
    let lb = Lb::start(&format!(
        "{}\n[[routes]]\npath = \"/slow\"\nupstream = \"app\"\nfault = {{ delay = \"1h\" }}\n\n[[routes]]\npath = \"/quick\"\nupstream = \"app\"\n\n\
         [[routes]]\npath = \"/own\"\nrespond = {{ body = \"own\" }}\nfault = {{ abort = 502 }}\n",
        upstream("app", &origin)
    ))
    .await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut connection = lb.connect().await;
        connection.write(Request::get("/slow").bytes()).await;
        slow.push(connection);
    }
    let start = Instant::now();
    for _ in 0..50 {
        assert_eq!(lb.get("/quick").await.text(), "origin");
    }
    assert!(start.elapsed() < DEADLINE);
    lb.get("/own").await.assert_problem(502);
    assert_eq!(origin.count(), 50);
}

#[tokio::test]
async fn explain_says_so() {
    let origin = Origin::named("origin").await;
    let setup = Lb::setup(&config(&origin, "delay = \"200ms\", abort = 503, percent = 0.5"));
    let shown = command::lb(&["explain", "-c", &setup.write().display().to_string(), "http://lb.test/"]).await;
    assert!(
        shown.stdout.contains("fault      0.5 % of the requests wait 200ms, then get 503"),
        "{}",
        shown.stdout
    );
}
