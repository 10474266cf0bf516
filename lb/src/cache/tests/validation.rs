//! What is stored and stale, or must not be used unasked, is asked about, and a 304 makes it new.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};

use super::super::testing::{Head, Steps, answer, fill, get, key, pass, second};
use super::super::{Answered, Bypass, Cache, Hit, Joined, Lead, Lookup, Miss, Now, Purge, Refusal, Rules, Validated};
use super::{URI, assert_idle, cache, told};
use crate::exchange::head::Fields;

fn tagged(said: &str) -> Head {
    answer(said).with("etag", "\"a\"").with("x-a", "1").with("x-b", "1")
}

fn not_modified() -> Head {
    get().status(304).with("etag", "\"a\"")
}

/// The conditions that a fetch would carry.
fn asks(lead: &Lead) -> Vec<(String, String)> {
    let mut fields = HeaderMap::new();
    if let Some(conditions) = lead.conditions() {
        conditions.put(&mut fields);
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut asked: Vec<_> = Fields::iter(&fields).map(|(name, value)| (text(name), text(value))).collect();
    asked.sort();
    asked
}

fn validate(lead: Lead, request: &Head, response: &Head, now: Now) -> Hit {
    match lead.validated(request, response, &Rules::default(), now.mono, now) {
        Validated::Right(hit) => hit,
        Validated::AskAgain(lead) => panic!("{lead:?}"),
    }
}

fn field(hit: &Hit, name: &'static str) -> Vec<String> {
    let name = HeaderName::from_static(name);
    let head = hit.object().head();
    let values = head.all(&name).map(|value| String::from_utf8(value.to_vec()).unwrap());
    values.collect()
}

/// Something stale, and the lead to fetch it anew.
fn stale(stored: &Head) -> (Arc<Cache>, Now, Lead) {
    let (cache, now) = (cache(), Now::read());
    cache.store(URI, &get(), stored, b"body", now);
    let later = now + second() * 2;
    let lead = cache.lead(URI, &get(), later);
    (cache, later, lead)
}

#[test]
fn a_fetch_asks_about_what_is_stored() {
    let modified = "Wed, 01 Jan 2020 00:00:00 GMT";
    let (_, _, lead) = stale(&tagged("max-age=1").with("last-modified", modified));
    assert_eq!(lead.miss(), Miss::Stale);
    assert_eq!(
        asks(&lead),
        [
            ("if-modified-since".to_owned(), modified.to_owned()),
            ("if-none-match".to_owned(), "\"a\"".to_owned())
        ]
    );
    let (_, _, plain) = stale(&answer("max-age=1"));
    assert!(asks(&plain).is_empty());
}

#[test]
fn a_304_makes_what_is_stored_new_with_the_fields_that_it_has() {
    let (cache, now, lead) = stale(&tagged("max-age=1").with("cache-tag", "users").with("age", "0"));
    let response = not_modified()
        .with("cache-control", "max-age=60")
        .with("x-b", "2")
        .with("x-b", "3")
        .with("content-length", "10")
        .with("content-encoding", "gzip")
        .with("set-cookie", "a=b")
        .with("connection", "x-c")
        .with("x-c", "1")
        .with("age", "5");
    let hit = validate(lead, &get(), &response, now);
    assert_eq!(
        (hit.body().concat(), hit.age(), hit.ttl(), hit.staleness()),
        (b"body".to_vec(), 5, 55, None)
    );
    let stored = cache.hit(URI, &get(), now + second()).unwrap();
    assert_eq!((stored.body().concat(), stored.age(), stored.ttl()), (b"body".to_vec(), 6, 54));
    assert_eq!(field(&stored, "x-a"), ["1"]);
    assert_eq!(field(&stored, "x-b"), ["2", "3"]);
    assert_eq!(field(&stored, "cache-control"), ["max-age=60"]);
    assert_eq!(field(&stored, "date"), [httpdate::fmt_http_date(now.wall)]);
    assert_eq!(stored.object().content_length(), Some(4));
    for none in ["content-encoding", "set-cookie", "x-c", "age"] {
        assert!(field(&stored, none).is_empty(), "{none}");
    }
    assert_eq!(cache.objects(), 1);
    let gone = cache.purge(&Purge::Tags {
        upstream: None,
        tags: &[b"users"],
    });
    assert_eq!((gone, cache.bytes()), (1, 0), "it bears its tag yet");
    assert_idle(&cache);
}

#[test]
fn the_body_is_not_copied() {
    let (cache, now) = (cache(), Now::read());
    cache.store(URI, &get(), &tagged("max-age=1"), &[7; 100_000], now);
    let before = cache.hit(URI, &get(), now).unwrap();
    let later = now + second() * 2;
    let lead = cache.lead(URI, &get(), later);
    validate(lead, &get(), &not_modified(), later);
    let after = cache.hit(URI, &get(), later).unwrap();
    assert!(
        before
            .body()
            .iter()
            .zip(after.body())
            .all(|(one, other)| one.as_ptr() == other.as_ptr())
    );
    assert!(cache.bytes() < 110_000, "{}", cache.bytes());
}

#[test]
fn those_who_wait_get_what_is_still_right() {
    let (cache, now, lead) = stale(&tagged("max-age=1"));
    let Lookup::Wait(follower) = cache.ask(URI, &get(), now) else {
        panic!()
    };
    validate(lead, &get(), &not_modified(), now);
    assert!(matches!(told(follower), Some(Joined::Hit(hit)) if hit.body().concat() == b"body" && hit.ttl() == 1));
    assert_idle(&cache);
}

#[test]
fn what_has_to_be_validated_each_time_is_kept_and_shared_with_nobody_unasked() {
    for said in ["no-cache", "max-age=0", "max-age=60, no-cache"] {
        let (cache, now) = (cache(), Now::read());
        let lead = cache.lead(URI, &get(), now);
        let Lookup::Wait(follower) = cache.ask(URI, &get(), now) else {
            panic!()
        };
        let mut filler = fill(lead, &get(), &tagged(said), now);
        assert!(matches!(told(follower), Some(Joined::Alone(_))), "{said}");
        filler.push(Bytes::from_static(b"body"));
        assert!(
            matches!(cache.ask(URI, &get(), now), Lookup::Alone(_)),
            "{said}: nor while it comes"
        );
        filler.finish();
        assert_eq!(cache.objects(), 1, "{said}");
        for _ in 0..2 {
            let Lookup::Alone(lead) = cache.ask(URI, &get(), now) else {
                panic!()
            };
            assert_eq!(asks(&lead)[0].1, "\"a\"");
            assert_eq!(validate(lead, &get(), &not_modified(), now).body().concat(), b"body");
        }
        assert_idle(&cache);
    }
}

#[test]
fn a_304_about_something_else_has_the_origin_asked_again_without_conditions() {
    let about_another = get().status(304).with("etag", "\"b\"");
    let modified_later = get().status(304).with("last-modified", "Thu, 02 Jan 2020 00:00:00 GMT");
    for (response, stored) in [
        (about_another, tagged("max-age=1")),
        (
            modified_later,
            answer("max-age=1").with("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT"),
        ),
    ] {
        let (cache, now, lead) = stale(&stored);
        let again = match lead.validated(&get(), &response, &Rules::default(), now.mono, now) {
            Validated::AskAgain(lead) => lead,
            Validated::Right(hit) => panic!("{hit:?}"),
        };
        assert!(asks(&again).is_empty());
        let mut filler = fill(again, &get(), &answer("max-age=60"), now);
        filler.push(Bytes::from_static(b"new"));
        filler.finish();
        assert_eq!(cache.hit(URI, &get(), now).unwrap().body().concat(), b"new");
        assert_eq!(cache.objects(), 1);
    }
}

#[test]
fn a_304_that_names_nothing_is_about_the_one_that_was_asked_about() {
    let (cache, now, lead) = stale(&tagged("max-age=1"));
    validate(lead, &get(), &get().status(304), now);
    assert!(cache.hit(URI, &get(), now).is_some());
}

#[test]
fn another_variant_may_turn_out_to_be_the_same() {
    let (cache, now) = (cache(), Now::read());
    let varying = |tag: &str| answer("max-age=60").with("vary", "x-v").with("etag", tag);
    let asking = |value: &str| get().with("x-v", value);
    cache.store(URI, &asking("1"), &varying("\"one\""), b"one", now);
    cache.store(URI, &asking("2"), &varying("W/\"two\""), b"two", now);
    let lead = cache.lead(URI, &asking("3"), now);
    assert_eq!((lead.miss(), asks(&lead)[0].1.as_str()), (Miss::Vary, "W/\"two\", \"one\""));
    let hit = validate(lead, &asking("3"), &get().status(304).with("etag", "\"one\""), now);
    assert_eq!(hit.body().concat(), b"one");
    for (value, body) in [("1", "one"), ("2", "two"), ("3", "one")] {
        assert_eq!(cache.hit(URI, &asking(value), now).unwrap().body().concat(), body.as_bytes());
    }
    let unnamed = cache.lead(URI, &asking("4"), now);
    let answered = unnamed.validated(&asking("4"), &get().status(304), &Rules::default(), now.mono, now);
    assert!(matches!(answered, Validated::AskAgain(_)), "nobody knows which");
}

#[test]
fn a_purge_between_question_and_answer_wins() {
    for purge in [Purge::Key(&key(URI)), Purge::All] {
        let (cache, now, lead) = stale(&tagged("max-age=1"));
        cache.purge(&purge);
        let hit = validate(lead, &get(), &not_modified(), now);
        assert_eq!(hit.body().concat(), b"body", "who asked before it gets it");
        assert!(cache.hit(URI, &get(), now).is_none());
        assert_eq!((cache.objects(), cache.bytes()), (0, 0));
    }
}

#[test]
fn an_answer_that_is_for_one_client_ends_what_was_stored_for_all() {
    for (said, refusal) in [("no-store", Refusal::NoStore), ("private", Refusal::Private)] {
        let (cache, now, lead) = stale(&tagged("max-age=1"));
        assert_eq!(pass(lead, &get(), &answer(said), now), refusal);
        assert_eq!(cache.objects(), 0);
    }
    let (cache, now, lead) = stale(&tagged("max-age=1"));
    let hit = validate(lead, &get(), &not_modified().with("cache-control", "private"), now);
    assert_eq!((hit.body().concat(), cache.objects()), (b"body".to_vec(), 0));
}

#[test]
fn an_error_leaves_what_is_stored() {
    let (cache, now, lead) = stale(&tagged("max-age=1"));
    assert_eq!(pass(lead, &get(), &answer("no-store").status(503), now), Refusal::NoStore);
    assert_eq!(cache.objects(), 1);
}

#[test]
fn who_wants_the_origins_word_gets_it_alone_and_everybody_has_the_news() {
    for (demand, later) in [("no-cache", 0), ("max-age=0", 1), ("min-fresh=60", 1)] {
        let (cache, now) = (cache(), Now::read());
        cache.store(URI, &get(), &tagged("max-age=60"), b"old", now);
        let now = now + second() * later;
        let demanding = get().with("cache-control", demand);
        let Lookup::Alone(lead) = cache.ask(URI, &demanding, now) else {
            panic!()
        };
        assert_eq!((lead.miss(), asks(&lead)[0].1.as_str()), (Miss::Request, "\"a\""), "{demand}");
        assert!(cache.hit(URI, &get(), now).is_some(), "{demand}: others do not wait");
        let Answered::Store(mut filler) = lead.answer(&demanding, &tagged("max-age=60"), &Rules::default(), now.mono, now) else {
            panic!()
        };
        filler.push(Bytes::from_static(b"new"));
        filler.finish();
        assert_eq!(cache.hit(URI, &get(), now).unwrap().body().concat(), b"new", "{demand}");
    }
}

#[test]
fn who_wants_only_what_is_stored_gets_that_or_nothing() {
    let (cache, now) = (cache(), Now::read());
    let only = get().with("cache-control", "only-if-cached");
    assert!(matches!(cache.ask(URI, &only, now), Lookup::Unsatisfied));
    cache.store(URI, &get(), &tagged("max-age=1"), b"body", now);
    assert!(cache.hit(URI, &only, now).is_some());
    assert!(matches!(cache.ask(URI, &only, now + second()), Lookup::Unsatisfied));
    let takes = get().with("cache-control", "only-if-cached, max-stale=5");
    assert_eq!(cache.hit(URI, &takes, now + second() * 2).unwrap().staleness().unwrap().over, 1);
}

/// A `HEAD` that found something stale, with its answer; what happens in between.
fn head_answered(stored: &Head, head: &Head, answer: &Head, between: impl FnOnce(&Arc<Cache>, Now)) -> (Arc<Cache>, Now) {
    let (cache, now) = (cache(), Now::read());
    cache.store(URI, &get(), stored, b"body", now);
    let later = now + second() * 2;
    let head = head.clone().method(Method::HEAD);
    assert!(matches!(cache.ask(URI, &head, later), Lookup::Beside(Bypass::HeadMiss, _)));
    let began = cache.next_number();
    between(&cache, later);
    cache.head_answered(&key(URI), &head, answer, &Rules::default(), (began, later.mono, later));
    (cache, later)
}

#[test]
fn a_head_with_the_same_validator_renews_what_is_stored() {
    let answer = answer("max-age=60")
        .with("etag", "\"a\"")
        .with("x-a", "2")
        .with("content-length", "4");
    let (cache, now) = head_answered(&tagged("max-age=1"), &get(), &answer, |_, _| {});
    let hit = cache.hit(URI, &get(), now + second() * 59).unwrap();
    assert_eq!((hit.body().concat(), hit.age(), hit.ttl()), (b"body".to_vec(), 59, 1));
    assert_eq!(
        (field(&hit, "x-a"), field(&hit, "x-b")),
        (vec!["2".to_owned()], vec!["1".to_owned()])
    );
    assert_eq!((hit.object().content_length(), cache.objects()), (Some(4), 1));
    drop(hit);
    assert_eq!(cache.purge(&Purge::All), 1);
    assert_idle(&cache);
}

#[test]
fn a_head_that_says_less_or_something_else_renews_nothing() {
    let same = || answer("max-age=60").with("etag", "\"a\"");
    let nothing = |_: &Arc<Cache>, _: Now| {};
    let is_stale = |(cache, now): (Arc<Cache>, Now)| cache.hit(URI, &get(), now).is_none() && cache.objects() == 1;
    assert!(is_stale(head_answered(
        &tagged("max-age=1"),
        &get(),
        &answer("max-age=60"),
        nothing
    )));
    assert!(is_stale(head_answered(
        &tagged("max-age=1"),
        &get(),
        &same().with("content-length", "5"),
        nothing
    )));
    let refused = answer("no-store").with("etag", "\"a\"");
    assert!(is_stale(head_answered(&tagged("max-age=1"), &get(), &refused, nothing)));
    let authorized = get().with("authorization", "Basic x");
    assert!(is_stale(head_answered(&tagged("public, max-age=1"), &authorized, &same(), nothing)));
    let longer = tagged("max-age=1").with("content-length", "4");
    assert!(!is_stale(head_answered(
        &longer,
        &get(),
        &same().with("content-length", "4"),
        nothing
    )));
}

#[test]
fn what_came_or_was_purged_after_a_head_was_asked_stays_as_it_is() {
    let same = answer("max-age=60").with("etag", "\"a\"").with("x-a", "2");
    let newer = |cache: &Arc<Cache>, now: Now| cache.store(URI, &get(), &tagged("max-age=60"), b"newer", now);
    let (cache, now) = head_answered(&tagged("max-age=1"), &get(), &same, newer);
    let hit = cache.hit(URI, &get(), now).unwrap();
    assert_eq!((hit.body().concat(), field(&hit, "x-a")), (b"newer".to_vec(), vec!["1".to_owned()]));
    let gone = |cache: &Arc<Cache>, _: Now| assert_eq!(cache.purge(&Purge::All), 1);
    assert_eq!(head_answered(&tagged("max-age=1"), &get(), &same, gone).0.objects(), 0);
    let softly = |cache: &Arc<Cache>, _: Now| assert_eq!(cache.soften(&Purge::All), 1);
    let (cache, now) = head_answered(&tagged("max-age=1"), &get(), &same, softly);
    assert!(cache.hit(URI, &get(), now).is_none(), "it was asked before");
}
