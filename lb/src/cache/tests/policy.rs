//! What may be stored, and for how long.

use std::time::{Duration, SystemTime};

use http::header::SET_COOKIE;
use http::{Method, StatusCode};
use proptest::prelude::*;

use super::super::Now;
use super::super::freshness::Grace;
use super::super::policy::{Ask, Bypass, Permit, Refusal, Rules, admit, judge};
use super::super::testing::{Head, answer, get, second};

fn judged(request: &Head, response: &Head, rules: &Rules, now: Now) -> Result<Permit, Refusal> {
    judge(request, response, rules, now.mono, now)
}

fn verdict(response: &Head) -> Result<Permit, Refusal> {
    judged(&get(), response, &Rules::default(), Now::read())
}

/// Seconds of freshness and of age on arrival.
fn times(response: &Head, rules: &Rules, now: Now) -> (u64, u64) {
    let freshness = judged(&get(), response, rules, now).unwrap().freshness;
    (freshness.lifetime.as_secs(), freshness.initial_age.as_secs())
}

fn date(at: SystemTime) -> String {
    httpdate::fmt_http_date(at)
}

fn ttl(seconds: u64) -> Rules {
    Rules {
        ttl: Some(second() * seconds as u32),
        statuses: vec![StatusCode::OK, StatusCode::NOT_FOUND],
        ..Rules::default()
    }
}

#[test]
fn requests_that_are_none_for_a_cache_go_past_it() {
    assert_eq!(
        admit(&get().with("content-length", "0")),
        Ok(Ask {
            head: false,
            authorized: false,
            range: false,
            demands: None,
        })
    );
    assert_eq!(
        admit(&get().method(Method::HEAD).with("authorization", "x")),
        Ok(Ask {
            head: true,
            authorized: true,
            range: false,
            demands: None,
        })
    );
    for (name, value, bypass) in [
        ("upgrade", "websocket", Bypass::Upgrade),
        ("if-match", "\"a\"", Bypass::Precondition),
        ("if-unmodified-since", "x", Bypass::Precondition),
        ("cache-control", "max-age=0, No-Store", Bypass::NoStore),
        ("content-length", "3", Bypass::Body),
        ("transfer-encoding", "chunked", Bypass::Body),
    ] {
        assert_eq!(admit(&get().with(name, value)), Err(bypass));
    }
    for method in [Method::POST, Method::PUT, Method::OPTIONS, Method::from_bytes(b"get").unwrap()] {
        assert_eq!(admit(&get().method(method)), Err(Bypass::Method));
    }
    assert!(admit(&get().with("if-none-match", "\"a\"").with("cache-control", "no-cache")).is_ok());
    let range = |method| admit(&get().method(method).with("range", "bytes=0-1")).unwrap().range;
    assert!(range(Method::GET) && !range(Method::HEAD), "a range of a HEAD means nothing");
}

#[test]
fn lifetime_is_s_maxage_then_max_age_then_expires_then_the_routes() {
    let now = Now::read();
    let expires = date(now.wall + second() * 300);
    let full = answer("max-age=20, s-maxage=10").with("expires", &expires);
    assert_eq!(times(&full, &ttl(40), now).0, 10);
    assert_eq!(times(&answer("max-age=20").with("expires", &expires), &ttl(40), now).0, 20);
    let from_expires = times(
        &answer("public").with("expires", &expires).with("date", &date(now.wall)),
        &ttl(40),
        now,
    )
    .0;
    assert_eq!(from_expires, 300);
    assert_eq!(times(&answer("public"), &ttl(40), now).0, 40);
    assert_eq!(times(&answer("public").status(404), &ttl(40), now).0, 40);
    assert_eq!(judged(&get(), &answer("public").status(410), &ttl(40), now), Err(Refusal::NotFresh));
    assert_eq!(judged(&get(), &get(), &ttl(0), now), Err(Refusal::NotFresh));
}

