//! Stale, and served in place of errors (RFC 5861 §4); and what is not.

use std::time::{Duration, Instant};

use futures::future::join_all;
use lb_tests::client::Request;
use lb_tests::h2c;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::until;

use super::{cached_as, start, until_stale};

fn reply(text: &str, said: &str) -> Reply {
    Reply::text(text).header("Cache-Control", said)
}

fn age(answer: &lb_tests::client::Response) -> u64 {
    answer.header("age").parse().unwrap()
}

#[tokio::test]
async fn c15_an_error_does_not_replace_a_good_entry() {
    let (lb, origin) = start(|_| reply("good", "max-age=1, stale-while-revalidate=1, stale-if-error=5")).await;
    let stored = Instant::now();
    lb.get("/").await;
    origin.set(|_| Reply::new(503).header("Cache-Control", "max-age=60").body("down"));
    let (mut ages, mut requests) = (Vec::new(), 0);
    // it may be served until 6 s after it came
    while stored.elapsed() < Duration::from_millis(5500) {
        let answer = lb.get("/").await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "good"),
            "after {:?}",
            stored.elapsed()
        );
        ages.extend(answer.headers.get("age").and_then(|age| age.parse::<u64>().ok()));
        requests += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(ages.is_sorted() && ages.last() >= Some(&4), "{ages:?}");
    assert!(
        requests > 50 && origin.count() < 10,
        "{} of {requests} requests went to the origin",
        origin.count()
    );
    until("its time is over", async || lb.get("/").await.status == 503).await;
    let over = stored.elapsed();
    assert!(over > Duration::from_millis(5900), "{over:?}");
}

#[tokio::test]
async fn c15_must_revalidate_means_the_error_at_once() {
    let (lb, origin) = start(|_| reply("good", "max-age=1, stale-while-revalidate=20, stale-if-error=30, must-revalidate")).await;
    lb.get("/").await;
    origin.set(|_| Reply::new(503).body("down"));
    until("it is stale", async || {
        let answer = lb.get("/").await;
        assert!(
            !answer.headers.get("cache-status").unwrap_or_default().contains("ttl=-"),
            "{:?}",
            answer.headers
        );
        answer.status == 503
    })
    .await;
}

#[tokio::test]
async fn c15_a_cold_key_has_nothing_to_show() {
    let (lb, origin) = start(|_| Reply::new(503).body("down")).await;
    let requests: Vec<_> = (0..10).map(|_| Request::get("/")).collect();
    let answers = join_all(requests.iter().map(|request| lb.send(request))).await;
    assert!(
        answers
            .iter()
            .all(|answer| (answer.status, answer.text().as_str()) == (503, "down"))
    );
    assert_eq!(lb.get("/").await.status, 503);
    origin.set(|_| reply("up", "max-age=60"));
    assert_eq!(lb.get("/").await.text(), "up", "no error was stored");
}

