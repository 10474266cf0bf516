//! Stale and served all the same: while it is fetched anew, and in place of errors.

use std::sync::Arc;

use bytes::Bytes;

use super::super::testing::{Head, Steps, answer, fill, get, key, pass, second};
use super::super::{Answered, Cache, Hit, Joined, Lead, Lookup, Now, Purge, Refusal, Rules, Why};
use super::{URI, assert_idle, cache, told};

fn stored(said: &str) -> (Arc<Cache>, Now) {
    let (cache, now) = (cache(), Now::read());
    cache.store(URI, &get(), &answer(said), b"old", now);
    (cache, now)
}

/// Something stale that is served, and the lead that comes with it.
fn served(cache: &Arc<Cache>, now: Now) -> (Hit, Option<Box<Lead>>) {
    match cache.ask(URI, &get(), now) {
        Lookup::Hit(hit, lead) => (hit, lead),
        other => panic!("{other:?}"),
    }
}

fn down() -> Head {
    get().status(503)
}

#[test]
fn it_is_served_at_once_and_one_fetches_it_anew() {
    let (cache, now) = stored("max-age=1, stale-while-revalidate=20");
    assert!(served(&cache, now).1.is_none(), "fresh");
    let later = now + second() * 2;
    let (hit, lead) = served(&cache, later);
    let stale = hit.staleness().unwrap();
    assert_eq!(
        (hit.body().concat(), hit.age(), stale.over, stale.why),
        (b"old".to_vec(), 2, 1, Why::WhileRevalidate)
    );
    let lead = lead.unwrap();
    assert!(served(&cache, later).1.is_none(), "one at a time");
    let mut filler = fill(*lead, &get(), &answer("max-age=60"), later);
    assert!(served(&cache, later).1.is_none(), "also while it comes");
    filler.push(Bytes::from_static(b"new"));
    filler.finish();
    let (hit, _) = served(&cache, later);
    assert_eq!((hit.body().concat(), hit.staleness()), (b"new".to_vec(), None));
    assert_idle(&cache);
}

#[test]
fn past_its_window_it_is_not_served() {
    let (cache, now) = stored("max-age=1, stale-while-revalidate=20");
    assert!(served(&cache, now + second() * 21).0.staleness().is_some());
    assert!(matches!(cache.ask(URI, &get(), now + second() * 22), Lookup::Lead(_)));
}

#[test]
fn who_fetches_anew_and_goes_leaves_it_to_the_next() {
    let (cache, now) = stored("max-age=1, stale-while-revalidate=20");
    let later = now + second() * 2;
    drop(served(&cache, later).1.unwrap());
    assert!(served(&cache, later).1.is_some());
}

#[test]
fn a_fetch_that_failed_is_followed_by_another_a_second_after_it_began() {
    let (cache, now) = stored("max-age=1, stale-while-revalidate=20");
    let begun = now + second() * 2;
    served(&cache, begun).1.unwrap().failed(begun);
    assert!(served(&cache, begun).1.is_none());
    served(&cache, begun + second()).1.unwrap().failed(begun + second() * 5);
    assert!(
        served(&cache, begun + second() * 5).1.is_some(),
        "one that took long delays nothing"
    );
}

#[test]
fn an_answer_for_one_client_does_not_have_the_next_one_ask_at_once() {
    let (cache, now) = stored("max-age=1, stale-while-revalidate=20");
    let begun = now + second() * 2;
    let known = get().with("authorization", "Basic eA==");
    let Lookup::Hit(_, Some(lead)) = cache.ask(URI, &known, begun) else {
        panic!()
    };
    assert_eq!(pass(*lead, &known, &answer("max-age=60"), begun), Refusal::Authorization);
    assert!(served(&cache, begun).1.is_none());
    assert!(served(&cache, begun + second()).1.is_some());
}

#[test]
fn an_error_takes_the_place_of_nothing_that_may_be_served() {
    for (said, worse) in [
        ("max-age=1, stale-while-revalidate=20", true),
        ("max-age=1, stale-if-error=20", true),
        ("max-age=1", false),
    ] {
        let (cache, now) = stored(said);
        let later = now + second() * 2;
        let lead = match cache.ask(URI, &get(), later) {
            Lookup::Hit(_, Some(lead)) => *lead,
            Lookup::Lead(lead) => lead,
            other => panic!("{other:?}"),
        };
        let lasting = down().with("cache-control", "max-age=60");
        if worse {
            assert_eq!(pass(lead, &get(), &lasting, later), Refusal::Worse, "{said}");
        } else {
            fill(lead, &get(), &lasting, later).finish();
            assert_eq!(served(&cache, later).0.object().status(), 503);
        }
    }
}