#[test]
fn what_the_origin_says_wins_over_the_route() {
    let now = Now::read();
    for said in ["max-age=0", "s-maxage=0, max-age=9", "max-age=x"] {
        assert_eq!(judged(&get(), &answer(said), &ttl(40), now), Err(Refusal::NotFresh), "{said}");
    }
    for expired in ["0", "-1", "yesterday", "Thu, 01 Jan 1970 00:00:00 GMT"] {
        assert_eq!(
            judged(&get(), &get().with("expires", expired), &ttl(40), now),
            Err(Refusal::NotFresh),
            "{expired}"
        );
    }
}

#[test]
fn a_targeted_field_speaks_alone() {
    let now = Now::read();
    let both = answer("no-store").with("cdn-cache-control", "max-age=30").with("expires", "0");
    assert_eq!(times(&both, &ttl(40), now).0, 30);
    let forbidding = answer("public, max-age=30").with("cdn-cache-control", "no-store");
    assert_eq!(judged(&get(), &forbidding, &ttl(40), now), Err(Refusal::NoStore));
    let broken = answer("no-store").with("cdn-cache-control", "max-age=30,");
    assert_eq!(judged(&get(), &broken, &ttl(40), now), Err(Refusal::NoStore));
    let silent = answer("max-age=0").with("cdn-cache-control", "none");
    assert_eq!(times(&silent, &ttl(40), now).0, 40);
}

#[test]
fn age_is_what_age_date_and_the_way_say() {
    let now = Now::read();
    assert_eq!(times(&answer("max-age=100").with("age", "30"), &ttl(0), now), (100, 30));
    assert_eq!(times(&answer("max-age=100").with("age", "30, 99"), &ttl(0), now), (100, 30));
    for ignored in ["", "-1", "1.5", "x"] {
        assert_eq!(times(&answer("max-age=100").with("age", ignored), &ttl(0), now).1, 0, "{ignored}");
    }
    let dated = answer("max-age=100")
        .with("date", &date(now.wall - second() * 51))
        .with("age", "30");
    assert!((49..=51).contains(&times(&dated, &ttl(0), now).1));
    let ahead = answer("max-age=100").with("date", &date(now.wall + second() * 51));
    assert_eq!(times(&ahead, &ttl(0), now).1, 0);
    let slow = judge(
        &get(),
        &answer("max-age=100").with("age", "30"),
        &ttl(0),
        now.mono,
        now + second() * 5,
    )
    .unwrap();
    assert_eq!(slow.freshness.initial_age, second() * 35);
    assert_eq!(verdict(&answer("max-age=30").with("age", "30")), Err(Refusal::NotFresh));
    assert_eq!(
        verdict(&answer("max-age=30").with("age", "99999999999999999999999999")),
        Err(Refusal::NotFresh)
    );
}

#[test]
fn a_second_in_the_date_is_not_a_second_of_age() {
    let now = Now {
        wall: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_010),
        ..Now::read()
    };
    let written = answer("max-age=1").with("date", &date(now.wall - second()));
    assert!(judged(&get(), &written, &ttl(0), now).is_ok());
}

#[test]
fn it_is_stale_when_its_age_reaches_its_lifetime() {
    let now = Now::read();
    let freshness = judged(&get(), &answer("max-age=10").with("age", "4"), &ttl(0), now)
        .unwrap()
        .freshness;
    let just = Duration::from_millis(1);
    assert_eq!(freshness.left(now + (second() * 6 - just)), Some(just));
    assert_eq!(freshness.left(now + second() * 6), None);
    assert_eq!(freshness.age(now + second() * 60), second() * 64);
}

#[test]
fn authorization_needs_a_word_from_the_origin() {
    let request = get().with("authorization", "Bearer x");
    let judged = |said| judged(&request, &answer(said), &Rules::default(), Now::read()).err();
    assert_eq!(judged("max-age=60"), Some(Refusal::Authorization));
    for said in ["public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60"] {
        assert_eq!(judged(said), None, "{said}");
    }
    assert_eq!(judged("private, must-revalidate, max-age=60"), Some(Refusal::Private));
}