/// What goes wrong, and how.
type Failure = (&'static str, fn() -> Reply);

#[tokio::test]
async fn whatever_goes_wrong_what_is_stored_stands_in() {
    let failures: [Failure; 5] = [
        ("500", || Reply::new(500).body("broken")),
        ("504", || Reply::new(504).body("late")),
        ("closed", Reply::close),
        ("malformed", || Reply::raw("HTTP/1.1 2000 Odd\r\n\r\n")),
        ("silent", Reply::never),
    ];
    let origin = Origin::start(|_| reply("good", "max-age=1, stale-if-error=600")).await;
    let config = cached_as(&origin, "ttl = \"0s\"").replace("retry = \"off\"", "retry = \"off\"\ntimeouts = { read = \"500ms\" }");
    let lb = Lb::start(&config).await;
    for (what, _) in failures {
        lb.get(&format!("/{what}")).await;
    }
    for (what, failure) in failures {
        origin.set(move |_| failure());
        let stale = until_stale(&lb, &Request::get(&format!("/{what}"))).await;
        assert_eq!((stale.status, stale.text().as_str()), (200, "good"), "{what}");
        assert!(age(&stale) >= 1);
        assert!(
            stale.header("cache-status").ends_with("; detail=stale-if-error"),
            "{what}: {:?}",
            stale.headers
        );
    }
}

/// Where `lb` itself would refuse, because no server can be asked.
#[tokio::test]
async fn what_is_stored_stands_in_for_servers_that_are_full_out_of_order_or_left_alone() {
    const CIRCUIT: &str = "circuit_breaker = { error_percent = 50, min_requests = 2, window = \"10m\", open = \"10m\" }";
    for (name, setting) in [
        ("full", ""),
        ("queue", "queue = { size = 10, timeout = \"100ms\" }"),
        ("circuit", CIRCUIT),
        ("drained", ""),
    ] {
        let origin = Origin::start(|seen| match seen.target.as_str() {
            "/held" => Reply::text("held").held(),
            "/bad" => Reply::new(503).body("sorry"),
            _ => reply("good", "max-age=1, stale-if-error=600"),
        })
        .await;
        let address = origin.addr();
        let config = cached_as(&origin, "").replace(
            &format!("servers = [\"{address}\"]"),
            &format!("servers = [{{ address = \"{address}\", max_connections = 1 }}]\n{setting}"),
        );
        assert!(config.contains("max_connections"), "{config}");
        let lb = Lb::start(&config).await;
        assert_eq!(lb.get("/").await.text(), "good");
        let mut held = None;
        match name {
            "circuit" => {
                for _ in 0..2 {
                    assert_eq!(lb.get("/bad").await.status, 503);
                }
            }
            "drained" => {
                let ordered = lb.order("app", address, r#"{"state": "drain"}"#).await;
                assert_eq!(ordered.status, 200, "{}", ordered.text());
            }
            _ => {
                let mut connection = lb.connect().await;
                connection.write(Request::get("/held").bytes()).await;
                until("the only place is taken", async || origin.active() == 1).await;
                held = Some(connection);
            }
        }
        let stale = until_stale(&lb, &Request::get("/")).await;
        assert_eq!((stale.status, stale.text().as_str()), (200, "good"), "{name}");
        let said = stale.header("cache-status");
        assert!(said.ends_with("; detail=stale-if-error"), "{name}: {said}");
        assert_eq!(origin.count_of("/"), 1, "{name}: nobody was asked");
        let refused = lb.get("/never-seen").await;
        assert_eq!(refused.status, 503, "{name}: {}", refused.text());
        drop(held);
    }
}

#[tokio::test]
async fn a_client_of_http2_is_served_stale_in_place_of_an_error_as_well() {
    let (lb, origin) = start(|_| reply("good", "max-age=1, stale-if-error=600")).await;
    let mut client = h2c::Client::connect(lb.listen()).await;
    client.request("GET", "/", b"").await;
    origin.set(|_| Reply::new(503).body("down"));
    until("it is stale", async || {
        let answer = client.request("GET", "/", b"").await;
        assert_eq!((answer.status, &*answer.body), (200, &b"good"[..]));
        answer.header("cache-status").contains("stale-if-error")
    })
    .await;
}

#[tokio::test]
async fn while_the_origin_is_down_fresh_stale_and_expired_each_behave() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/fresh" => reply("fresh", "max-age=600"),
        "/kept" => reply("kept", "max-age=1"),
        "/strict" => reply("strict", "s-maxage=1"),
        _ => reply("expired", "max-age=1, stale-if-error=0"),
    })
    .await;
    let lb = Lb::start(&cached_as(&origin, "stale_if_error = \"10m\"")).await;
    for target in ["/fresh", "/kept", "/strict", "/expired"] {
        lb.get(target).await;
    }
    origin.stop().await;
    let kept = until_stale(&lb, &Request::get("/kept")).await;
    assert_eq!((kept.status, kept.text().as_str()), (200, "kept"));
    for target in ["/strict", "/expired"] {
        until("it is stale", async || lb.get(target).await.status != 200).await;
        lb.get(target).await.assert_problem(502);
    }
    lb.get("/cold").await.assert_problem(502);
    let fresh = lb.get("/fresh").await;
    assert!(
        fresh.is_hit() && !fresh.header("cache-status").contains("ttl=-"),
        "{:?}",
        fresh.headers
    );
    origin.restart().await;
    origin.set(|_| reply("back", "max-age=600"));
    until("the new one is there", async || lb.get("/kept").await.text() == "back").await;
}

#[tokio::test]
async fn a_thousand_misses_at_once_are_one_request() {
    let (lb, origin) = start(|_| reply("shared", "max-age=60").held()).await;
    let mut all = Vec::new();
    for _ in 0..1000 {
        let mut connection = lb.connect().await;
        connection.write(Request::get("/").bytes()).await;
        all.push(connection);
    }
    origin.wait_for(1).await;
    origin.release_all();
    for connection in &mut all {
        assert_eq!(connection.response("GET").await.unwrap().text(), "shared");
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn what_is_stored_stands_in_for_a_head_and_a_part_too() {
    let (lb, origin) = start(|_| reply("the body", "max-age=60, stale-if-error=600").header("ETag", "\"a\"")).await;
    for target in ["/head", "/part", "/strict"] {
        lb.get(target).await;
    }
    assert_eq!(lb.purge("all=true&soft=true").await, 3);
    origin.set(|_| Reply::new(503).body("down"));
    let head = lb.send(&Request::head("/head")).await;
    assert_eq!((head.status, head.header("content-length")), (200, "8"), "{head:?}");
    assert!(head.header("cache-status").contains("fwd=stale; fwd-status=503"), "{head:?}");
    let part = lb.send(&Request::get("/part").header("Range", "bytes=0-2")).await;
    assert_eq!((part.status, part.text().as_str()), (206, "the"));
    let strict = Request::head("/strict").header("Cache-Control", "no-cache");
    assert_eq!(lb.send(&strict).await.status, 503, "it wants the origin's word");
    origin.stop().await;
    assert_eq!(lb.send(&Request::head("/head")).await.status, 200);
}
