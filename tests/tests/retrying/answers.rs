//! An answer that may not be retried passes through as it is.

use std::net::SocketAddr;

use lb_tests::client::{Request, Response};
use lb_tests::engine::lacks;
use lb_tests::lb::Lb;
use lb_tests::origin::{Deaf, Origin, Refusing, Reply, Step};
use lb_tests::wait::until;

use super::{app, counts, origins};

fn busy() -> Reply {
    Reply::new(503)
        .header("Content-Type", "application/json")
        .header("X-Mine", "1")
        .header("Retry-After", "7")
        .body("{\"mine\":true}")
}

fn assert_is_busy(answer: &Response) {
    assert_eq!((answer.status, answer.text().as_str()), (503, "{\"mine\":true}"));
    assert_eq!(
        (answer.header("content-type"), answer.header("x-mine"), answer.header("retry-after")),
        ("application/json", "1", "7")
    );
}

#[tokio::test]
async fn c08_a_post_is_sent_once_and_its_answer_is_the_server_s() {
    let origins = origins(3, |_| busy()).await;
    let lb = Lb::start(&app(&origins, "")).await;
    assert_is_busy(&lb.send(&Request::post("/", "body")).await);
    assert_eq!(counts(&origins).iter().sum::<usize>(), 1);
}

#[tokio::test]
async fn c08_when_every_server_fails_a_get_the_last_answer_stands() {
    let origins = origins(3, |_| busy()).await;
    let lb = Lb::start(&app(&origins, "")).await;
    assert_is_busy(&lb.get("/").await);
    assert_eq!(counts(&origins), [1, 1, 1], "three attempts, never twice the same server");
}

#[tokio::test]
async fn with_no_server_left_the_last_answer_stands_too() {
    let origins = origins(2, |_| busy()).await;
    let lb = Lb::start(&app(&origins, "retry = { attempts = 5 }")).await;
    assert_is_busy(&lb.get("/").await);
    assert_eq!(counts(&origins), [1, 1]);
}

/// Servers of which the first is asked first: the others are backups.
fn in_order(first: SocketAddr, second: SocketAddr) -> String {
    format!(
        "[upstreams.app]\nservers = [\"{first}\", {{ address = \"{second}\", backup = true }}]\npassive_health = \"off\"\n\
         timeouts = {{ connect = \"300ms\", read = \"600ms\" }}\nretry = {{ budget_percent = 100 }}\n"
    )
}

#[tokio::test]
async fn an_answer_followed_by_a_failure_stands() {
    let busy_one = Origin::start(|_| busy()).await;
    let failing = Origin::start(|_| Reply::close()).await;
    let (refusing, deaf) = (Refusing::start(), Deaf::start().await.unwrap());
    for second in [failing.addr(), refusing.addr(), deaf.addr()] {
        let lb = Lb::start(&in_order(busy_one.addr(), second)).await;
        for _ in 0..3 {
            let answer = lb.get("/").await;
            if lacks("answers that stand") {
                assert!(answer.status >= 502);
            } else {
                assert_is_busy(&answer);
            }
        }
        lb.wait_until_idle().await;
    }
    assert_eq!((busy_one.count(), failing.count()), (9, 3));
}

#[tokio::test]
async fn it_stands_whatever_its_body_is_and_how_the_second_one_fails() {
    if lacks("answers that stand") {
        return;
    }
    let text = "0123456789".repeat(60_000);
    let bodies = [
        Reply::new(503).body(text.clone()),
        Reply::new(503).chunked(&[&text[..1000], &text[1000..]]),
        Reply::new(503).until_close(text.clone()),
    ];
    let failures = [Reply::reset(), Reply::never(), Reply::raw("garbage\r\n\r\n").then(Step::Close)];
    for body in bodies {
        let first = Origin::start(move |_| body.clone()).await;
        for failure in failures.clone() {
            let second = Origin::start(move |_| failure.clone()).await;
            let lb = Lb::start(&in_order(first.addr(), second.addr())).await;
            let answer = lb.send(&Request::new("PUT", "/").body("x")).await;
            assert!(
                answer.status == 503 && answer.text() == text,
                "{} with {} bytes",
                answer.status,
                answer.body.len()
            );
            assert_eq!(second.count(), 1);
            lb.wait_until_idle().await;
        }
    }
}

#[tokio::test]
async fn it_is_logged_and_counted_as_what_it_is() {
    if lacks("answers that stand") {
        return;
    }
    let (first, second) = (Origin::start(|_| busy()).await, Origin::start(|_| Reply::close()).await);
    let lb = Lb::start(&in_order(first.addr(), second.addr())).await;
    assert_is_busy(&lb.get("/").await);
    let line = lb.log_lines(1).await.remove(0);
    assert_eq!((&line["status"], &line["tries"]), (&503.into(), &2.into()), "{line}");
    assert_eq!(line["server"], first.addr().to_string().as_str(), "{line}");
    assert!(line.get("error").is_none(), "{line}");
    let metrics = lb.metrics().await;
    assert_eq!(metrics.sum("lb_upstream_requests_total", &[("code", "503")]), 1.0);
    assert_eq!(metrics.sum("lb_upstream_requests_total", &[("code", "502")]), 1.0);
    assert_eq!(metrics.sum("lb_retries_total", &[]), 1.0);
}

#[tokio::test]
async fn one_that_breaks_meanwhile_is_not_begun() {
    if lacks("answers that stand") {
        return;
    }
    let first = Origin::start(|_| {
        Reply::script(vec![
            Step::write("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\nstart"),
            Step::Hold,
            Step::Reset,
        ])
    })
    .await;
    let second = Origin::start(|_| Reply::script(vec![Step::Hold, Step::Close])).await;
    let lb = Lb::start(&in_order(first.addr(), second.addr()).replace("600ms", "1m")).await;
    let (mut client, request) = (lb.connect().await, Request::get("/"));
    client.write(request.bytes()).await;
    second.wait_for(1).await;
    first.release(1);
    until("the first connection is gone", async || first.open_connections() == 0).await;
    second.release(1);
    client.response("GET").await.unwrap().assert_problem(502);
}

#[tokio::test]
async fn a_retry_that_succeeds_leaves_no_trace_of_the_failure() {
    let origins = origins(2, |_| busy()).await;
    origins[1].set(|_| Reply::text("good"));
    let lb = Lb::start(&app(&origins, "")).await;
    for _ in 0..6 {
        let answer = lb.get("/").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "good"));
        assert!(
            !answer.headers.has("x-mine") && !answer.headers.has("retry-after"),
            "{:?}",
            answer.headers
        );
    }
    assert!(origins[0].count() > 0);
}