#[test]
fn it_stands_in_for_an_error_for_all_who_wait_and_then_at_once() {
    let (cache, now) = stored("max-age=1, stale-if-error=30");
    let later = now + second() * 2;
    let lead = cache.lead(URI, &get(), later);
    let Lookup::Wait(follower) = cache.ask(URI, &get(), later) else {
        panic!()
    };
    let hit = lead.stands_in(later).unwrap();
    assert_eq!((hit.body().concat(), hit.staleness().unwrap().why), (b"old".to_vec(), Why::IfError));
    assert!(matches!(told(follower), Some(Joined::Hit(hit)) if hit.staleness().is_some()));
    for _ in 0..3 {
        assert!(served(&cache, later).1.is_none(), "the origin is left alone for a while");
    }
    let next = later + second();
    let (hit, lead) = served(&cache, next);
    assert_eq!(hit.age(), 3);
    let lead = lead.unwrap();
    assert!(served(&cache, next).1.is_none(), "one asks, and nobody waits");
    fill(*lead, &get(), &answer("max-age=60"), next).finish();
    assert_eq!(served(&cache, next).0.staleness(), None);
    assert_idle(&cache);
}

#[test]
fn past_its_time_it_stands_in_for_nothing() {
    let (cache, now) = stored("max-age=1, stale-if-error=30");
    let early = cache.lead(URI, &get(), now + second() * 2);
    early.stands_in(now + second() * 2).unwrap();
    assert!(served(&cache, now + second() * 31).0.staleness().is_some());
    let over = now + second() * 32;
    let lead = cache.lead(URI, &get(), over);
    assert!(lead.stands_in(over).is_err());
}

#[test]
fn it_does_not_stand_in_where_it_is_forbidden_or_gone() {
    for said in ["max-age=1, stale-if-error=30, must-revalidate", "max-age=1"] {
        let (cache, now) = stored(said);
        let later = now + second() * 2;
        assert!(cache.lead(URI, &get(), later).stands_in(later).is_err(), "{said}");
    }
    let (cache, now) = stored("max-age=1, stale-if-error=30");
    let later = now + second() * 2;
    let lead = cache.lead(URI, &get(), later);
    cache.purge(&Purge::Key(&key(URI)));
    assert!(lead.stands_in(later).is_err(), "it was purged");
}

#[test]
fn what_a_purge_only_had_count_as_stale_stands_in_for_an_error() {
    let (cache, now) = stored("max-age=60, stale-if-error=30");
    assert_eq!(cache.soften(&Purge::Key(&key(URI))), 1);
    let hit = cache.lead(URI, &get(), now).stands_in(now).unwrap();
    assert_eq!(hit.staleness().map(|stale| stale.why), Some(Why::IfError));
    assert!(served(&cache, now).1.is_none());
    cache.purge(&Purge::Key(&key(URI)));
    assert!(cache.lead(URI, &get(), now + second()).stands_in(now + second()).is_err());
}

#[test]
fn what_is_stored_is_replaced_however_seldom_its_key_is_remembered() {
    let (cache, now) = stored("max-age=1, stale-while-revalidate=20");
    let later = now + second() * 2;
    let rules = Rules {
        min_uses: 5,
        ..Rules::default()
    };
    let lead = served(&cache, later).1.unwrap();
    let Answered::Store(filler) = lead.answer(&get(), &answer("max-age=60"), &rules, later.mono, later) else {
        panic!("not stored")
    };
    filler.finish();
    assert_eq!(served(&cache, later).0.staleness(), None);
}

#[test]
fn a_client_that_wants_the_origins_word_gets_no_stand_in() {
    let (cache, now) = stored("max-age=60, stale-if-error=30");
    let lead = cache.lead(URI, &get().with("cache-control", "no-cache"), now);
    assert!(lead.stands_in(now).is_err());
    let later = now + second() * 2;
    let reload = cache.lead(URI, &get().with("cache-control", "max-age=0"), later);
    assert_eq!(reload.stands_in(later).unwrap().staleness().unwrap().over, 0);
}

#[test]
fn what_is_marked_is_fetched_anew_and_fresh_then() {
    let (cache, now) = stored("max-age=60, stale-while-revalidate=20");
    cache.hit(URI, &get(), now).unwrap().object().mark_stale();
    let (hit, lead) = served(&cache, now);
    assert_eq!(hit.staleness().unwrap().why, Why::WhileRevalidate);
    fill(*lead.unwrap(), &get(), &answer("max-age=60"), now).finish();
    assert_eq!(served(&cache, now).0.staleness(), None);
    let (cache, now) = stored("max-age=60");
    cache.hit(URI, &get(), now).unwrap().object().mark_stale();
    assert!(matches!(cache.ask(URI, &get(), now), Lookup::Lead(_)));
}