#[test]
fn cookies_need_a_word_from_the_origin() {
    let with = |said| verdict(&answer(said).with("set-cookie", "a=b"));
    assert_eq!(with("max-age=60"), Err(Refusal::SetCookie));
    assert_eq!(with("must-revalidate, max-age=60"), Err(Refusal::SetCookie));
    assert!(with("public, max-age=60").is_ok());
    assert!(with("s-maxage=60").is_ok());
    assert_eq!(
        with("private=\"set-cookie\", max-age=60").map(|permit| permit.hidden),
        Ok(vec![SET_COOKIE])
    );
}

#[test]
fn parts_and_answers_to_conditions_are_not_stored() {
    for status in [100, 101, 206, 304, 412, 416, 429] {
        assert_eq!(verdict(&answer("max-age=60").status(status)), Err(Refusal::Status), "{status}");
    }
    for status in [200, 204, 301, 404, 500, 503, 299] {
        assert!(verdict(&answer("max-age=60").status(status)).is_ok(), "{status}");
    }
    assert_eq!(
        verdict(&answer("max-age=60").with("content-range", "bytes 0-1/3")),
        Err(Refusal::Partial)
    );
    assert_eq!(verdict(&answer("max-age=60").with("vary", "*")), Err(Refusal::VaryAny));
    for of_each in ["X-Forwarded-For", "accept, x-real-ip", "x-request-id"] {
        assert_eq!(
            verdict(&answer("max-age=60").with("vary", of_each)),
            Err(Refusal::VaryAny),
            "{of_each}"
        );
    }
}

#[test]
fn a_stream_of_events_is_never_stored() {
    for kind in ["text/event-stream", "Text/Event-Stream; charset=utf-8"] {
        let said = answer("max-age=60").with("content-type", kind);
        assert_eq!(verdict(&said), Err(Refusal::Endless), "{kind}");
    }
    assert!(verdict(&answer("max-age=60").with("content-type", "text/event-streams")).is_ok());
}

#[test]
fn the_length_is_read_strictly() {
    let length = |text: &str| verdict(&answer("max-age=60").with("content-length", text)).map(|permit| permit.length);
    assert_eq!(length("12"), Ok(Some(12)));
    for text in ["", "+1", "1, 1", "x", "99999999999999999999999"] {
        assert_eq!(length(text), Err(Refusal::Framing), "{text}");
    }
    let chunked = answer("max-age=60")
        .with("content-length", "x")
        .with("transfer-encoding", "chunked");
    assert_eq!(verdict(&chunked).map(|permit| permit.length), Ok(None));
}

/// Seconds of lifetime and what it is good for after that.
fn grace(response: &Head, rules: &Rules) -> (u64, Grace) {
    let permit = judged(&get(), response, rules, Now::read()).unwrap();
    (permit.freshness.lifetime.as_secs(), permit.grace)
}

fn lenient() -> Rules {
    Rules {
        stale_while_revalidate: second() * 5,
        stale_if_error: second() * 6,
        ..Rules::default()
    }
}

#[test]
fn a_guess_is_a_tenth_of_the_time_without_a_change_where_one_may_guess() {
    let now = Now::read();
    let changed = |ago: u32| {
        get()
            .with("last-modified", &date(now.wall - second() * ago))
            .with("date", &date(now.wall))
    };
    let none = Rules::default();
    assert_eq!(times(&changed(600), &none, now).0, 60);
    assert_eq!(times(&changed(10 * 86_400 * 365), &none, now).0, 86_400, "at most a day");
    for status in [203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        assert_eq!(times(&changed(600).status(status), &none, now).0, 60, "{status}");
    }
    for status in [201, 202, 302, 403, 500, 502, 503, 504, 599] {
        assert_eq!(
            judged(&get(), &changed(600).status(status), &none, now),
            Err(Refusal::NotFresh),
            "{status}"
        );
        let public = changed(600).status(status).with("cache-control", "public");
        assert_eq!(times(&public, &none, now).0, 60, "{status}");
    }
    assert_eq!(times(&changed(600), &ttl(40), now).0, 40, "the route knows better");
    assert_eq!(
        judged(&get(), &changed(600), &ttl(0), now),
        Err(Refusal::NotFresh),
        "and may know that there is none"
    );
    assert_eq!(times(&changed(600).status(410), &ttl(0), now).0, 60);
    assert_eq!(
        times(&changed(600).with("cache-control", "max-age=0").with("etag", "x"), &none, now).0,
        0
    );
    let future = get().with("last-modified", &date(now.wall + second() * 600));
    assert_eq!(judged(&get(), &future, &none, now), Err(Refusal::NotFresh));
    let targeted = changed(600).with("cdn-cache-control", "none");
    assert_eq!(
        judged(&get(), &targeted, &none, now),
        Err(Refusal::NotFresh),
        "said to somebody else"
    );
}

