//! A POST with an `Idempotency-Key` is repeated where its route says so.

use bytes::Bytes;
use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};

use super::{app, counts, origins};

const KEY: &str = "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"";

/// Two servers, of which the first fails as told and the second answers with what it was sent.
async fn two(failing: Reply, route: &str) -> (Lb, Vec<Origin>) {
    let origins = origins(2, |_| Reply::echo()).await;
    origins[0].set(move |_| failing.clone());
    let settings = "balance = \"round_robin\"\nretry = { attempts = 2, budget_percent = 100 }";
    let lb = Lb::start(&format!("{}\n[[routes]]\nupstream = \"app\"\n{route}\n", app(&origins, settings))).await;
    (lb, origins)
}

/// Four requests of which none reaches a second server, and some fail.
async fn assert_sent_once(lb: &Lb, origins: &[Origin], request: &Request) {
    let mut failed = 0;
    for _ in 0..4 {
        let before: usize = counts(origins).iter().sum();
        failed += usize::from(lb.send(request).await.status == 502);
        assert_eq!(counts(origins).iter().sum::<usize>(), before + 1, "{request:?} was sent twice");
    }
    assert!(failed > 0, "the failing one was not met");
}

#[tokio::test]
async fn one_that_has_a_key_is_repeated() {
    let body: Bytes = vec![b'x'; 20_000].into();
    for failing in [Reply::reset(), Reply::new(503)] {
        let (lb, origins) = two(failing, "retry_idempotency_key = true").await;
        for method in ["POST", "PATCH"] {
            let (request, failed) = (
                Request::new(method, "/").header("Idempotency-Key", KEY).body(body.clone()),
                origins[0].count(),
            );
            for _ in 0..4 {
                let answer = lb.send(&request).await;
                assert!(answer.status == 200 && answer.body == body, "{} for {method}", answer.status);
            }
            assert!(origins[0].count() > failed, "the failing one was not met");
            assert!(origins.iter().all(|origin| origin.last().header("idempotency-key") == KEY));
        }
    }
}

#[tokio::test]
async fn one_without_a_key_or_with_an_empty_one_or_with_two_is_not() {
    let (lb, origins) = two(Reply::reset(), "retry_idempotency_key = true").await;
    let post = || Request::post("/", "x");
    assert_sent_once(&lb, &origins, &post()).await;
    assert_sent_once(&lb, &origins, &post().header("Idempotency-Key", "")).await;
    assert_sent_once(&lb, &origins, &post().header("Idempotency-Key", "\"\"")).await;
    let twice = post().header("Idempotency-Key", KEY).header("Idempotency-Key", KEY);
    assert_sent_once(&lb, &origins, &twice).await;
}

#[tokio::test]
async fn nor_where_the_route_does_not_say_so() {
    let (lb, origins) = two(Reply::reset(), "").await;
    assert_sent_once(&lb, &origins, &Request::post("/", "x").header("Idempotency-Key", KEY)).await;
}

#[tokio::test]
async fn nor_one_that_is_larger_than_what_is_kept() {
    let (lb, origins) = two(Reply::reset(), "retry_idempotency_key = true").await;
    let request = Request::post("/", vec![b'x'; 300_000]).header("Idempotency-Key", KEY);
    assert_sent_once(&lb, &origins, &request).await;
}
