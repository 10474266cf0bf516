//! What a purge takes out, and what it keeps from coming in.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;

use super::super::testing::{Steps, answer, fill, get, key, pass};
use super::super::{Cache, Joined, Key, Lookup, Now, Purge, Refusal};

fn cache() -> Arc<Cache> {
    Cache::new(64 << 20, 1 << 20)
}

/// Users 0 to 9, each under two hosts.
fn filled(now: Now) -> Arc<Cache> {
    let cache = cache();
    for number in 0..10 {
        for host in ["a", "b"] {
            let tags = format!("users, user-{number}");
            cache.store(
                &format!("http://{host}/users/{number}"),
                &get(),
                &answer("max-age=60").with("cache-tag", &tags),
                b"x",
                now,
            );
        }
    }
    assert_eq!(cache.objects(), 20);
    cache
}

fn tags<'a>(upstream: Option<&'a str>, tags: &'a [&'a [u8]]) -> Purge<'a> {
    Purge::Tags { upstream, tags }
}

#[test]
fn it_takes_out_just_what_it_is_about_and_says_how_much() {
    let now = Now::read();
    let filled = || filled(now);
    for (purge, count) in [
        (tags(Some("users"), &[b"user-4"]), 2),
        (tags(None, &[b"user-4", b"user-5", b"user-4", b"none"]), 4),
        (tags(None, &[b"user-4", b"users"]), 20),
        (tags(Some("orders"), &[b"users"]), 0),
        (tags(None, &[b"user", b"Users"]), 0),
        (Purge::Url("http://a/users/4"), 1),
        (Purge::Url("/users/4"), 2),
        (Purge::Url("/users"), 0),
        (Purge::Prefix("http://a/"), 10),
        (Purge::Prefix("/users/"), 20),
        (Purge::Prefix("/orders"), 0),
        (Purge::Key(&key("http://a/users/4")), 1),
        (Purge::All, 20),
    ] {
        let cache = filled();
        assert_eq!(cache.purge(&purge), count, "{purge:?}");
        assert_eq!(cache.objects(), 20 - count);
        assert_eq!(cache.purge(&purge), 0, "once");
        assert_eq!(cache.purge(&Purge::All), 20 - count);
        assert_eq!(cache.bytes(), 0);
    }
}

#[test]
fn an_answer_purges_the_tags_of_its_own_upstream() {
    let now = Now::read();
    let cache = filled(now);
    let written = get().with("cache-purge", "user-4, user-5").with("cache-purge", "user-6");
    assert_eq!(cache.purge_for("orders", &written), 0);
    assert_eq!(cache.purge_for("users", &written), 6);
    assert_eq!(cache.purge_for("users", &get()), 0);
}

#[test]
fn an_answer_asked_for_before_a_purge_is_not_stored_after_it() {
    let now = Now::read();
    let tagged = answer("max-age=60").with("cache-tag", "users");
    for purge in [
        tags(Some("users"), &[b"users"]),
        Purge::Url("http://h/"),
        Purge::Prefix("/"),
        Purge::Key(&key("http://h/")),
        Purge::All,
    ] {
        // Before its head came.
        let cache = cache();
        let lead = cache.lead("http://h/", &get(), now);
        cache.purge(&purge);
        assert_eq!(pass(lead, &get(), &tagged, now), Refusal::Purged, "{purge:?}");
        // While its body came.
        let mut filler = fill(cache.lead("http://h/", &get(), now), &get(), &tagged, now);
        filler.push(Bytes::from_static(b"x"));
        cache.purge(&purge);
        assert!(!filler.stores());
        filler.push(Bytes::from_static(b"y"));
        filler.finish();
        assert_eq!((cache.objects(), cache.bytes()), (0, 0), "{purge:?}");
        // One that nobody could have joined.
        pass(cache.lead("http://h/", &get(), now), &get(), &answer("no-store"), now);
        let Lookup::Alone(lead) = cache.ask("http://h/", &get(), now) else {
            panic!()
        };
        cache.purge(&purge);
        assert_eq!(pass(lead, &get(), &tagged, now), Refusal::Purged, "{purge:?}");
        // One asked for after it.
        cache.store("http://h/", &get(), &tagged, b"x", now);
        assert_eq!(cache.objects(), 1);
    }
}