#[test]
fn what_is_not_fresh_is_kept_where_it_can_be_validated_and_its_origin_speaks_of_caching() {
    for said in ["no-cache", "max-age=0", "s-maxage=0", "max-age=10, no-cache", "public"] {
        let permit = verdict(&answer(said).with("etag", "\"a\"")).unwrap();
        assert!(permit.freshness.lifetime.is_zero() && !permit.shareable, "{said}");
        assert_eq!(verdict(&answer(said)), Err(Refusal::NotFresh), "{said}");
    }
    assert!(verdict(&get().with("expires", "0").with("last-modified", "x")).is_ok());
    assert_eq!(verdict(&get().with("etag", "\"a\"")), Err(Refusal::NotFresh), "it says nothing");
    assert_eq!(
        verdict(&answer("no-cache").status(302).with("etag", "\"a\"")),
        Err(Refusal::NotFresh)
    );
    assert_eq!(verdict(&answer("no-store, no-cache").with("etag", "\"a\"")), Err(Refusal::NoStore));
}

#[test]
fn the_origin_says_what_may_be_stale_and_else_the_route() {
    let seconds = |response: &Head| {
        let grace = grace(response, &lenient()).1;
        (grace.while_revalidate, grace.if_error)
    };
    assert_eq!(seconds(&answer("max-age=1")), (5, 6));
    assert_eq!(seconds(&answer("max-age=1, stale-while-revalidate=7")), (7, 6));
    assert_eq!(seconds(&answer("max-age=1, stale-while-revalidate=0, stale-if-error=x")), (0, 0));
    assert_eq!(seconds(&answer("max-age=1, s-maxage=2")), (0, 0), "the route has no say");
    assert_eq!(seconds(&answer("s-maxage=2, stale-if-error=8")), (0, 8));
    for strict in ["must-revalidate", "proxy-revalidate"] {
        let said = answer(&format!("max-age=1, {strict}, stale-while-revalidate=7, stale-if-error=8"));
        assert_eq!(grace(&said, &lenient()), (1, Grace::default()), "{strict}");
    }
    let no_cache = answer("no-cache, stale-if-error=8").with("etag", "x");
    assert_eq!(grace(&no_cache, &lenient()), (0, Grace::default()));
    let validated = answer("max-age=0").with("etag", "x");
    assert_eq!(grace(&validated, &lenient()), (0, Grace::default()), "no freshness by another name");
    let own = verdict(&answer("max-age=0, stale-while-revalidate=9")).unwrap();
    assert!(own.shareable && own.grace.while_revalidate == 9 && !own.grace.on_request);
    assert!(verdict(&answer("max-age=10, stale-if-error=9").with("age", "15")).is_ok());
    assert_eq!(
        verdict(&answer("max-age=10, stale-if-error=9").with("age", "20")),
        Err(Refusal::NotFresh)
    );
}

#[test]
fn must_understand_is_about_statuses() {
    let said = answer("max-age=60, no-store, must-understand");
    assert!(verdict(&said).is_ok());
    assert_eq!(verdict(&said.clone().status(599)), Err(Refusal::Status));
    assert_eq!(verdict(&answer("max-age=60, must-understand").status(599)), Err(Refusal::Status));
    assert_eq!(verdict(&answer("max-age=60, private, must-understand")), Err(Refusal::Private));
}

#[test]
fn demands_are_those_of_cache_control_and_else_of_pragma() {
    let asked = |request: Head| admit(&request).unwrap().demands;
    assert_eq!(asked(get().with("cache-control", "x")), None);
    assert!(asked(get().with("pragma", "No-Cache")).unwrap().no_cache);
    assert_eq!(asked(get().with("pragma", "no-cache").with("cache-control", "x")), None);
    let two = get().with("cache-control", "max-age=3").with("cache-control", "min-fresh=4");
    let demands = asked(two).unwrap();
    assert_eq!((demands.max_age, demands.min_fresh), (Some(3), Some(4)));
}

