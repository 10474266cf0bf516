//! Redis, or the way to it, or the database goes away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backend::cache::{Cache, Fetched, Key};
use backend::store::{At, StoreError};
use futures::future::join_all;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::common::{Cached, Kind, OwnRedis, until};
use crate::fake::{Fake, USER};

/// Readers and writers at two servers, until told to stop. No read fails or shows less than was acknowledged before it began; no write
/// fails, and none is lost.
async fn load(cached: &Cached, id: i64, acknowledged: &AtomicU64, stop: &AtomicBool) -> u64 {
    let reads = AtomicU64::new(0);
    let readers = join_all((0..12usize).map(async |reader| {
        let server = &cached.servers[reader % 2];
        let path = [format!("/users/{id}"), "/users".to_owned()][reader % 3 % 2].clone();
        while !stop.load(Ordering::SeqCst) {
            let least = acknowledged.load(Ordering::SeqCst);
            let answer = server.get(&path).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let json = answer.json();
            let user = if path.ends_with("users") { &json["users"][0] } else { &json };
            let seen: u64 = user["name"].as_str().unwrap().parse().unwrap();
            assert!(seen >= least, "{path} showed {seen} when {least} was acknowledged");
            reads.fetch_add(1, Ordering::SeqCst);
        }
    }));
    // One writer, at one server and the other in turn.
    let writer = async {
        let mut number = 0;
        while !stop.load(Ordering::SeqCst) {
            number += 1;
            let server = &cached.servers[usize::from(number % 2 == 0)];
            let change = json!({"name": number.to_string()});
            let answer = server.ask("PATCH", &format!("/users/{id}")).json(&change).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            acknowledged.store(number, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(readers, writer);
    let last = acknowledged.load(Ordering::SeqCst).to_string();
    for server in &cached.servers {
        assert_eq!(server.name(id).await, last);
    }
    reads.into_inner()
}

fn hits(cached: &Cached) -> u64 {
    cached.servers.iter().map(|server| server.cache.counts().hits.get()).sum()
}

async fn redis_goes_away_in_every_way(kind: Kind) {
    let mut redis = OwnRedis::start().await;
    let cached = Cached::at(kind, 2, &redis.url()).await;
    let id = cached.user(0, "0").await;
    cached.rename(0, id, "0").await;
    let (acknowledged, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    // Until reads are served from the cache, and writes go on beside.
    let served = async || {
        let before = (hits(&cached), acknowledged.load(Ordering::SeqCst));
        until("the cache serves", async || {
            hits(&cached) > before.0 + 20 && acknowledged.load(Ordering::SeqCst) > before.1 + 3
        })
        .await;
    };
    let noticed = async || {
        until("it is noticed", async || {
            cached.servers.iter().all(|server| !server.cache.status().connected)
        })
        .await;
    };
    let events = async {
        served().await;
        // What is on disk from now on is old.
        redis.ask::<String>(&["SAVE"]).await.expect("Redis answers");
        for _ in 0..2 {
            redis.kill();
            noticed().await;
            redis.restart().await;
            served().await;
            redis.signal("STOP");
            noticed().await;
            redis.signal("CONT");
            served().await;
            // So short that it may not even be noticed.
            redis.restart().await;
            served().await;
        }
        stop.store(true, Ordering::SeqCst);
    };
    let (reads, ()) = tokio::join!(load(&cached, id, &acknowledged, &stop), events);
    assert!(reads > 100, "{reads} reads");
    until("all notes are delivered", async || {
        cached.database.number("SELECT count(*) FROM outbox").await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_goes_away_in_every_way_over_sqlite() {
    redis_goes_away_in_every_way(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_goes_away_in_every_way_over_postgres() {
    redis_goes_away_in_every_way(Kind::Postgres).await;
}

/// What a read gives, and whether it asked the database.
async fn read(cache: &Cache, database: &Arc<Fake>) -> Result<(i64, bool), StoreError> {
    let asked = Arc::new(AtomicBool::new(false));
    let fetch = {
        let (database, asked) = (Arc::clone(database), Arc::clone(&asked));
        move |_| {
            asked.store(true, Ordering::SeqCst);
            let fetched: Result<Fetched, StoreError> = if database.away.load(Ordering::SeqCst) {
                Err(StoreError::Unavailable("it is away".into()))
            } else {
                Ok(database.fetched())
            };
            async move { fetched }
        }
    };
    let value = cache.read(Key::User(USER), fetch).await?.expect("there is a user");
    let value = std::str::from_utf8(&value).expect("text").parse().expect("a number");
    Ok((value, asked.load(Ordering::SeqCst)))
}

#[tokio::test]
async fn while_redis_is_away_only_the_first_writes_wait() {
    let mut redis = OwnRedis::start().await;
    let database = Fake::new();
    let (cache, other) = (database.cache(redis.client()).await, database.cache(redis.client()).await);
    redis.kill();
    let write = async || {
        let started = Instant::now();
        cache.written(database.commit()).await.expect("it is acknowledged");
        for cache in [&cache, &other] {
            let (seen, _) = read(cache, &database).await.expect("the database answers");
            assert_eq!(seen, database.version.load(Ordering::SeqCst));
        }
        started.elapsed()
    };
    assert!(write().await >= Duration::from_secs(1), "the others had a second left");
    until("a write waits for nobody", async || write().await < Duration::from_millis(500)).await;
    let left = database.left();
    assert!(left > 1, "{left} notes");
    redis.restart().await;
    until("all notes are delivered", async || database.left() == 0).await;
    for cache in [&cache, &other] {
        until("the cache is used again", async || {
            cache.status().holds && !read(cache, &database).await.unwrap().1
        })
        .await;
    }
    assert!(write().await < Duration::from_secs(1));
}

/// A way to Redis that can be cut.
struct Way {
    addr: SocketAddr,
    open: watch::Sender<bool>,
}

impl Way {
    async fn to(redis: &OwnRedis) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let open = watch::Sender::new(true);
        let (far, state) = (redis.url().trim_start_matches("redis://").to_owned(), open.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (far, mut state) = (far.clone(), state.subscribe());
                tokio::spawn(async move {
                    if !*state.borrow_and_update() {
                        return;
                    }
                    let mut far = TcpStream::connect(far).await.expect("Redis listens");
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { addr, open }
    }

    fn client(&self) -> redis::Client {
        redis::Client::open(format!("redis://{}", self.addr)).expect("a Redis URL")
    }
}

#[tokio::test]
async fn a_writer_that_alone_has_lost_redis_is_heard_of_before_it_answers() {
    let redis = OwnRedis::start().await;
    let way = Way::to(&redis).await;
    let database = Fake::new();
    let (cut, other) = (database.cache(way.client()).await, database.cache(redis.client()).await);
    for _ in 0..3 {
        way.open.send_replace(true);
        until("both trust their Redis", async || cut.status().holds && other.status().holds).await;
        read(&other, &database).await.expect("it answers");
        assert!(!read(&other, &database).await.expect("it answers").1);
        way.open.send_replace(false);
        for _ in 0..3 {
            cut.written(database.commit()).await.expect("it is acknowledged");
            for cache in [&other, &cut] {
                let (seen, _) = read(cache, &database).await.expect("it answers");
                assert_eq!(seen, database.version.load(Ordering::SeqCst));
            }
        }
        assert!(other.status().holds, "it has its Redis, and goes on");
    }
}

#[tokio::test]
async fn while_the_primary_is_away_what_is_kept_is_served() {
    let mut redis = OwnRedis::start().await;
    let database = Fake::new();
    let cache = database.cache(redis.client()).await;
    read(&cache, &database).await.expect("it answers");
    database.away.store(true, Ordering::SeqCst);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        assert_eq!(read(&cache, &database).await.expect("it is kept"), (1, false));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Without Redis, there is nobody left to ask; and a Redis that is back cannot be trusted before the primary is.
    redis.kill();
    until("the lease has lapsed", async || !cache.status().holds).await;
    redis.restart().await;
    until("there is a connection", async || cache.status().connected).await;
    assert!(!cache.status().holds);
    assert!(read(&cache, &database).await.is_err());
    database.away.store(false, Ordering::SeqCst);
    until("it is trusted again", async || cache.status().holds).await;
}

#[tokio::test]
async fn while_the_primary_is_away_a_redis_that_hangs_for_a_moment_costs_no_read() {
    let redis = Arc::new(OwnRedis::start().await);
    let database = Fake::new();
    let cache = database.cache(redis.client()).await;
    read(&cache, &database).await.expect("it answers");
    redis.signal("STOP");
    let (waking, status) = (Arc::clone(&redis), Arc::clone(&cache));
    // Whoever asks for the primary waits for it for a while.
    let fetch = move |_| {
        let (redis, cache) = (Arc::clone(&waking), Arc::clone(&status));
        async move {
            redis.signal("CONT");
            while !(cache.status().connected && cache.status().holds) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err::<Fetched, _>(StoreError::Unavailable("there is no primary".into()))
        }
    };
    let reading = tokio::time::timeout(Duration::from_secs(20), cache.read(Key::User(USER), fetch));
    let kept = reading.await.expect("Redis is back").expect("it is kept");
    assert_eq!(kept.as_deref(), Some(&b"1"[..]));
}

/// Its place in the log is not known, so no reader could be told how much a replica must know.
#[tokio::test]
async fn a_write_after_which_the_primary_is_gone_is_not_acknowledged() {
    let redis = OwnRedis::start().await;
    let database = Fake::new();
    let cache = database.cache(redis.client()).await;
    read(&cache, &database).await.expect("it answers");
    let note = database.commit();
    database.away.store(true, Ordering::SeqCst);
    assert!(cache.written(note).await.is_err());
    assert!(read(&cache, &database).await.is_err(), "what was before it is gone all the same");
    database.away.store(false, Ordering::SeqCst);
    until("it is told of", async || database.left() == 0).await;
    assert_eq!(cache.counts().told_later.get(), 1);
}

/// As long as nobody was told that it is done, a replica that does not know of it may answer.
#[tokio::test]
async fn nor_does_it_hide_what_was_before_it_where_a_replica_can_be_read() {
    let redis = OwnRedis::start().await;
    let database = Fake::new();
    database.log.store(1_000, Ordering::SeqCst);
    let cache = database.cache(redis.client()).await;
    let old = database.fetched();
    let fetch = move |at| {
        let old = old.clone();
        async move {
            match at {
                At::Replayed(_) => Ok(old),
                At::Primary => Err(StoreError::Unavailable("there is no primary".into())),
            }
        }
    };
    let note = database.commit();
    database.away.store(true, Ordering::SeqCst);
    assert!(cache.written(note).await.is_err());
    for _ in 0..3 {
        let shown = cache.read(Key::User(USER), fetch.clone()).await.expect("a replica answers");
        assert_eq!(shown.as_deref(), Some(&b"1"[..]));
    }
    database.away.store(false, Ordering::SeqCst);
    until("it is told of", async || database.left() == 0).await;
    assert!(cache.read(Key::User(USER), fetch).await.is_err(), "now it counts");
}

#[tokio::test]
async fn a_primary_that_goes_in_the_midst_of_a_round_takes_no_reads_along() {
    let redis = OwnRedis::start().await;
    let database = Fake::new();
    let cache = database.cache(redis.client()).await;
    read(&cache, &database).await.expect("it answers");
    database.leaving.store(true, Ordering::SeqCst);
    database.commit();
    until("it is away", async || database.away.load(Ordering::SeqCst)).await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        assert!(cache.status().holds, "after {:?}", started.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Else a note that lies there would be no sign to those who have lost their Redis.
#[tokio::test]
async fn with_a_primary_that_answers_and_removes_no_note_the_lease_ends() {
    let redis = OwnRedis::start().await;
    let database = Fake::new();
    let cache = database.cache(redis.client()).await;
    database.keeping.store(true, Ordering::SeqCst);
    database.commit();
    until("the lease has lapsed", async || !cache.status().holds).await;
    database.keeping.store(false, Ordering::SeqCst);
    until("the note is gone, and the lease is back", async || {
        database.left() == 0 && cache.status().holds
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_hangs_delays_reads_by_little() {
    let redis = OwnRedis::start().await;
    let database = Fake::new();
    let cache = database.cache(redis.client()).await;
    read(&cache, &database).await.expect("it answers");
    redis.signal("STOP");
    let slow = AtomicI64::new(0);
    join_all((0..20).map(async |_| {
        for _ in 0..20 {
            let started = Instant::now();
            read(&cache, &database).await.expect("the database answers");
            slow.fetch_add(i64::from(started.elapsed() > Duration::from_millis(200)), Ordering::SeqCst);
        }
    }))
    .await;
    let slow = slow.into_inner();
    assert!(slow <= 40, "{slow} of 400 reads waited");
    redis.signal("CONT");
    until("it is trusted again", async || cache.status().holds).await;
}
