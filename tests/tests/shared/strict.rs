//! `coherence = "strict"`: when a write's answer begins, nobody serves any more what it has purged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lb_tests::client::{self, Request};
use lb_tests::load::Load;
use lb_tests::process::Signal;
use lb_tests::wait::until;

use super::{Group, read};

/// No write takes longer, whatever happens to Redis or to another `lb`; with what a busy machine may take on top.
const LONGEST: Duration = Duration::from_secs(10);

impl Group {
    /// Waits until every `lb` has a lease, and writers need not wait for those of before.
    async fn settle(&self) {
        for at in 0..self.lbs.len() {
            self.until_held(at).await;
        }
        // The first write waits out the leases of a log before this one, if there was any.
        self.write(0, "/first").await;
    }

    async fn until_held(&self, at: usize) {
        until("the lease is held", async || self.lease(at).await == "held").await;
    }

    async fn lease(&self, at: usize) -> String {
        let status = self.lbs[at].status().await;
        status["cache"]["redis"]["lease"].as_str().expect("a lease").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_anywhere_sees_the_old_after_the_write_s_answer_began() {
    let group = Group::start(3, "strict").await;
    group.settle().await;
    let (answered, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let hits = Arc::new(AtomicU64::new(0));
    let mut readers = Vec::new();
    for lb in &group.lbs {
        let (to, answered, stop, hits) = (lb.listen(), answered.clone(), stop.clone(), hits.clone());
        readers.push(tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let floor = answered.load(Ordering::SeqCst);
                let answer = client::send(to, &Request::get("/tagged")).await.expect("an answer");
                let number: u64 = answer.text().parse().expect("a number");
                assert!(number >= floor, "{number} after {floor} was answered: {:?}", answer.headers);
                hits.fetch_add(u64::from(answer.is_hit()), Ordering::SeqCst);
            }
        }));
    }
    let start = Instant::now();
    let mut writes = 0;
    while writes < 30 || hits.load(Ordering::SeqCst) < 100 {
        let mut writer = group.lbs[writes % 3].connect().await;
        let before = group.number.load(Ordering::SeqCst);
        writer.write(Request::post("/tagged", "x").bytes()).await;
        assert_eq!(writer.head("POST").await.unwrap().status, 200);
        // Nobody else writes, and the head is what the promise is about.
        answered.store(before + 1, Ordering::SeqCst);
        writes += 1;
        assert!(start.elapsed() < Duration::from_secs(60), "{writes} writes, {hits:?} hits");
    }
    stop.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn one_that_is_stopped_while_a_write_happens_serves_nothing_old_when_it_goes_on() {
    let mut group = Group::start(2, "strict").await;
    group.settle().await;
    for _ in 0..2 {
        group.fill("/tagged").await;
        group.fill("/plain").await;
        group.lbs[1].process.signal(Signal::STOP);
        let start = Instant::now();
        let number = group.write(0, "/tagged").await;
        assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
        group.lbs[1].process.signal(Signal::CONT);
        assert_eq!(read(&group.lbs[1], "/tagged").await, number);
        group.until_held(1).await;
    }
}

#[tokio::test]
async fn without_redis_writes_are_answered_and_what_has_tags_is_not_served_from_the_store() {
    let mut group = Group::start(2, "strict").await;
    group.settle().await;
    group.fill("/tagged").await;
    group.fill("/plain").await;
    group.redis.crash();
    let start = Instant::now();
    let number = group.write(0, "/tagged").await;
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
    for at in 0..2 {
        assert_eq!(read(&group.lbs[at], "/tagged").await, number);
        assert!(!group.lbs[at].get("/tagged").await.is_hit());
        assert!(group.lbs[at].get("/plain").await.is_hit(), "what has no tags is served");
        assert_eq!(group.lease(at).await, "lapsed");
    }
    // Once it is known that nobody can have a lease, one more look is enough.
    let start = Instant::now();
    for _ in 0..5 {
        group.write(1, "/tagged").await;
        group.write(0, "/tagged").await;
    }
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
    let number = group.write(0, "/tagged").await;
    group.redis.restart().await;
    for at in 0..2 {
        assert_eq!(read(&group.lbs[at], "/tagged").await, number);
        group.until_held(at).await;
    }
    group.fill("/tagged").await;
    let number = group.write(1, "/tagged").await;
    assert_eq!(read(&group.lbs[0], "/tagged").await, number);
}

#[tokio::test]
async fn a_redis_that_hangs_is_one_that_is_away() {
    let mut group = Group::start(2, "strict").await;
    group.settle().await;
    group.fill("/tagged").await;
    group.redis.pause();
    let start = Instant::now();
    let number = group.write(0, "/tagged").await;
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
    assert_eq!(read(&group.lbs[1], "/tagged").await, number);
    group.redis.go_on();
    assert_eq!(read(&group.lbs[1], "/tagged").await, number);
    group.until_held(1).await;
    assert_eq!(read(&group.lbs[1], "/tagged").await, number);
}

#[tokio::test]
async fn an_order_by_hand_is_answered_when_all_have_purged() {
    let group = Group::start(2, "strict").await;
    group.settle().await;
    for _ in 0..5 {
        group.fill("/tagged").await;
        let number = group.number.fetch_add(1, Ordering::SeqCst) + 1;
        assert_eq!(group.lbs[0].purge("tag=number").await, 1);
        assert_eq!(read(&group.lbs[1], "/tagged").await, number);
    }
}

#[tokio::test]
async fn one_that_has_ended_is_not_waited_for() {
    let mut group = Group::start(2, "strict").await;
    group.settle().await;
    let mut gone = group.lbs.pop().unwrap();
    gone.terminate();
    assert!(gone.exit_within(Duration::from_secs(30)).await.success());
    let leases = group.redis.ask(&["HKEYS", "{lb}:bus"]).await;
    assert_eq!(leases.matches("l:").count(), 1, "{leases}");
    // One that has crashed is, once.
    let redis = std::mem::replace(&mut group.redis, lb_tests::redis::Redis::stopped());
    let mut crashing = super::lb(&redis, &group.origin, "strict").await;
    group.redis = redis;
    until("the other has a lease", async || {
        group.redis.ask(&["HKEYS", "{lb}:bus"]).await.matches("l:").count() == 2
    })
    .await;
    crashing.process.crash();
    let start = Instant::now();
    group.write(0, "/tagged").await;
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
    let leases = group.redis.ask(&["HKEYS", "{lb}:bus"]).await;
    assert_eq!(leases.matches("l:").count(), 1, "{leases}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed_stopped_and_started_again_fails_no_request() {
    let mut group = Group::start(2, "strict").await;
    group.settle().await;
    group.fill("/tagged").await;
    let answered = Arc::new(AtomicU64::new(0));
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
        for _ in 0..5 {
            let number = group.write(round % 2, "/tagged").await;
            answered.store(number, Ordering::SeqCst);
            for lb in &group.lbs {
                assert!(read(lb, "/tagged").await >= number, "old after it was answered");
            }
        }
        match round % 2 {
            0 => group.redis.restart().await,
            _ => group.redis.go_on(),
        }
        for _ in 0..5 {
            for lb in &group.lbs {
                assert!(
                    read(lb, "/tagged").await >= answered.load(Ordering::SeqCst),
                    "old after it was answered"
                );
            }
        }
        for at in 0..2 {
            group.until_held(at).await;
        }
    }
    for load in loads {
        let counts = load.stop().await;
        counts.assert_none_failed();
        assert!(counts.total() > 0);
    }
}
