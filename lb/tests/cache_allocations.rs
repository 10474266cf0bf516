//! What the cache allocates, counted by the allocator: a hit costs the same whatever the size of its body, and the cache's own figure for the
//! memory that it takes is true.
//!
//! In a file of its own, because the counting allocator is one for the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use lb::cache::{Answered, Cache, Hit, Key, Lookup, Now, Rules, Status};
use lb::exchange::head::{Fields, RequestHead, ResponseHead};

struct Head(HeaderMap);

impl Head {
    fn new(fields: &[(&'static str, &'static str)]) -> Self {
        Self(
            fields
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect(),
        )
    }
}

impl Fields for Head {
    fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        Fields::get(&self.0, name)
    }

    fn all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.0.all(name)
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        Fields::iter(&self.0)
    }
}

impl RequestHead for Head {
    fn method(&self) -> &Method {
        &Method::GET
    }

    fn version(&self) -> Version {
        Version::HTTP_11
    }

    fn target(&self) -> &[u8] {
        b"/"
    }

    fn authority(&self) -> &[u8] {
        b"h"
    }
}

impl ResponseHead for Head {
    fn status(&self) -> StatusCode {
        StatusCode::OK
    }
}

fn request() -> Head {
    Head::new(&[
        ("host", "h"),
        ("user-agent", "curl/8"),
        ("accept", "*/*"),
        ("accept-encoding", "gzip"),
        ("cache-control", "max-age=0"),
    ])
}

fn response() -> Head {
    Head::new(&[
        ("content-type", "application/json"),
        ("cache-control", "public, max-age=60"),
        ("cache-tag", "users, user-42"),
        ("etag", "\"0123456789abcdef\""),
        ("vary", "accept-encoding"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("x-content-type-options", "nosniff"),
    ])
}

/// The time at which that `Date` was now.
fn now() -> Now {
    Now {
        wall: httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap(),
        ..Now::read()
    }
}

fn store(cache: &Arc<Cache>, uri: &str, chunk: &Bytes, chunks: usize, now: Now) {
    let request = request();
    let key = Key::new("users", uri.as_bytes(), uri.as_bytes());
    let Lookup::Lead(lead) = cache.look_up(&key, &request, now) else {
        panic!("{uri} is there")
    };
    let answered = lead.answer(&request, &response(), &Rules::default(), now.mono, now);
    let Answered::Store(mut filler) = answered else {
        panic!("{answered:?}")
    };
    (0..chunks).for_each(|_| filler.push(chunk.clone()));
    filler.finish();
}

fn look_up(cache: &Arc<Cache>, uri: &str, request: &Head, now: Now) -> Hit {
    match cache.look_up(&Key::new("users", uri.as_bytes(), uri.as_bytes()), request, now) {
        Lookup::Hit(hit, _) => hit,
        other => panic!("{other:?}"),
    }
}

/// All that an engine has to do to send a hit.
fn serve(cache: &Arc<Cache>, uri: &str, request: &Head, now: Now) {
    let hit = look_up(cache, uri, request, now);
    let head = hit.object().head();
    black_box((head.status_line(), head.lines()));
    black_box(hit.object().content_length());
    Status::Hit(hit.ttl()).tell(|value| {
        black_box(value);
    });
    for chunk in hit.body() {
        black_box(chunk.clone());
    }
}

#[test]
fn what_a_hit_allocates_does_not_grow_with_its_body() {
    let (cache, now) = (Cache::new(64 << 20, 8 << 20), now());
    store(&cache, "http://h/small", &Bytes::from(vec![1; 1 << 10]), 1, now);
    store(&cache, "http://h/large", &Bytes::from(vec![1; 64 << 10]), 128, now);
    let request = request();
    let found = |uri| measure(|| drop(black_box(look_up(&cache, uri, &request, now))));
    let served = |uri| measure(|| serve(&cache, uri, &request, now));
    for uri in ["http://h/small", "http://h/large"] {
        assert_eq!(found(uri).count_total, 0, "a look-up allocates nothing");
    }
    let (small, large): (AllocationInfo, AllocationInfo) = (served("http://h/small"), served("http://h/large"));
    assert_eq!((small.count_total, small.bytes_total), (large.count_total, large.bytes_total));
    assert_eq!(small.count_total, 0, "nor does a hit: {small:?}");
}

#[test]
fn the_memory_that_it_says_it_takes_is_the_memory_that_it_takes() {
    let now = now();
    for (number, length) in [(5000, 100), (5000, 1 << 10), (100, 100_000), (4, 4 << 20)] {
        let body = Bytes::from(vec![1; length]);
        let cache = Cache::new(1 << 30, 8 << 20);
        let taken = measure(|| {
            for number in 0..number {
                let chunk = if length > 4096 {
                    Bytes::copy_from_slice(&body)
                } else {
                    body.clone()
                };
                store(&cache, &format!("http://h/users/{number}"), &chunk, 1, now);
            }
        });
        let (said, taken) = (cache.bytes() as f64, taken.bytes_current as f64);
        assert_eq!(cache.objects(), number);
        println!(
            "{number} of {length}: {} bytes each, beside the body {}",
            taken / number as f64,
            taken / number as f64 - length as f64
        );
        assert!(taken <= said * 1.05, "{number} of {length}: takes {taken}, says {said}");
        assert!(said <= taken * 1.25, "{number} of {length}: takes {taken}, says {said}");
    }
}
