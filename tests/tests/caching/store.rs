//! Hits and misses, and what they say about themselves.

use lb_tests::client::Request;
use lb_tests::engine::lacks;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::until;

use super::{cached_as, fill, fresh, start};

/// The parameters of the member that is ours in `Cache-Status`.
fn cache_status(value: &str) -> Vec<String> {
    let mut parts = value.split(';').map(|part| part.trim().to_owned());
    assert_eq!(parts.next().as_deref(), Some("lb"), "{value}");
    parts.collect()
}

#[tokio::test]
async fn the_first_is_a_miss_and_the_next_ones_are_hits() {
    let (lb, origin) = start(|_| fresh("body").header("X-Mine", "1").header("ETag", "\"a\"")).await;
    let first = lb.get("/a").await;
    let status = cache_status(first.header("cache-status"));
    assert!(
        status.iter().any(|part| part.starts_with("fwd=")) && status.contains(&"stored".to_owned()),
        "{status:?}"
    );
    assert!(!first.is_hit() && !first.headers.has("age"), "{:?}", first.headers);
    fill(&lb, &Request::get("/a")).await;
    let hit = lb.get("/a").await;
    assert_eq!((hit.status, hit.text().as_str()), (200, "body"));
    assert_eq!(
        (hit.header("x-mine"), hit.header("etag"), hit.header("content-type")),
        ("1", "\"a\"", "text/plain")
    );
    assert!(hit.header("age").parse::<u64>().is_ok_and(|age| age < 60), "{}", hit.header("age"));
    let status = cache_status(hit.header("cache-status"));
    assert_eq!(status[0], "hit");
    let ttl = status
        .iter()
        .find_map(|part| part.strip_prefix("ttl="))
        .and_then(|ttl| ttl.parse::<i64>().ok());
    assert!(ttl.is_none_or(|ttl| (0..=60).contains(&ttl)), "{status:?}");
    assert_eq!(origin.count(), 1);
    // a hit is a request like any other
    assert_ne!(hit.header("x-request-id"), first.header("x-request-id"));
}

#[tokio::test]
async fn a_hit_needs_no_server() {
    let (lb, origin) = start(|_| fresh("kept")).await;
    fill(&lb, &Request::get("/")).await;
    origin.stop().await;
    assert_eq!(lb.get("/").await.text(), "kept");
}

#[tokio::test]
async fn hits_keep_a_connection_and_may_be_pipelined() {
    let (lb, _origin) = start(|seen| fresh(&seen.target)).await;
    for target in ["/1", "/2"] {
        fill(&lb, &Request::get(target)).await;
    }
    let mut connection = lb.connect().await;
    connection
        .write([Request::get("/1").bytes(), Request::head("/2").bytes(), Request::get("/2").bytes()].concat())
        .await;
    for (method, body) in [("GET", "/1"), ("HEAD", ""), ("GET", "/2")] {
        let answer = connection.response(method).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.is_hit(), answer.keeps_alive), (body, true, true));
    }
}

#[tokio::test]
async fn freshness_ends() {
    let (lb, origin) = start(|_| Reply::text("short").header("Cache-Control", "max-age=2")).await;
    fill(&lb, &Request::get("/")).await;
    let asked = origin.count();
    until("the origin is asked again", async || {
        lb.get("/").await;
        origin.count() > asked
    })
    .await;
}

#[tokio::test]
async fn the_age_that_an_answer_came_with_counts() {
    let (lb, origin) = start(|seen| fresh("old").header("Age", if seen.target == "/old" { "40" } else { "61" })).await;
    fill(&lb, &Request::get("/old")).await;
    let age: u64 = lb.get("/old").await.header("age").parse().unwrap();
    assert!((40..60).contains(&age), "{age}");
    for _ in 0..3 {
        assert!(!lb.get("/too-old").await.is_hit());
    }
    assert_eq!(origin.count_of("/too-old"), 3);
}

