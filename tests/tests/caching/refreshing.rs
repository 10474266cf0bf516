//! Stale, and served while it is fetched anew (RFC 5861 §3).

use std::time::{Duration, Instant};

use lb_tests::client::Request;
use lb_tests::h2c;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::{throughout, until};

use super::{cached_as, start, until_stale};

fn reply(text: &str, said: &str) -> Reply {
    Reply::text(text).header("Cache-Control", said)
}

/// Like [`cached_as`], with a read timeout.
fn impatient(origin: &Origin, cache: &str) -> String {
    cached_as(origin, cache).replace("retry = \"off\"", "retry = \"off\"\ntimeouts = { read = \"2s\" }")
}

#[tokio::test]
async fn stale_is_served_at_once_while_one_request_fetches_it_anew() {
    let (lb, origin) = start(|_| reply("old", "max-age=1, stale-while-revalidate=60")).await;
    lb.get("/").await;
    origin.set(|_| reply("new", "max-age=60").held());
    let stale = until_stale(&lb, &Request::get("/")).await;
    assert_eq!(stale.text(), "old");
    assert!(
        stale.header("cache-status").ends_with("; detail=stale-while-revalidate"),
        "{:?}",
        stale.headers
    );
    origin.wait_for(2).await;
    for _ in 0..50 {
        assert_eq!(lb.get("/").await.text(), "old");
    }
    assert_eq!(origin.count(), 2);
    origin.release_all();
    until("the new one is there", async || lb.get("/").await.text() == "new").await;
    assert_eq!(origin.count(), 2);
    let metrics = lb.metrics().await;
    assert!(metrics.sum("lb_cache_requests_total", &[("status", "stale")]) >= 51.0);
    assert!(
        metrics.sum("lb_requests_total", &[]) < 200.0,
        "the refresh is no request of a client's"
    );
}

#[tokio::test]
async fn the_route_may_allow_it_where_the_origin_does_not_say() {
    for (said, served) in [("max-age=1", true), ("s-maxage=1", false), ("max-age=1, must-revalidate", false)] {
        let origin = Origin::start(move |_| reply("old", said)).await;
        let lb = Lb::start(&cached_as(&origin, "stale_while_revalidate = \"1m\"")).await;
        lb.get("/").await;
        origin.set(|_| reply("new", "max-age=60"));
        if served {
            assert_eq!(until_stale(&lb, &Request::get("/")).await.text(), "old", "{said}");
            until("the new one is there", async || lb.get("/").await.text() == "new").await;
        } else {
            until("it is stale", async || {
                let answer = lb.get("/").await;
                assert!(!answer.header("cache-status").contains("ttl=-"), "{said}: {:?}", answer.headers);
                answer.text() == "new"
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_refresh_asks_whether_it_is_still_right() {
    let (lb, origin) = start(|seen| match seen.headers.has("if-none-match") {
        true => Reply::new(304).header("ETag", "\"a\"").header("Cache-Control", "max-age=60"),
        false => reply("a", "max-age=1, stale-while-revalidate=60").header("ETag", "\"a\""),
    })
    .await;
    lb.get("/").await;
    let head = Request::head("/").header("X-Own", "1");
    until_stale(&lb, &head).await;
    until("it is fresh again", async || {
        !lb.get("/").await.header("cache-status").contains("ttl=-")
    })
    .await;
    let asked = origin.last();
    assert_eq!((asked.method.as_str(), asked.headers.get("if-none-match")), ("GET", Some("\"a\"")));
    assert_eq!(asked.headers.get("x-own"), Some("1"), "as the client asked");
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_client_of_http2_is_served_stale_as_well() {
    let (lb, origin) = start(|_| reply("old", "max-age=1, stale-while-revalidate=60")).await;
    let mut client = h2c::Client::connect(lb.listen()).await;
    client.request("GET", "/", b"").await;
    origin.set(|_| reply("new", "max-age=60"));
    until("the new one is there", async || client.request("GET", "/", b"").await.body == "new").await;
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn c14_a_refresh_that_hangs_does_not_leave_it_stale_for_ever() {
    let origin = Origin::start(|_| reply("old", "max-age=1, stale-while-revalidate=20")).await;
    let lb = Lb::start(&impatient(&origin, "ttl = \"0s\"")).await;
    lb.get("/").await;
    let stored = Instant::now();
    origin.set(|_| Reply::never());
    until_stale(&lb, &Request::get("/")).await;
    origin.wait_for(2).await;
    let begun = Instant::now();
    origin.set(|_| reply("new", "max-age=1, stale-while-revalidate=20"));
    throughout(Duration::from_millis(1500), "stale at once, and one refresh", async || {
        let asked = Instant::now();
        let answer = lb.get("/").await;
        answer.text() == "old" && asked.elapsed() < Duration::from_millis(500) && origin.count() == 2
    })
    .await;
    until("new content shows", async || lb.get("/").await.text() == "new").await;
    let shown = begun.elapsed();
    assert!((Duration::from_millis(1900)..Duration::from_secs(4)).contains(&shown), "{shown:?}");
    assert!(stored.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn c14_past_its_window_nothing_is_stale() {
    let (lb, origin) = start(|_| reply("old", "max-age=1, stale-while-revalidate=2")).await;
    lb.get("/").await;
    let stored = Instant::now();
    origin.set(|_| reply("new", "max-age=60").held());
    let only = Request::get("/").header("Cache-Control", "only-if-cached");
    until("its window is over", async || lb.send(&only).await.status == 504).await;
    let over = stored.elapsed();
    assert!(over > Duration::from_millis(2900), "{over:?}");
    let mut waiting = lb.connect().await;
    waiting.write(Request::get("/").bytes()).await;
    assert!(
        !waiting.ready_within(Duration::from_millis(300)).await,
        "an answer before there is one"
    );
    origin.release_all();
    assert_eq!(waiting.response("GET").await.unwrap().text(), "new");
    assert_eq!(origin.count(), 2);
}
