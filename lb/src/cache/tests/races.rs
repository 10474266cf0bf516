//! Threads against each other, for a bounded time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::testing::{Steps, answer, get, key};
use super::super::{Answered, Cache, Joined, Key, Lead, Lookup, Now, Purge, Reader, Rules};

/// An origin with one number, and clients that must never see an older one than was purged before they asked.
struct Race {
    cache: Arc<Cache>,
    now: Now,
    /// What the origin answers.
    content: AtomicU64,
    /// What it answered when the last purge returned.
    floor: AtomicU64,
    stop: AtomicBool,
    hits: AtomicU64,
    shared: AtomicU64,
    fetches: AtomicU64,
}

const URIS: [&str; 3] = ["http://h/a", "http://h/b", "http://h/c"];

impl Race {
    fn fetch(&self, lead: Lead, step: u64) {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let text = self.content.load(Ordering::SeqCst).to_string();
        if step.is_multiple_of(5) {
            std::thread::yield_now();
        }
        if step.is_multiple_of(11) {
            return;
        }
        let tagged = answer("max-age=60").with("cache-tag", "number");
        let answered = lead.answer(&get(), &tagged, &Rules::default(), self.now.mono, self.now);
        let Answered::Store(mut filler) = answered else { return };
        filler.push(Bytes::from(text.clone()));
        if step.is_multiple_of(7) {
            std::thread::yield_now();
        }
        if !step.is_multiple_of(13) {
            filler.push(Bytes::from_static(b" end"));
            filler.finish();
        }
    }

    fn check(&self, body: &[u8], floor: u64) {
        let text = std::str::from_utf8(body).unwrap().strip_suffix(" end").expect("whole");
        let number: u64 = text.parse().unwrap();
        assert!(number >= floor, "{number} was purged before {floor} was asked for");
    }

    fn read(&self, mut reader: Reader, floor: u64) {
        let mut body = Vec::new();
        loop {
            match futures::executor::block_on(reader.next()) {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break self.check(&body, floor),
                Err(_) => break,
            }
        }
        self.shared.fetch_add(1, Ordering::Relaxed);
    }

    fn client(&self, mut step: u64) {
        while !self.stop.load(Ordering::Relaxed) {
            step += 1;
            let floor = self.floor.load(Ordering::SeqCst);
            match self.cache.ask(URIS[step as usize % URIS.len()], &get(), self.now) {
                Lookup::Hit(hit, _) => {
                    self.hits.fetch_add(1, Ordering::Relaxed);
                    self.check(&hit.body().concat(), floor);
                }
                Lookup::Stream(reader) => self.read(reader, floor),
                Lookup::Lead(lead) | Lookup::Alone(lead) => self.fetch(lead, step),
                Lookup::Wait(follower) => match futures::executor::block_on(follower.wait(&get())) {
                    Joined::Hit(hit) => self.check(&hit.body().concat(), floor),
                    Joined::Stream(reader) => self.read(reader, floor),
                    Joined::Lead(lead) | Joined::Alone(lead) => self.fetch(lead, step),
                    Joined::Again => {}
                },
                other @ (Lookup::Bypass(_) | Lookup::Beside(..) | Lookup::Unsatisfied) => panic!("{other:?}"),
            }
        }
    }

    fn write(&self, purge: impl Fn(&Cache) -> u64) {
        let begun = Instant::now();
        // On a busy machine longer, until enough has happened to tell something.
        let enough = || self.hits.load(Ordering::Relaxed) > 100 && self.fetches.load(Ordering::Relaxed) > 100;
        while begun.elapsed() < Duration::from_millis(1500) || (!enough() && begun.elapsed() < Duration::from_secs(20)) {
            let number = self.content.fetch_add(1, Ordering::SeqCst) + 1;
            purge(&self.cache);
            self.floor.fetch_max(number, Ordering::SeqCst);
            for _ in 0..number % 16 {
                std::thread::yield_now();
            }
        }
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn nobody_sees_what_was_purged(purge: impl Fn(&Cache) -> u64 + Sync) {
    let race = Race {
        cache: Cache::new(4 << 20, 1 << 20),
        now: Now::read(),
        content: AtomicU64::new(0),
        floor: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        hits: AtomicU64::new(0),
        shared: AtomicU64::new(0),
        fetches: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        (0..6).for_each(|client| {
            drop(scope.spawn({
                let race = &race;
                move || race.client(client * 1_000_003)
            }))
        });
        scope.spawn(|| race.write(&purge));
    });
    assert!(race.hits.load(Ordering::Relaxed) > 100 && race.fetches.load(Ordering::Relaxed) > 100);
    race.cache.purge(&Purge::All);
    assert_eq!((race.cache.objects(), race.cache.bytes()), (0, 0));
}

#[test]
fn nobody_sees_what_was_purged_by_tag_before_they_asked() {
    nobody_sees_what_was_purged(|cache| {
        cache.purge(&Purge::Tags {
            upstream: Some("users"),
            tags: &[b"number"],
        })
    });
}

#[test]
fn nobody_sees_what_was_purged_by_key_before_they_asked() {
    nobody_sees_what_was_purged(|cache| URIS.iter().map(|uri| cache.purge(&Purge::Key(&key(uri)))).sum());
}

#[test]
fn nobody_sees_what_was_purged_by_prefix_before_they_asked() {
    nobody_sees_what_was_purged(|cache| cache.purge(&Purge::Prefix("/")));
}

/// Keys and variants of all kinds come, go and are evicted at once; the books must be right in the end.
#[test]
fn threads_that_store_evict_and_purge_keep_the_books_right() {
    let (cache, now) = (Cache::new(1 << 20, 100_000), Now::read());
    let until = Instant::now() + Duration::from_millis(1500);
    std::thread::scope(|scope| {
        for thread in 0..6_u64 {
            let cache = &cache;
            scope.spawn(move || {
                let mut random = thread + 1;
                while Instant::now() < until {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let pick = (random >> 33) as usize;
                    let uri = format!("http://h/{}", pick % 97);
                    let key = Key::new("users", uri.as_bytes(), uri.as_bytes());
                    let request = get().with("x-v", &(pick % 3).to_string());
                    match pick % 50 {
                        0 => assert!(cache.purge(&Purge::Key(&key)) <= 3),
                        1 => assert!(
                            cache.purge(&Purge::Tags {
                                upstream: None,
                                tags: &[b"t0"]
                            }) <= 300
                        ),
                        2 => cache.set_bounds((1 << 19) + (pick as u64 % (1 << 19)), 100_000),
                        _ => {
                            let Lookup::Lead(lead) = cache.look_up(&key, &request, now) else {
                                continue;
                            };
                            let tagged = answer("max-age=60")
                                .with("cache-tag", &format!("t{}", pick % 5))
                                .with("vary", "x-v");
                            let answered = lead.answer(&request, &tagged, &Rules::default(), now.mono, now);
                            let Answered::Store(mut filler) = answered else { continue };
                            filler.push(Bytes::from(vec![0; pick % 30_000]));
                            if !pick.is_multiple_of(6) {
                                filler.finish();
                            }
                        }
                    }
                }
            });
        }
    });
    let objects = cache.objects();
    assert_eq!(cache.purge(&Purge::All), objects);
    assert_eq!((cache.objects(), cache.bytes()), (0, 0));
}
