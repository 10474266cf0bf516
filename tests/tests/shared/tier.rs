//! The second tier: what one `lb` has fetched, the others find in Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Seen};
use lb_tests::redis::Redis;
use lb_tests::wait::until;

use super::{Group, lb, read};

/// Waits until an `lb` has written so many responses to Redis.
async fn until_kept(lb: &Lb, count: u64) {
    until(&format!("{count} responses are kept"), async || {
        lb.metrics().await.sum("lb_cache_redis_writes_total", &[("result", "stored")]) >= count as f64
    })
    .await;
}

/// Two of them before an origin that answers like this.
async fn pair(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> (Redis, Origin, [Lb; 2]) {
    let (redis, origin) = (Redis::start().await, Origin::start(answer).await);
    let lbs = [lb(&redis, &origin, "fast").await, lb(&redis, &origin, "fast").await];
    for lb in &lbs {
        until("lb has met Redis", async || {
            lb.status().await["cache"]["redis"]["connected"] == true
        })
        .await;
        // The first answers may come before the tier is open, each to another target: of one that is not for the store, nobody asks others again.
        let mut asked = 0;
        until("the tier is open", async || {
            asked += 1;
            lb.get(&format!("/open?{asked}")).await;
            let metrics = lb.metrics().await;
            metrics.sum("lb_cache_redis_requests_total", &[]) > 0.0
        })
        .await;
    }
    (redis, origin, lbs)
}

fn fresh(text: &str) -> Reply {
    Reply::text(text).header("Cache-Control", "max-age=600")
}

fn opening(seen: &Seen) -> bool {
    seen.target.starts_with("/open")
}

#[tokio::test]
async fn what_one_has_fetched_the_other_finds_whole() {
    let body = "x".repeat(300_000);
    let text = body.clone();
    let (_redis, origin, lbs) = pair(move |seen| match seen.target.as_str() {
        _ if opening(seen) => Reply::text("o").header("Cache-Control", "no-store"),
        "/large" => fresh(&text).header("ETag", "\"1\"").header("X-Own", "a").header("X-Own", "b"),
        _ => fresh("small"),
    })
    .await;
    for target in ["/large", "/small"] {
        let first = lbs[0].get(target).await;
        until_kept(&lbs[0], if target == "/large" { 1 } else { 2 }).await;
        let second = lbs[1].get(target).await;
        assert_eq!((second.status, second.text()), (200, first.text()));
        assert!(second.is_hit(), "{:?}", second.headers);
        assert!(second.headers.has("age"));
        assert_eq!(
            second.headers.all("x-own").collect::<Vec<_>>(),
            first.headers.all("x-own").collect::<Vec<_>>()
        );
        assert_eq!(origin.count_of(target), 1);
    }
    let conditional = Request::get("/large").header("If-None-Match", "\"1\"");
    assert_eq!(lbs[1].send(&conditional).await.status, 304);
}

#[tokio::test]
async fn each_variant_is_found_by_those_who_ask_for_it() {
    let (_redis, origin, lbs) = pair(|seen| match seen.headers.get("accept-language") {
        _ if opening(seen) => Reply::text("o").header("Cache-Control", "no-store"),
        language => fresh(language.unwrap_or("none")).header("Vary", "Accept-Language"),
    })
    .await;
    let ask = |language: &str| Request::get("/v").header("Accept-Language", language);
    lbs[0].send(&ask("de")).await;
    lbs[0].send(&ask("fr")).await;
    until_kept(&lbs[0], 2).await;
    for language in ["de", "fr", "it"] {
        let answer = lbs[1].send(&ask(language)).await;
        assert_eq!((answer.text().as_str(), answer.is_hit()), (language, language != "it"));
    }
    assert_eq!(origin.count_of("/v"), 3);
}

#[tokio::test]
async fn what_was_purged_is_not_found() {
    for coherence in ["fast", "strict"] {
        let mut group = Group::start(2, coherence).await;
        for round in 0..5 {
            group.fill("/tagged").await;
            group.fill("/plain").await;
            let number = group.write(round % 2, "/tagged").await;
            // Its own reads see it at once, and those of one that has nothing but Redis, too.
            assert_eq!(read(&group.lbs[round % 2], "/tagged").await, number);
            group.until_all_show("/tagged", number).await;
            let third = lb(&group.redis, &group.origin, coherence).await;
            assert_eq!(read(&third, "/tagged").await, number);
            group.lbs[0].purge("url=/plain").await;
            group.until_all_show("/plain", number).await;
            drop(third);
        }
        group.redis.crash();
    }
}

#[tokio::test]
async fn a_crowd_at_several_asks_the_origin_once() {
    let (_redis, origin, lbs) = pair(|seen| match seen.target.as_str() {
        _ if opening(seen) => Reply::text("o").header("Cache-Control", "no-store"),
        _ => fresh("slow").held(),
    })
    .await;
    let request = Request::get("/crowd");
    let asked = join_all((0..20).map(|number| lbs[number % 2].send(&request)));
    let release = async {
        until("somebody asks the origin", async || origin.count_of("/crowd") > 0).await;
        for lb in &lbs {
            until("all have come", async || lb.status().await["connections"].as_u64() >= Some(10)).await;
        }
        origin.release_all();
    };
    let (answers, ()) = tokio::join!(asked, release);
    assert!(answers.iter().all(|answer| answer.text() == "slow"));
    assert_eq!(origin.count_of("/crowd"), 1);
}

#[tokio::test]
async fn nobody_waits_long_for_one_that_is_gone_or_for_what_is_not_for_others() {
    let (_redis, origin, [mut gone, other]) = pair(|seen| match seen.target.as_str() {
        _ if opening(seen) => Reply::text("o").header("Cache-Control", "no-store"),
        "/private" => Reply::text("p").header("Cache-Control", "private"),
        _ if seen.headers.has("x-first") => fresh("held").held(),
        _ => fresh("there"),
    })
    .await;
    let mut first = gone.connect().await;
    first.write(Request::get("/dead").header("X-First", "1").bytes()).await;
    until("it asks the origin", async || origin.count_of("/dead") == 1).await;
    gone.process.crash();
    let start = Instant::now();
    assert_eq!(other.get("/dead").await.text(), "there");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    for _ in 0..10 {
        assert_eq!(other.get("/private").await.text(), "p");
    }
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_cannot_be_read_is_fetched() {
    let (redis, origin, lbs) = pair(|seen| match seen.target.as_str() {
        _ if opening(seen) => Reply::text("o").header("Cache-Control", "no-store"),
        _ => fresh("right"),
    })
    .await;
    lbs[0].get("/a").await;
    until_kept(&lbs[0], 1).await;
    let keys = redis.ask(&["KEYS", "{lb:*:r"]).await;
    let key = keys.lines().find(|line| line.starts_with("{lb:")).expect("a response").to_owned();
    for garbage in ["", "garbage", "\u{1}\u{2}"] {
        redis.ask(&["SET", &key, garbage]).await;
        lbs[1].purge("all=true").await;
        assert_eq!(lbs[1].get("/a").await.text(), "right", "{garbage:?}");
    }
    assert!(origin.count_of("/a") > 3);
}

#[tokio::test]
async fn a_redis_that_hangs_delays_a_miss_by_little() {
    let (mut redis, _origin, lbs) = pair(|seen| match seen.target.as_str() {
        _ if opening(seen) => Reply::text("o").header("Cache-Control", "no-store"),
        _ => fresh("right"),
    })
    .await;
    redis.pause();
    let start = Instant::now();
    for number in 0..20 {
        assert_eq!(lbs[0].get(&format!("/{number}")).await.text(), "right");
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    redis.go_on();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_every_one_in_turn_keeps_the_hit_ratio() {
    let redis = Redis::start().await;
    let origin = Origin::start(|seen| fresh(&seen.target).header("Cache-Tag", "all")).await;
    let mut lbs = Vec::new();
    for _ in 0..3 {
        lbs.push(lb(&redis, &origin, "fast").await);
    }
    let targets: Vec<String> = (0..100).map(|number| format!("/{number}")).collect();
    let (hits, asked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let round = async |lbs: &[Lb]| {
        for (number, target) in targets.iter().enumerate() {
            let answer = lbs[number % lbs.len()].get(target).await;
            assert_eq!(&answer.text(), target);
            hits.fetch_add(u64::from(answer.is_hit()), Ordering::SeqCst);
            asked.fetch_add(1, Ordering::SeqCst);
        }
    };
    round(&lbs).await;
    until("all of it is in Redis", async || {
        let keys = redis.ask(&["DBSIZE"]).await;
        keys.trim_start_matches(':').trim().parse::<u64>().unwrap() >= 100
    })
    .await;
    hits.store(0, Ordering::SeqCst);
    asked.store(0, Ordering::SeqCst);
    for at in 0..3 {
        lbs[at].terminate();
        assert!(lbs[at].exit_within(Duration::from_secs(30)).await.success());
        lbs[at] = lb(&redis, &origin, "fast").await;
        round(&lbs).await;
        // Another one is asked for each, so that memory alone would not do.
        lbs.rotate_left(1);
        round(&lbs).await;
        lbs.rotate_right(1);
    }
    let (hits, asked) = (hits.load(Ordering::SeqCst), asked.load(Ordering::SeqCst));
    assert!(hits * 10 > asked * 8, "{hits} hits of {asked}");
}

#[tokio::test]
async fn what_was_found_to_be_right_is_kept_as_new() {
    let (_redis, origin, lbs) = pair(|seen| match seen.target.as_str() {
        _ if opening(seen) => Reply::text("o").header("Cache-Control", "no-store"),
        _ if seen.headers.has("if-none-match") => Reply::new(304).header("ETag", "\"a\"").header("Cache-Control", "max-age=600"),
        _ => Reply::text("the body").header("ETag", "\"a\"").header("Cache-Control", "max-age=1"),
    })
    .await;
    lbs[0].get("/a").await;
    until_kept(&lbs[0], 1).await;
    until("it was found to be right", async || {
        lbs[0].get("/a").await.header("cache-status").contains("304")
    })
    .await;
    until_kept(&lbs[0], 2).await;
    let asked = origin.count_of("/a");
    let found = lbs[1].get("/a").await;
    assert_eq!(
        (found.is_hit(), found.text().as_str(), origin.count_of("/a")),
        (true, "the body", asked)
    );
}
