//! `coherence = "fast"`: the others have purged within 100 ms, and nobody waits for that.

use std::time::{Duration, Instant};

use lb_tests::client::Request;
use lb_tests::load::Load;
use lb_tests::redis::Redis;
use lb_tests::wait::until;

use super::{Group, lb, read};

/// What a busy machine may take on top of the 100 ms that are promised.
const BUSY: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_purge_by_tag_reaches_every_other() {
    let group = Group::start(3, "fast").await;
    let mut fastest = Duration::MAX;
    for round in 0..10 {
        group.fill("/tagged").await;
        let number = group.write(round % 3, "/tagged").await;
        let written = Instant::now();
        group.until_all_show("/tagged", number).await;
        fastest = fastest.min(written.elapsed());
        assert!(written.elapsed() < BUSY, "{:?}", written.elapsed());
    }
    assert!(fastest < Duration::from_millis(100), "never faster than {fastest:?}");
}

#[tokio::test]
async fn so_does_one_by_an_unsafe_method_and_one_by_hand() {
    let group = Group::start(2, "fast").await;
    group.fill("/plain").await;
    let number = group.write(0, "/plain").await;
    group.until_all_show("/plain", number).await;
    for query in ["url=/plain", "prefix=/pl", "all=true"] {
        group.fill("/plain").await;
        group.number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(group.lbs[1].purge(query).await, 1);
        group
            .until_all_show("/plain", group.number.load(std::sync::atomic::Ordering::SeqCst))
            .await;
    }
    let metrics = group.lbs[0].metrics().await;
    assert_eq!(metrics.sum("lb_cache_purges_total", &[("from", "here")]), 1.0);
    assert!(metrics.sum("lb_cache_purges_total", &[("from", "others")]) >= 3.0);
    assert_eq!(metrics.sum("lb_cache_redis_errors_total", &[]), 0.0);
}

#[tokio::test]
async fn what_is_purged_here_does_not_come_back_as_a_purge() {
    let group = Group::start(1, "fast").await;
    group.write(0, "/tagged").await;
    group.fill("/tagged").await;
    // The log has been read by the time that a second one has read it.
    let second = lb(&group.redis, &group.origin, "fast").await;
    until("the second has met Redis", async || {
        second.status().await["cache"]["redis"]["connected"] == true
    })
    .await;
    second.purge("url=/nothing").await;
    until("that was heard of", async || {
        group.lbs[0].metrics().await.sum("lb_cache_purges_total", &[("from", "others")]) == 1.0
    })
    .await;
    assert!(group.lbs[0].get("/tagged").await.is_hit());
}

#[tokio::test]
async fn one_that_was_stopped_catches_up() {
    let mut group = Group::start(2, "fast").await;
    group.fill("/tagged").await;
    group.fill("/plain").await;
    group.lbs[1].process.signal(lb_tests::process::Signal::STOP);
    let number = group.write(0, "/tagged").await;
    group.lbs[1].process.signal(lb_tests::process::Signal::CONT);
    group.until_all_show("/tagged", number).await;
    assert!(group.lbs[1].get("/plain").await.is_hit(), "what was not purged is still there");
}

#[tokio::test]
async fn one_that_has_missed_more_than_the_log_has_drops_all() {
    let mut group = Group::start(2, "fast").await;
    group.fill("/tagged").await;
    group.fill("/plain").await;
    group.lbs[1].process.signal(lb_tests::process::Signal::STOP);
    let before = group.told().await;
    let number = group.write(0, "/tagged").await;
    until("the log has the purge", async || group.told().await > before).await;
    // As if more had come than is kept.
    group.redis.ask(&["XTRIM", "{lb}:purges", "MAXLEN", "0"]).await;
    let again = group.write(0, "/other").await;
    assert!(again > number);
    group.lbs[1].process.signal(lb_tests::process::Signal::CONT);
    group.until_all_show("/tagged", again).await;
    until("all was dropped", async || {
        group.lbs[1].stderr().contains("purges of others may have been missed")
    })
    .await;
}

