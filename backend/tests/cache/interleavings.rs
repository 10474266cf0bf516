//! Fetches and writes in every order, over a database whose moments the test chooses, and the real scripts.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backend::cache::{Cache, Fetched, Key};
use backend::store::{At, Lsn, Result};
use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::common::{OwnRedis, PATIENCE, redis_url, until};
use crate::fake::{Fake, USER};

fn shared_redis() -> redis::Client {
    redis::Client::open(redis_url()).expect("a Redis URL")
}

fn number(value: Option<bytes::Bytes>) -> i64 {
    let value = value.expect("there is a user");
    std::str::from_utf8(&value).expect("text").parse().expect("a number")
}

/// Some moment.
async fn a_while() {
    let [.., random] = uuid::Uuid::now_v7().into_bytes();
    match random % 4 {
        0 => {}
        1 => tokio::task::yield_now().await,
        _ => sleep(Duration::from_micros(u64::from(random) * 12)).await,
    }
}

/// Reads it as a server does, with a pause before and after the look at the database.
async fn read(cache: &Cache, database: &Arc<Fake>, key: Key) -> Result<i64> {
    let database = Arc::clone(database);
    let fetch = move |_| {
        let database = Arc::clone(&database);
        async move {
            a_while().await;
            let fetched = database.fetched();
            a_while().await;
            Ok(fetched)
        }
    };
    cache.read(key, fetch).await.map(number)
}

fn keys() -> [Key; 2] {
    [Key::User(USER), Key::List("p1-10".into())]
}

/// One read that is stopped between its look at the database and what it does with it.
async fn stopped(key: Key, writes: usize) {
    let database = Fake::new();
    let (cache, other) = (database.cache(shared_redis()).await, database.cache(shared_redis()).await);
    let (looked, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let fetch = {
        let (database, looked, go_on) = (Arc::clone(&database), Arc::clone(&looked), Arc::clone(&go_on));
        move |_| {
            let (database, looked, go_on) = (Arc::clone(&database), Arc::clone(&looked), Arc::clone(&go_on));
            async move {
                let fetched = database.fetched();
                looked.add_permits(1);
                go_on.acquire().await.expect("it is open").forget();
                Ok(fetched)
            }
        }
    };
    let reader = {
        let (cache, key) = (Arc::clone(&cache), key.clone());
        tokio::spawn(async move { cache.read(key, fetch).await })
    };
    looked.acquire().await.expect("it is open").forget();
    for _ in 0..writes {
        other.written(database.commit()).await.expect("Redis answers");
    }
    // Who comes now does not get what was fetched before.
    let now = 1 + i64::try_from(writes).expect("few");
    assert_eq!(read(&cache, &database, key.clone()).await.expect("it answers"), now);
    go_on.add_permits(1);
    let before = number(reader.await.expect("no panic").expect("it answers"));
    assert_eq!(before, 1, "its read began before the write was acknowledged");
    assert_eq!(cache.counts().refused.get(), 1);
    for cache in [&cache, &other] {
        assert_eq!(
            read(cache, &database, key.clone()).await.expect("it answers"),
            now,
            "nothing old was kept"
        );
    }
}

#[tokio::test]
async fn what_was_fetched_before_a_write_is_not_kept_after_it() {
    for key in keys() {
        for writes in [1, 2] {
            let trying = timeout(PATIENCE, stopped(key.clone(), writes));
            trying.await.expect("nobody waits for who was before the write");
        }
    }
}

/// Readers and writers at several servers, each stopped at random between any two steps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_sees_less_than_was_acknowledged_before_it_began() {
    let database = Fake::new();
    let mut caches = Vec::new();
    for _ in 0..3 {
        caches.push(database.cache(shared_redis()).await);
    }
    let acknowledged = AtomicI64::new(1);
    let (reads, refused) = (AtomicUsize::new(0), || -> u64 {
        caches.iter().map(|cache| cache.counts().refused.get()).sum()
    });
    let writers = (0..3usize).map(async |writer| {
        for _ in 0..150 {
            let note = database.commit();
            a_while().await;
            caches[writer].written(note).await.expect("Redis answers");
            acknowledged.fetch_max(note.version, Ordering::SeqCst);
            a_while().await;
        }
    });
    let writing = async {
        join_all(writers).await;
    };
    let over = AtomicUsize::new(0);
    let readers = join_all((0..24usize).map(async |reader| {
        let mut turn = reader;
        while over.load(Ordering::SeqCst) == 0 {
            turn += 1;
            let key = keys()[turn % 2].clone();
            let least = acknowledged.load(Ordering::SeqCst);
            let seen = read(&caches[reader % 3], &database, key.clone()).await.expect("it answers");
            assert!(seen >= least, "{key:?}: {seen} was read when {least} was acknowledged");
            reads.fetch_add(1, Ordering::SeqCst);
        }
    }));
    let written = async {
        writing.await;
        over.store(1, Ordering::SeqCst);
    };
    tokio::join!(written, readers);
    let hits: u64 = caches.iter().map(|cache| cache.counts().hits.get()).sum();
    assert!(hits > 100 && refused() > 0, "{hits} hits, {} refused of {reads:?} reads", refused());
}

