//! Every kind of failure is one.

use std::time::Duration;

use super::counts::Outcome;
use super::{Counts, Load};
use crate::origin::{Origin, Refusing, Reply, Step};

async fn counts(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Counts {
    let origin = Origin::start(move |_| reply()).await;
    let load = Load::new(origin.addr(), &["/a", "/b"])
        .connections(2)
        .pace(Duration::from_millis(1))
        .patience(Duration::from_millis(300));
    let running = load.check(|_, response| response.body == b"right").start();
    running.more(6).await;
    running.stop().await
}

#[tokio::test]
async fn right_answers_are_counted_as_such() {
    let counts = counts(|| Reply::text("right")).await;
    counts.assert_none_failed();
    assert_eq!(counts.ok, counts.total());
}

#[tokio::test]
async fn every_kind_of_failure_is_counted_as_its_own() {
    assert_eq!(counts(|| Reply::new(503)).await.ok, 0);
    let not_success = counts(|| Reply::new(503).body("right")).await;
    assert_eq!(not_success.not_success, not_success.total());
    let reset = counts(Reply::reset).await;
    assert_eq!(reset.reset, reset.total());
    let closed = counts(Reply::close).await;
    assert_eq!(closed.reset, closed.total());
    let timeout = counts(Reply::never).await;
    assert_eq!(timeout.timeout, timeout.total());
    let short = counts(|| Reply::script(vec![Step::write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nright"), Step::Close])).await;
    assert_eq!(short.short, short.total());
    let chunks = counts(|| {
        Reply::script(vec![
            Step::write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nright\r\n"),
            Step::Close,
        ])
    })
    .await;
    assert_eq!(chunks.short, chunks.total());
    let wrong = counts(|| Reply::text("wrong")).await;
    assert_eq!(wrong.wrong, wrong.total());
}

#[tokio::test]
async fn a_refused_connection_is_a_failure() {
    let refusing = Refusing::start();
    let running = Load::new(refusing.addr(), &["/"]).connections(1).start();
    running.more(2).await;
    let counts = running.stop().await;
    assert_eq!(counts.connect, counts.total());
}

#[tokio::test]
async fn an_announced_close_is_no_failure_and_an_unannounced_one_is() {
    let announced = counts(|| Reply::text("right").header("Connection", "close").then(Step::Close)).await;
    announced.assert_none_failed();
    let unannounced = counts(|| Reply::text("right").then(Step::Close)).await;
    assert!(unannounced.reset > 0 && unannounced.ok > 0, "{unannounced}");
}

#[test]
fn percentiles_and_what_came_since_are_told() {
    let mut counts = Counts::default();
    for millis in 1..=100 {
        counts.add(Outcome::Ok, Duration::from_millis(millis), String::new);
    }
    assert_eq!(counts.percentile(50), Duration::from_millis(51));
    assert_eq!(counts.percentile(99), Duration::from_millis(100));
    let before = counts.clone();
    counts.add(Outcome::Reset, Duration::from_millis(7), || "reset".into());
    let since = counts.since(&before);
    assert_eq!((since.total(), since.reset, since.slowest), (1, 1, Duration::from_millis(7)));
    assert_eq!(since.examples, ["reset"]);
    assert_eq!(Counts::default().percentile(99), Duration::ZERO);
}