#[tokio::test]
async fn a_log_that_was_emptied_is_noticed() {
    let group = Group::start(2, "fast").await;
    for command in [&["FLUSHALL"][..], &["DEL", "{lb}:purges"]] {
        group.fill("/tagged").await;
        group.redis.ask(command).await;
        let number = group.write(0, "/tagged").await;
        group.until_all_show("/tagged", number).await;
    }
}

#[tokio::test]
async fn without_redis_requests_are_served_and_purges_are_kept_for_later() {
    let mut group = Group::start(2, "fast").await;
    group.fill("/tagged").await;
    group.redis.crash();
    let number = group.write(0, "/tagged").await;
    assert_eq!(read(&group.lbs[0], "/tagged").await, number);
    until("that is counted", async || {
        group.lbs[0].metrics().await.sum("lb_cache_redis_errors_total", &[]) > 0.0
    })
    .await;
    until("and said", async || {
        group.lbs[0].status().await["cache"]["redis"]["connected"] == false
    })
    .await;
    assert!(group.lbs[1].get("/tagged").await.is_hit(), "nobody has told it");
    group.redis.restart().await;
    group.until_all_show("/tagged", number).await;
}

#[tokio::test]
async fn one_may_start_before_its_redis() {
    let mut redis = Redis::stopped();
    redis.restart().await;
    let mut group = Group::with(redis, 1, "fast").await;
    group.redis.crash();
    let late = lb(&group.redis, &group.origin, "fast").await;
    assert_eq!(read(&late, "/tagged").await, 0);
    group.redis.restart().await;
    group.lbs.push(late);
    let number = group.write(0, "/tagged").await;
    group.until_all_show("/tagged", number).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed_stopped_and_started_again_fails_no_request() {
    let mut group = Group::start(2, "fast").await;
    group.fill("/tagged").await;
    let loads: Vec<_> = group
        .lbs
        .iter()
        .map(|lb| Load::new(lb.listen(), &["/tagged", "/plain"]).connections(4).start())
        .collect();
    for round in 0..4 {
        match round % 2 {
            0 => group.redis.crash(),
            _ => group.redis.pause(),
        }
        for _ in 0..10 {
            group.write(round % 2, "/tagged").await;
        }
        until("it is noticed", async || {
            group.lbs[0].status().await["cache"]["redis"]["connected"] == false
        })
        .await;
        match round % 2 {
            0 => group.redis.restart().await,
            _ => group.redis.go_on(),
        }
        until("it is back", async || {
            group.lbs[0].status().await["cache"]["redis"]["connected"] == true
        })
        .await;
    }
    for load in loads {
        let counts = load.stop().await;
        counts.assert_none_failed();
        assert!(counts.total() > 0);
    }
    let number = group.write(0, "/tagged").await;
    group.until_all_show("/tagged", number).await;
}

#[tokio::test]
async fn a_reload_begins_and_ends_the_sharing() {
    let mut group = Group::start(2, "fast").await;
    let config = std::fs::read_to_string(group.lbs[1].config_path()).unwrap();
    let config = config.split_once("[cache]").unwrap().1.split_once("[upstreams").unwrap().1;
    let alone = format!("[upstreams{config}");
    group.lbs[1].reload(&alone).await;
    assert!(group.lbs[1].status().await["cache"]["redis"].is_null());
    group.fill("/tagged").await;
    let before = group.told().await;
    group.write(0, "/tagged").await;
    until("the first has told it", async || group.told().await > before).await;
    assert!(group.lbs[1].get("/tagged").await.is_hit(), "it is alone");
    let url = group.redis.url();
    group.lbs[1].reload(&format!("[cache]\nredis = \"{url}\"\n\n{alone}")).await;
    let number = group.number.load(std::sync::atomic::Ordering::SeqCst);
    group.until_all_show("/tagged", number).await;
    let answer = group.lbs[0].send(&Request::post("/tagged", "x")).await;
    group.until_all_show("/tagged", answer.text().parse().unwrap()).await;
}
