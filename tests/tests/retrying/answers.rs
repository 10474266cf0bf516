//! An answer that may not be retried passes through as it is.

use lb_tests::client::{Request, Response};
use lb_tests::lb::Lb;
use lb_tests::origin::Reply;

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

#[tokio::test]
async fn an_answer_followed_by_a_failure_gives_the_client_one_of_the_two() {
    let origins = origins(2, |_| busy()).await;
    origins[1].set(|_| Reply::close());
    let lb = Lb::start(&app(&origins, "balance = \"round_robin\"")).await;
    for _ in 0..4 {
        let answer = lb.get("/").await;
        if answer.status == 503 {
            assert_is_busy(&answer)
        } else {
            answer.assert_problem(502)
        }
    }
    assert_eq!(counts(&origins), [4, 4]);
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