#[test]
fn who_asks_after_a_purge_does_not_get_what_was_fetched_before_it() {
    let now = Now::read();
    let cache = cache();
    let uri = "http://h/";
    let tagged = answer("max-age=60").with("cache-tag", "users");
    let old = cache.lead(uri, &get(), now);
    let Lookup::Wait(before) = cache.ask(uri, &get(), now) else {
        panic!()
    };
    cache.purge(&tags(Some("users"), &[b"users"]));
    let Lookup::Lead(new) = cache.ask(uri, &get(), now) else {
        panic!("must not join the old one")
    };
    let Lookup::Wait(after) = cache.ask(uri, &get(), now) else {
        panic!()
    };
    let mut old = fill(old, &get(), &tagged, now);
    assert!(!old.stores() && old.is_needed());
    old.push(Bytes::from_static(b"old"));
    old.finish();
    // Who asked before still gets it.
    let Some(Joined::Stream(mut reader)) = before.wait(&get()).now_or_never() else {
        panic!()
    };
    assert_eq!(reader.next().now_or_never(), Some(Ok(Some(Bytes::from_static(b"old")))));
    assert_eq!(reader.next().now_or_never(), Some(Ok(None)));
    drop(reader);
    let mut new = fill(new, &get(), &tagged, now);
    new.push(Bytes::from_static(b"new"));
    new.finish();
    let Some(Joined::Hit(hit)) = after.wait(&get()).now_or_never() else {
        panic!()
    };
    assert_eq!(hit.body(), [Bytes::from_static(b"new")]);
}

#[test]
fn a_body_that_is_arriving_is_not_joined_after_a_purge_of_its_tags() {
    let now = Now::read();
    let cache = cache();
    let tagged = answer("max-age=60").with("cache-tag", "users");
    let filler = fill(cache.lead("http://h/", &get(), now), &get(), &tagged, now);
    cache.purge(&tags(Some("users"), &[b"other"]));
    assert!(matches!(cache.ask("http://h/", &get(), now), Lookup::Stream(_)), "not its tag");
    cache.purge(&tags(Some("users"), &[b"users"]));
    assert!(matches!(cache.ask("http://h/", &get(), now), Lookup::Lead(_)));
    drop(filler);
}

#[test]
fn a_purge_of_other_tags_costs_a_fetch_its_followers_to_come_but_not_its_place() {
    let now = Now::read();
    let cache = cache();
    let lead = cache.lead("http://h/", &get(), now);
    cache.purge(&tags(Some("users"), &[b"user-1"]));
    let mut filler = fill(lead, &get(), &answer("max-age=60").with("cache-tag", "user-2"), now);
    assert!(filler.stores());
    assert!(matches!(cache.ask("http://h/", &get(), now), Lookup::Stream(_)));
    filler.push(Bytes::from_static(b"x"));
    filler.finish();
    assert!(cache.hit("http://h/", &get(), now).is_some());
}

#[test]
fn a_purge_in_one_upstream_leaves_fetches_of_others_alone() {
    let now = Now::read();
    let cache = cache();
    let _lead = cache.lead("http://h/", &get(), now);
    cache.purge(&tags(Some("orders"), &[b"users"]));
    cache.purge(&Purge::Url("/other"));
    cache.purge(&Purge::Key(&Key::new("orders", b"http://h/", b"http://h/")));
    assert!(matches!(cache.ask("http://h/", &get(), now), Lookup::Wait(_)));
}

#[test]
fn followers_of_a_purged_fetch_whose_leader_goes_begin_anew_together() {
    let now = Now::read();
    let cache = cache();
    let lead = cache.lead("http://h/", &get(), now);
    let followers: Vec<_> = (0..10)
        .map(|_| match cache.ask("http://h/", &get(), now) {
            Lookup::Wait(follower) => follower,
            other => panic!("{other:?}"),
        })
        .collect();
    cache.purge(&Purge::All);
    drop(lead);
    assert!(
        followers
            .into_iter()
            .all(|follower| matches!(follower.wait(&get()).now_or_never(), Some(Joined::Again)))
    );
    let again: Vec<_> = (0..10).map(|_| cache.ask("http://h/", &get(), now)).collect();
    assert_eq!(again.iter().filter(|lookup| matches!(lookup, Lookup::Lead(_))).count(), 1);
}

#[test]
fn a_lead_that_was_handed_over_after_a_purge_fetches_after_it() {
    let now = Now::read();
    let cache = cache();
    let lead = cache.lead("http://h/", &get(), now);
    let Lookup::Wait(follower) = cache.ask("http://h/", &get(), now) else {
        panic!()
    };
    drop(lead);
    cache.purge(&Purge::Url("/elsewhere"));
    let Some(Joined::Lead(lead)) = follower.wait(&get()).now_or_never() else {
        panic!()
    };
    fill(lead, &get(), &answer("max-age=60"), now).finish();
    assert_eq!(cache.objects(), 1);
}

#[test]
fn every_variant_goes_with_its_key() {
    let now = Now::read();
    let cache = cache();
    for language in ["de", "en", "fr"] {
        let request = get().with("accept-language", language);
        cache.store(
            "http://h/",
            &request,
            &answer("max-age=60").with("vary", "accept-language"),
            b"x",
            now,
        );
    }
    assert_eq!(cache.purge(&Purge::Key(&key("http://h/"))), 3);
}
