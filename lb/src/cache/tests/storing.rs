//! What is stored, under what, and what a hit gets.

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode};

use super::super::testing::{Head, Steps, answer, fill, get, key, pass, second};
use super::super::{Bypass, Cache, Hit, Key, Lookup, Miss, Now, Refusal};
use crate::exchange::head::Fields;

const URI: &str = "http://h/users";

fn cache() -> std::sync::Arc<Cache> {
    Cache::new(16 << 20, 1 << 20)
}

fn body(hit: &Hit) -> Vec<u8> {
    hit.body().concat()
}

fn field(hit: &Hit, name: &'static str) -> Vec<String> {
    let name = HeaderName::from_static(name);
    let head = hit.object().head();
    let values = head.all(&name).map(|value| String::from_utf8(value.to_vec()).unwrap());
    values.collect()
}

#[test]
fn what_was_stored_is_served_while_it_is_fresh() {
    let (cache, now) = (cache(), Now::read());
    cache.store(URI, &get(), &answer("max-age=60").with("age", "5").status(404), b"none", now);
    let hit = cache.hit(URI, &get(), now + second() * 10).unwrap();
    assert_eq!((hit.object().status(), body(&hit)), (StatusCode::NOT_FOUND, b"none".to_vec()));
    assert_eq!((hit.age(), hit.ttl()), (15, 45));
    assert_eq!(hit.object().content_length(), Some(4));
    assert!(cache.hit(URI, &get(), now + second() * 54).is_some());
    assert!(cache.hit(URI, &get(), now + second() * 55).is_none());
    assert_eq!(cache.objects(), 1);
}

#[test]
fn what_belongs_to_one_connection_or_to_the_cache_is_not_sent_on() {
    let (cache, now) = (cache(), Now::read());
    let answer = answer("max-age=60, private=\"x-user\"")
        .with("connection", "close, X-Hop")
        .with("x-hop", "1")
        .with("keep-alive", "timeout=5")
        .with("transfer-encoding", "chunked")
        .with("upgrade", "h2c")
        .with("proxy-authenticate", "Basic")
        .with("age", "1")
        .with("cache-tag", "users")
        .with("cache-purge", "nothing")
        .with("x-user", "42")
        .with("cache-status", "origin; hit")
        .with("x-twice", "1")
        .with("x-twice", "2")
        .with("etag", "\"e\"");
    cache.store(URI, &get(), &answer, b"", now);
    let hit = cache.hit(URI, &get(), now).unwrap();
    let head = hit.object().head();
    let mut names: Vec<_> = head.iter().map(|(name, _)| std::str::from_utf8(name).unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["cache-control", "cache-status", "date", "etag", "x-twice", "x-twice"]);
    assert_eq!(field(&hit, "x-twice"), ["1", "2"]);
    assert_eq!(field(&hit, "date"), [httpdate::fmt_http_date(now.wall)]);
    assert_eq!(hit.object().content_length(), Some(0));
}

#[test]
fn a_date_that_is_there_stays() {
    let (cache, now) = (cache(), Now::read());
    let date = httpdate::fmt_http_date(now.wall - second() * 3);
    cache.store(URI, &get(), &answer("max-age=60").with("date", &date), b"", now);
    assert_eq!(field(&cache.hit(URI, &get(), now).unwrap(), "date"), [date]);
}

#[test]
fn head_is_answered_from_get_and_stores_nothing() {
    let (cache, now) = (cache(), Now::read());
    let head = get().method(Method::HEAD);
    assert!(matches!(cache.ask(URI, &head, now), Lookup::Bypass(Bypass::HeadMiss)));
    assert!(matches!(
        cache.ask(URI, &get().method(Method::POST), now),
        Lookup::Bypass(Bypass::Method)
    ));
    cache.store(URI, &get(), &answer("max-age=60"), b"body", now);
    let hit = cache.hit(URI, &head, now).unwrap();
    assert_eq!(hit.object().content_length(), Some(4));
}

