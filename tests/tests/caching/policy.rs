//! What may be stored, case by case (RFC 9111 §3, RFC 9213).

use lb_tests::client::Request;
use lb_tests::origin::Reply;

use super::start;

type Fields = &'static [(&'static str, &'static str)];

/// What it is, what the origin says, what the client says besides, and whether a second request may be served from the store.
const CASES: &[(&str, Fields, Fields, bool)] = &[
    ("max-age", &[("Cache-Control", "max-age=60")], &[], true),
    ("s-maxage", &[("Cache-Control", "s-maxage=60")], &[], true),
    ("s-maxage beats max-age", &[("Cache-Control", "max-age=0, s-maxage=60")], &[], true),
    (
        "and so it does the other way",
        &[("Cache-Control", "max-age=60, s-maxage=0")],
        &[],
        false,
    ),
    ("upper case and spaces", &[("cache-control", "Public , MAX-AGE=60")], &[], true),
    (
        "two fields",
        &[("Cache-Control", "public"), ("Cache-Control", "max-age=60")],
        &[],
        true,
    ),
    ("Expires to come", &[("Expires", "Fri, 01 Jan 2100 00:00:00 GMT")], &[], true),
    ("Expires gone by", &[("Expires", "Thu, 01 Jan 1998 00:00:00 GMT")], &[], false),
    ("Expires that is no date", &[("Expires", "0")], &[], false),
    (
        "max-age beats Expires",
        &[("Cache-Control", "max-age=60"), ("Expires", "0")],
        &[],
        true,
    ),
    ("nothing", &[], &[], false),
    ("max-age=0", &[("Cache-Control", "max-age=0")], &[], false),
    ("max-age that is no number", &[("Cache-Control", "max-age=banana")], &[], false),
    ("no-store", &[("Cache-Control", "no-store")], &[], false),
    ("no-store beside max-age", &[("Cache-Control", "max-age=60, no-store")], &[], false),
    (
        "no-store in a second field",
        &[("Cache-Control", "max-age=60"), ("Cache-Control", "no-store")],
        &[],
        false,
    ),
    ("private", &[("Cache-Control", "private, max-age=60")], &[], false),
    ("no-cache", &[("Cache-Control", "no-cache, max-age=60")], &[], false),
    (
        "CDN-Cache-Control beats Cache-Control",
        &[("CDN-Cache-Control", "max-age=60"), ("Cache-Control", "public, max-age=0")],
        &[],
        true,
    ),
    (
        "even no-store",
        &[("CDN-Cache-Control", "max-age=60"), ("Cache-Control", "no-store")],
        &[],
        true,
    ),
    (
        "and the other way round",
        &[("CDN-Cache-Control", "no-store"), ("Cache-Control", "max-age=60")],
        &[],
        false,
    ),
    ("Set-Cookie", &[("Cache-Control", "max-age=60"), ("Set-Cookie", "a=1")], &[], false),
    (
        "Set-Cookie and public",
        &[("Cache-Control", "public, max-age=60"), ("Set-Cookie", "a=1")],
        &[],
        true,
    ),
    (
        "Set-Cookie and s-maxage",
        &[("Cache-Control", "s-maxage=60"), ("Set-Cookie", "a=1")],
        &[],
        true,
    ),
    (
        "Authorization",
        &[("Cache-Control", "max-age=60")],
        &[("Authorization", "Basic eA==")],
        false,
    ),
    (
        "Authorization and public",
        &[("Cache-Control", "public, max-age=60")],
        &[("Authorization", "Basic eA==")],
        true,
    ),
    (
        "Authorization and s-maxage",
        &[("Cache-Control", "s-maxage=60")],
        &[("Authorization", "Basic eA==")],
        true,
    ),
    (
        "Authorization and must-revalidate",
        &[("Cache-Control", "must-revalidate, max-age=60")],
        &[("Authorization", "Basic eA==")],
        true,
    ),
    ("Vary: *", &[("Cache-Control", "max-age=60"), ("Vary", "*")], &[], false),
    (
        "Vary with a star in it",
        &[("Cache-Control", "max-age=60"), ("Vary", "accept, *")],
        &[],
        false,
    ),
    (
        "Vary on what is the same",
        &[("Cache-Control", "max-age=60"), ("Vary", "Accept")],
        &[("Accept", "a/b")],
        true,
    ),
];

#[tokio::test]
async fn what_the_origin_and_the_client_say_decides() {
    let (lb, origin) = start(|seen| {
        let index: usize = seen.target.trim_start_matches('/').parse().unwrap();
        CASES[index]
            .1
            .iter()
            .fold(Reply::text("body"), |reply, (name, value)| reply.header(name, value))
    })
    .await;
    let mut wrong = Vec::new();
    for (index, (what, _, request, stored)) in CASES.iter().enumerate() {
        let target = format!("/{index}");
        let request = request
            .iter()
            .fold(Request::get(&target), |request, (name, value)| request.header(name, value));
        for _ in 0..3 {
            let answer = lb.send(&request).await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "body"), "{what}");
            if answer.is_hit() && !stored {
                wrong.push(format!("{what}: served from the store"));
            }
        }
        let (asked, due) = (origin.count_of(&target), if *stored { 1 } else { 3 });
        if asked != due {
            wrong.push(format!("{what}: the origin was asked {asked} times of 3, {due} are due"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn errors_and_parts_are_not_stored_as_the_whole() {
    let (lb, origin) = start(|seen| match seen.target.as_str() {
        "/500" => Reply::new(500).body("broken"),
        "/206" if seen.headers.has("range") => Reply::new(206)
            .header("Cache-Control", "max-age=60")
            .header("Content-Range", "bytes 0-1/4")
            .body("wh"),
        _ => Reply::text("whole").header("Cache-Control", "max-age=60"),
    })
    .await;
    for _ in 0..2 {
        assert_eq!(lb.get("/500").await.text(), "broken");
    }
    assert_eq!(origin.count_of("/500"), 2);
    let part = lb.send(&Request::get("/206").header("Range", "bytes=0-1")).await;
    assert!([200, 206].contains(&part.status), "{part:?}");
    let whole = lb.get("/206").await;
    assert_eq!((whole.status, whole.text().as_str()), (200, "whole"));
}

#[tokio::test]
async fn other_methods_are_never_served_from_the_store() {
    let (lb, origin) = start(|seen| Reply::text(&seen.method).header("Cache-Control", "max-age=60")).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        for round in 1..=2 {
            let answer = lb.send(&Request::new(method, &format!("/{method}")).body("x")).await;
            assert_eq!((answer.text().as_str(), answer.is_hit()), (method, false));
            assert_eq!(origin.count_of(&format!("/{method}")), round);
        }
    }
    assert_eq!(lb.get("/POST").await.text(), "GET");
}