#[tokio::test]
async fn its_date_is_when_it_was_made() {
    if lacks("the server's `Date`") {
        return;
    }
    const MADE: &str = "Fri, 02 Jan 2026 03:04:05 GMT";
    let (lb, origin) = start(|seen| {
        let reply = Reply::text("a").header("Cache-Control", "max-age=2000000000");
        if seen.target == "/" { reply.header("Date", MADE) } else { reply }
    })
    .await;
    assert_eq!(lb.get("/").await.header("date"), MADE);
    fill(&lb, &Request::get("/")).await;
    assert_eq!(lb.get("/").await.header("date"), MADE);
    fill(&lb, &Request::get("/without")).await;
    let without = lb.get("/without").await;
    // It is when the answer came (RFC 9110 section 6.6.1).
    until("a second is over", async || {
        let hit = lb.get("/without").await;
        assert_eq!(hit.header("date"), without.header("date"));
        hit.header("age").parse::<u64>().unwrap() > 1
    })
    .await;
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_route_s_ttl_is_for_answers_that_say_nothing() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/silent" => Reply::text("a"),
        "/no" => Reply::text("a").header("Cache-Control", "no-store"),
        "/stale" => Reply::text("a").header("Cache-Control", "max-age=0"),
        "/404" => Reply::new(404).body("none"),
        _ => Reply::new(301).header("Location", "/silent"),
    })
    .await;
    let lb = Lb::start(&cached_as(&origin, "ttl = \"1m\", statuses = [200, 301]")).await;
    for (target, stored) in [
        ("/silent", true),
        ("/301", true),
        ("/no", false),
        ("/stale", false),
        ("/404", false),
    ] {
        for _ in 0..4 {
            lb.get(target).await;
        }
        let asked = origin.count_of(target);
        assert_eq!(asked, if stored { 1 } else { 4 }, "{target}");
    }
    fill(&lb, &Request::get("/silent")).await;
}

#[tokio::test]
async fn head_is_served_from_what_get_stored_and_never_the_other_way_round() {
    let (lb, origin) = start(|_| fresh("a body")).await;
    let mut connection = lb.connect().await;
    let head = connection.send(&Request::head("/a")).await.unwrap();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "6", 0));
    let get = connection.send(&Request::get("/a")).await.unwrap();
    assert_eq!(get.text(), "a body", "an answer to HEAD was stored for GET");
    fill(&lb, &Request::get("/a")).await;
    let asked = origin.count();
    let head = connection.send(&Request::head("/a")).await.unwrap();
    assert_eq!((head.is_hit(), head.header("content-length"), head.body.len()), (true, "6", 0));
    assert_eq!(connection.send(&Request::get("/a")).await.unwrap().text(), "a body");
    assert_eq!(origin.count(), asked);
}

#[tokio::test]
async fn a_route_without_cache_stores_nothing_and_says_nothing() {
    let origin = Origin::start(|_| fresh("a")).await;
    let lb = Lb::start(&format!("[upstreams.app]\nservers = [\"{}\"]\n", origin.addr())).await;
    for _ in 0..3 {
        assert!(!lb.get("/").await.headers.has("cache-status"));
    }
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn the_metrics_and_the_status_know_what_is_stored() {
    let (lb, _origin) = start(|_| fresh(&"x".repeat(10_000))).await;
    for number in 0..5 {
        fill(&lb, &Request::get(&format!("/{number}"))).await;
    }
    let metrics = lb.metrics_after(10).await;
    assert_eq!(metrics.value("lb_cache_objects", &[]), Some(5.0));
    let bytes = metrics.value("lb_cache_bytes", &[]).unwrap();
    assert!((50_000.0..70_000.0).contains(&bytes), "{bytes}");
    assert!(metrics.sum("lb_cache_requests_total", &[("status", "hit")]) >= 5.0);
    assert!(metrics.sum("lb_cache_requests_total", &[("status", "miss")]) >= 5.0);
    let cache = &lb.status().await["cache"];
    assert_eq!(
        (&cache["objects"], &cache["memory"]),
        (&5.into(), &(256 * 1024 * 1024).into()),
        "{cache}"
    );
    assert_eq!(cache["bytes"].as_f64(), Some(bytes), "{cache}");
}

#[tokio::test]
async fn with_min_uses_a_response_is_stored_from_that_request_on() {
    let origin = Origin::start(|_| fresh("a")).await;
    let lb = Lb::start(&cached_as(&origin, "min_uses = 3")).await;
    for due in [1, 2, 3] {
        let answer = lb.get("/").await;
        assert_eq!((answer.text(), origin.count()), ("a".into(), due));
        assert_eq!(answer.header("cache-status").contains("stored"), due == 3, "{answer:?}");
    }
    assert!(lb.get("/").await.is_hit());
    assert!(
        !lb.get("/other").await.header("cache-status").contains("stored"),
        "another key has another count"
    );
}