/// A replica that is behind, though it was asked for more.
#[tokio::test]
async fn a_version_older_than_the_last_write_is_fetched_again_from_the_primary() {
    let database = Fake::new();
    let cache = database.cache(shared_redis()).await;
    cache.written(database.commit()).await.expect("Redis answers");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let fetch = {
        let (database, asked) = (Arc::clone(&database), Arc::clone(&asked));
        move |at| {
            let mut asked = asked.lock().unwrap();
            asked.push(at);
            let old = Fetched {
                value: Some("1".into()),
                version: Some(1),
            };
            let fetched = if asked.len() == 1 { old } else { database.fetched() };
            async move { Ok(fetched) }
        }
    };
    let seen = cache.read(Key::User(USER), fetch).await.expect("it answers");
    assert_eq!(number(seen), 2);
    assert_eq!(asked.lock().unwrap().len(), 2);
    assert_eq!(asked.lock().unwrap()[1], At::Primary);
}

/// Where a read was sent.
async fn place(cache: &Cache, database: &Arc<Fake>, key: Key) -> At {
    let place = Arc::new(Mutex::new(None));
    let fetch = {
        let (database, place) = (Arc::clone(database), Arc::clone(&place));
        move |at| {
            *place.lock().unwrap() = Some(at);
            let fetched = database.fetched();
            async move { Ok(fetched) }
        }
    };
    cache.read(key, fetch).await.expect("it answers");
    let place = place.lock().unwrap().take();
    place.expect("it was not there")
}

fn part(name: &str) -> Key {
    Key::List(name.into())
}

fn replayed(lsn: u64) -> At {
    At::Replayed(Lsn { history: 1, lsn })
}

#[tokio::test]
async fn a_read_that_misses_says_how_much_a_replica_must_know() {
    let redis = OwnRedis::start().await;
    let database = Fake::new();
    database.log.store(1_000, Ordering::SeqCst);
    let (cache, other) = (database.cache(redis.client()).await, database.cache(redis.client()).await);
    // From where on places are kept is known before Redis is trusted.
    assert_eq!(place(&cache, &database, part("a")).await, replayed(1_000));
    // A write: its user and the lists need to know of it, another user does not.
    let note = database.commit();
    database.log.fetch_add(5, Ordering::SeqCst);
    cache.written(note).await.expect("Redis answers");
    assert_eq!(place(&other, &database, Key::User(USER)).await, replayed(1_015));
    assert_eq!(place(&other, &database, part("a")).await, replayed(1_015));
    assert_eq!(place(&other, &database, Key::User(7)).await, replayed(1_000));
    // Without the places, nothing is known, and everything is read at the primary; then there is a new beginning.
    let lsn = redis.keys(":lsn").await;
    redis.ask::<()>(&["DEL", &lsn[0]]).await.expect("Redis answers");
    assert_eq!(place(&other, &database, Key::User(8)).await, At::Primary);
    let mut parts = 0..;
    let mut another = || part(&format!("n{}", parts.next().unwrap()));
    until("replicas are used", async || {
        place(&cache, &database, another()).await == replayed(1_015)
    })
    .await;
    // Too many places become one.
    for user in 100..1_200 {
        let note = backend::store::Note {
            row: None,
            user,
            version: 2,
        };
        database.log.fetch_add(1, Ordering::SeqCst);
        cache.written(note).await.expect("Redis answers");
    }
    let fields: i64 = redis.ask(&["HLEN", &redis.keys(":lsn").await[0]]).await.expect("Redis answers");
    assert!(fields < 1_100, "{fields}");
    let At::Replayed(Lsn { lsn: floor, .. }) = place(&other, &database, Key::User(9)).await else {
        panic!("places are kept")
    };
    assert!(floor > 1_900, "{floor}");
}

#[tokio::test]
async fn without_replicas_everything_is_read_at_the_primary() {
    let database = Fake::new();
    let cache = database.cache(shared_redis()).await;
    for part_of in 0..5 {
        assert_eq!(place(&cache, &database, part(&part_of.to_string())).await, At::Primary);
        cache.written(database.commit()).await.expect("Redis answers");
    }
}