fn directive() -> impl Strategy<Value = String> {
    prop_oneof![
        (0_u32..100).prop_map(|seconds| format!("max-age={seconds}")),
        (0_u32..100).prop_map(|seconds| format!("s-maxage={seconds}")),
        Just("public".to_owned()),
        Just("must-revalidate".to_owned()),
        Just("immutable".to_owned()),
        Just("no-cache=\"x-a\"".to_owned()),
        "[a-z-]{1,10}(=[a-z0-9]{0,4})?".prop_filter("forbids", |text| !text.starts_with("no-") && !text.starts_with("private")),
    ]
}

proptest! {
    #[test]
    fn what_is_forbidden_is_never_stored_whatever_else_stands_there(
        before in proptest::collection::vec(directive(), 0..4),
        after in proptest::collection::vec(directive(), 0..4),
        forbids in prop_oneof![Just("no-store"), Just("private"), Just("no-cache"), Just("No-Store"), Just("PRIVATE"), Just("private=\"")],
        status in prop_oneof![Just(200_u16), Just(404), Just(301)],
        expires in any::<bool>(),
        lines in any::<bool>(),
    ) {
        let now = Now::read();
        let all: Vec<String> = before.into_iter().chain([forbids.to_owned()]).chain(after).collect();
        let mut response = get().status(status);
        if lines {
            for line in &all {
                response = response.with("cache-control", line);
            }
        } else {
            response = response.with("cache-control", &all.join(", "));
        }
        if expires {
            response = response.with("expires", &date(now.wall + second() * 1000));
        }
        prop_assert!(judged(&get(), &response, &ttl(1000), now).is_err());
    }

    #[test]
    fn the_first_of_the_four_that_is_there_gives_the_lifetime(
        s_maxage in proptest::option::of(1_u64..1000),
        max_age in proptest::option::of(1_u64..1000),
        expires in proptest::option::of(1_u64..1000),
        route in 1_u64..1000,
    ) {
        let now = Now::read();
        let mut said = vec!["x".to_owned()];
        said.extend(max_age.map(|seconds| format!("max-age={seconds}")));
        said.extend(s_maxage.map(|seconds| format!("s-maxage={seconds}")));
        let mut response = answer(&said.join(",")).with("date", &date(now.wall));
        if let Some(seconds) = expires {
            response = response.with("expires", &date(now.wall + second() * seconds as u32));
        }
        let lifetime = s_maxage.or(max_age).or(expires).unwrap_or(route);
        prop_assert_eq!(times(&response, &ttl(route), now).0, lifetime);
    }

    #[test]
    fn what_is_fresh_was_fresh_before_and_time_left_and_age_make_the_lifetime(
        max_age in 0_u64..10_000, age in 0_u64..10_000, later in 0_u64..20_000
    ) {
        let now = Now::read();
        let response = answer(&format!("max-age={max_age}")).with("age", &age.to_string());
        match judged(&get(), &response, &Rules::default(), now) {
            Err(refusal) => {
                prop_assert_eq!(refusal, Refusal::NotFresh);
                prop_assert!(age >= max_age);
            }
            Ok(permit) => {
                let then = now + second() * later as u32;
                let left = permit.freshness.left(then);
                prop_assert_eq!(left.is_some(), age + later < max_age);
                if let Some(left) = left {
                    prop_assert_eq!(left + permit.freshness.age(then), permit.freshness.lifetime);
                }
            }
        }
    }

    #[test]
    fn no_head_makes_it_fail(
        name in prop_oneof![
            Just("cache-control"), Just("cdn-cache-control"), Just("expires"), Just("date"), Just("age"), Just("vary"), Just("content-length")
        ],
        value in "[\\t -~]{0,40}", more in "[\\t -~]{0,40}"
    ) {
        let response = get().with(name, &value).with(name, &more);
        let _ = judged(&get(), &response, &ttl(10), Now::read());
    }
}