#[test]
fn no_content_has_no_length() {
    let (cache, now) = (cache(), Now::read());
    cache.store(URI, &get(), &answer("max-age=60").status(204), b"", now);
    assert_eq!(cache.hit(URI, &get(), now).unwrap().object().content_length(), None);
}

#[test]
fn upstreams_do_not_share() {
    let (cache, now) = (cache(), Now::read());
    cache.store(URI, &get(), &answer("max-age=60"), b"", now);
    let other = Key::new("orders", URI.as_bytes(), URI.as_bytes());
    assert!(matches!(cache.look_up(&other, &get(), now), Lookup::Lead(_)));
}

#[test]
fn variants_are_served_to_those_who_match() {
    let (cache, now) = (cache(), Now::read());
    let varying = answer("max-age=60").with("vary", "Accept-Language");
    let speaks = |language| get().with("accept-language", language);
    cache.store(URI, &speaks("de"), &varying, b"hallo", now);
    assert_eq!(cache.lead(URI, &speaks("en"), now).miss(), Miss::Vary);
    cache.store(URI, &speaks("en"), &varying, b"hello", now);
    assert_eq!(body(&cache.hit(URI, &speaks("de"), now).unwrap()), b"hallo");
    assert_eq!(body(&cache.hit(URI, &speaks("en"), now).unwrap()), b"hello");
    assert!(cache.hit(URI, &get(), now).is_none());
    cache.store(URI, &get(), &answer("max-age=60"), b"any", now);
    assert_eq!(
        body(&cache.hit(URI, &speaks("de"), now).unwrap()),
        b"hallo",
        "one with Vary before one without"
    );
    assert_eq!(body(&cache.hit(URI, &speaks("fr"), now).unwrap()), b"any");
    assert_eq!(cache.objects(), 3);
}

#[test]
fn a_key_has_only_so_many_variants() {
    let (cache, now) = (cache(), Now::read());
    let varying = answer("max-age=60").with("vary", "user-agent");
    let agent = |number: usize| get().with("user-agent", &number.to_string());
    for number in 0..200 {
        cache.store(URI, &agent(number), &varying, b"", now);
    }
    assert_eq!(cache.objects(), 64);
    assert!(cache.hit(URI, &agent(199), now).is_some() && cache.hit(URI, &agent(0), now).is_none());
    assert_eq!(cache.purge(&super::super::Purge::Key(&key(URI))), 64);
    assert_eq!((cache.objects(), cache.bytes()), (0, 0));
}

#[test]
fn a_stale_response_is_replaced_by_the_next() {
    let (cache, now) = (cache(), Now::read());
    cache.store(URI, &get(), &answer("max-age=1").with("cache-tag", "old"), b"old", now);
    let later = now + second() * 2;
    let lead = cache.lead(URI, &get(), later);
    assert_eq!(lead.miss(), Miss::Stale);
    let mut filler = fill(lead, &get(), &answer("max-age=60").with("cache-tag", "new"), later);
    filler.push(Bytes::from_static(b"new"));
    filler.finish();
    assert_eq!(body(&cache.hit(URI, &get(), later).unwrap()), b"new");
    assert_eq!(cache.objects(), 1);
    let tagged = |tag: &'static [u8]| {
        cache.purge(&super::super::Purge::Tags {
            upstream: None,
            tags: &[tag],
        })
    };
    assert_eq!((tagged(b"old"), tagged(b"new")), (0, 1));
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn of_two_answers_the_one_fetched_later_stays() {
    let (cache, now) = (cache(), Now::read());
    pass(cache.lead(URI, &get(), now), &get(), &answer("no-store"), now);
    let (early, late) = (cache.lead(URI, &get(), now), cache.lead(URI, &get(), now));
    let mut late = fill(late, &get(), &answer("max-age=60"), now);
    late.push(Bytes::from_static(b"late"));
    late.finish();
    let then = now + second() * 60;
    // By now the stored one is stale, but it is not for an older answer to take its place.
    assert_eq!(pass(early, &get(), &answer("max-age=600"), then), Refusal::Duplicate);
    assert_eq!(body(&cache.hit(URI, &get(), now).unwrap()), b"late");
}

#[test]
fn a_slow_body_does_not_replace_what_was_fetched_after_it() {
    let (cache, now) = (cache(), Now::read());
    let mut slow = fill(cache.lead(URI, &get(), now), &get(), &answer("max-age=1"), now);
    slow.push(Bytes::from_static(b"slow"));
    // While it comes it has become stale, so that nobody joins it.
    let later = now + second() * 2;
    cache.store(URI, &get(), &answer("max-age=60"), b"later", later);
    slow.finish();
    assert_eq!(body(&cache.hit(URI, &get(), later).unwrap()), b"later");
    assert_eq!(cache.objects(), 1);
    cache.purge(&super::super::Purge::All);
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn what_was_cut_off_is_not_stored() {
    let (cache, now) = (cache(), Now::read());
    let announced = answer("max-age=60").with("content-length", "4");
    for (chunk, finished) in [(&b"four"[..], false), (b"two", true), (b"sixsix", true)] {
        let mut filler = fill(cache.lead(URI, &get(), now), &get(), &announced, now);
        filler.push(Bytes::from_static(chunk));
        if finished {
            filler.finish();
        } else {
            drop(filler);
        }
        assert_eq!((cache.objects(), cache.bytes()), (0, 0));
    }
    cache.store(URI, &get(), &announced, b"four", now);
    assert_eq!(cache.objects(), 1);
}

#[test]
fn a_body_comes_back_as_it_was_in_few_pieces() {
    let (cache, now) = (cache(), Now::read());
    let whole: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
    let mut filler = fill(cache.lead(URI, &get(), now), &get(), &answer("max-age=60"), now);
    for (number, chunk) in whole.chunks(977).enumerate() {
        filler.push(Bytes::copy_from_slice(chunk));
        if number % 10 == 0 {
            filler.push(Bytes::new());
        }
    }
    filler.finish();
    let hit = cache.hit(URI, &get(), now).unwrap();
    assert_eq!(body(&hit), whole);
    assert!(hit.body().len() < 25);
    cache.store("http://h/small", &get(), &answer("max-age=60"), &whole[..60_000], now);
    assert_eq!(cache.hit("http://h/small", &get(), now).unwrap().body().len(), 1);
}

#[test]
fn a_key_whose_answers_are_for_one_client_is_marked_for_a_while() {
    let (cache, now) = (cache(), Now::read());
    let ask = |now| cache.ask(URI, &get(), now);
    let Lookup::Lead(lead) = ask(now) else { panic!() };
    assert_eq!(pass(lead, &get(), &answer("private"), now), Refusal::Private);
    let (Lookup::Alone(one), Lookup::Alone(other)) = (ask(now), ask(now)) else {
        panic!()
    };
    assert!(matches!(ask(now + second() * 61), Lookup::Lead(_)), "the mark ends");
    // Once it may be shared it is stored, once, and the mark is gone.
    fill(one, &get(), &answer("max-age=60"), now).finish();
    assert_eq!(pass(other, &get(), &answer("max-age=60"), now), Refusal::Duplicate);
    assert!(matches!(ask(now), Lookup::Hit(..)));
    assert!(matches!(ask(now + second() * 60), Lookup::Lead(_)));
}

#[test]
fn an_error_is_not_remembered_for_long() {
    let (cache, now) = (cache(), Now::read());
    let down: Head = get().status(503);
    pass(cache.lead(URI, &get(), now), &get(), &down, now);
    assert!(matches!(cache.ask(URI, &get(), now), Lookup::Alone(_)));
    assert!(matches!(cache.ask(URI, &get(), now + second() * 2), Lookup::Lead(_)));
}
