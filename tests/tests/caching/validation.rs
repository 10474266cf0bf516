//! What is stored and not fresh: the origin is asked whether it is still right (RFC 9111 §4.3).

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use lb_tests::client::Request;
use lb_tests::origin::{Reply, Seen};
use lb_tests::wait::until;

use super::{fill, start};

/// What the origin says to a request with these conditions, of a body that has this tag.
fn tagged(seen: &Seen, tag: &str, body: &str, said: &str) -> Reply {
    let reply = match seen.headers.get("if-none-match").is_some_and(|given| given == tag) {
        true => Reply::new(304),
        false => Reply::text(body),
    };
    reply.header("ETag", tag).header("Cache-Control", said)
}

#[tokio::test]
async fn what_must_be_validated_each_time_is_stored_and_sent_once() {
    let (lb, origin) = start(|seen| tagged(seen, "\"a\"", "the body", "no-cache")).await;
    for round in 0..4 {
        let answer = lb.get("/").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "the body"));
        let status = answer.header("cache-status").to_owned();
        match round {
            0 => assert_eq!(status, "lb; fwd=uri-miss; stored"),
            _ => {
                assert_eq!(status, "lb; fwd=stale; fwd-status=304; ttl=0");
                assert!(answer.headers.has("age"), "{:?}", answer.headers);
            }
        }
        assert_eq!(origin.count(), round + 1);
    }
    let metrics = lb.metrics_after(4).await;
    assert_eq!(metrics.sum("lb_cache_requests_total", &[("status", "revalidated")]), 3.0);
}

#[tokio::test]
async fn a_304_brings_new_fields_and_new_freshness_to_what_is_stored() {
    let (lb, origin) = start(|seen| {
        let said = if seen.headers.has("if-none-match") {
            "max-age=60"
        } else {
            "max-age=0"
        };
        let version = if said == "max-age=60" { "2" } else { "1" };
        tagged(seen, "\"a\"", "the body", said).header("X-Version", version)
    })
    .await;
    assert_eq!(lb.get("/").await.header("x-version"), "1");
    let validated = lb.get("/").await;
    assert_eq!((validated.text().as_str(), validated.header("x-version")), ("the body", "2"));
    assert_eq!(validated.header("content-length"), "8");
    let hit = lb.get("/").await;
    assert!(hit.is_hit(), "{:?}", hit.headers);
    assert_eq!((hit.text().as_str(), hit.header("x-version")), ("the body", "2"));
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn the_clients_own_conditions_are_answered_from_the_store_afterwards() {
    let (lb, origin) = start(|seen| tagged(seen, "\"a\"", "the body", "max-age=0")).await;
    lb.get("/").await;
    let known = lb.send(&Request::get("/").header("If-None-Match", "\"x\", \"a\"")).await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    assert_eq!(origin.last().headers.get("if-none-match"), Some("\"a\""));
    let other = lb.send(&Request::get("/").header("If-None-Match", "\"x\"")).await;
    assert_eq!((other.status, other.text().as_str()), (200, "the body"));
    assert_eq!(origin.last().headers.get("if-none-match"), Some("\"a\""));
}

#[tokio::test]
async fn a_new_answer_replaces_what_is_stored() {
    let (lb, origin) = start(|seen| tagged(seen, "\"a\"", "old", "max-age=0")).await;
    lb.get("/").await;
    origin.set(|seen| tagged(seen, "\"b\"", "new", "max-age=60"));
    assert_eq!(lb.get("/").await.text(), "new");
    fill(&lb, &Request::get("/")).await;
    assert_eq!(lb.get("/").await.text(), "new");
}

#[tokio::test]
async fn a_304_about_something_else_is_not_believed() {
    let (lb, origin) = start(|seen| {
        if seen.headers.has("if-none-match") {
            return Reply::new(304).header("ETag", "\"b\"");
        }
        Reply::text("the truth")
            .header("ETag", "\"a\"")
            .header("Cache-Control", "max-age=0")
    })
    .await;
    lb.get("/").await;
    let answer = lb.get("/").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "the truth"));
    assert_eq!(origin.count(), 3);
    assert!(!origin.last().headers.has("if-none-match"));
}

#[tokio::test]
async fn what_is_for_each_client_apart_is_never_mixed_up() {
    // one ETag a client, and nothing but no-cache to say so
    let (lb, _origin) = start(|seen| {
        let user = seen.headers.get("cookie").unwrap_or_default().to_owned();
        tagged(seen, &format!("\"{user}\""), &format!("page of {user}"), "no-cache")
    })
    .await;
    for _ in 0..3 {
        let requests: Vec<_> = (0..20).map(|user| Request::get("/").header("Cookie", format!("u{user}"))).collect();
        let answers = join_all(requests.iter().map(|request| lb.send(request))).await;
        for (user, answer) in answers.iter().enumerate() {
            assert_eq!(answer.text(), format!("page of u{user}"));
        }
    }
}

#[tokio::test]
async fn a_thousand_clients_that_find_it_stale_ask_once() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let (lb, origin) = start(|seen| match seen.headers.has("if-none-match") {
        false => tagged(seen, "\"a\"", "the body", "max-age=1"),
        true => {
            ASKED.fetch_add(1, Ordering::Relaxed);
            tagged(seen, "\"a\"", "the body", "max-age=60").held()
        }
    })
    .await;
    lb.get("/").await;
    let only = Request::get("/").header("Cache-Control", "only-if-cached");
    until("it is stale", async || lb.send(&only).await.status == 504).await;
    let mut waiting = Vec::new();
    for _ in 0..1000 {
        let mut connection = lb.connect().await;
        connection.write(Request::get("/").bytes()).await;
        waiting.push(connection);
    }
    origin.wait_for(2).await;
    origin.release_all();
    for connection in &mut waiting {
        assert_eq!(connection.response("GET").await.unwrap().text(), "the body");
    }
    assert_eq!((ASKED.load(Ordering::Relaxed), origin.count()), (1, 2));
}

#[tokio::test]
async fn a_head_that_shows_something_else_makes_what_is_stored_stale() {
    fn answer(seen: &Seen, tag: &str, body: &str) -> Reply {
        match seen.target.as_str() {
            "/tagged" => tagged(seen, tag, body, "max-age=60"),
            _ => Reply::text(body).header("Cache-Control", "max-age=60"),
        }
    }
    let (lb, origin) = start(|seen| answer(seen, "\"a\"", "the body")).await;
    for target in ["/tagged", "/plain"] {
        let asked = origin.count();
        fill(&lb, &Request::get(target)).await;
        let head = Request::head(target).header("Cache-Control", "no-cache");
        origin.set(|seen| answer(seen, "\"a\"", "the body"));
        assert_eq!(lb.send(&head).await.status, 200);
        assert!(lb.get(target).await.is_hit(), "it was the same");
        assert_eq!(origin.count(), asked + 2);
        // The tagged one of the same length, the other one of another length.
        let body = if target == "/tagged" { "the text" } else { "the longer text" };
        origin.set(move |seen| answer(seen, "\"b\"", body));
        lb.send(&head).await;
        let new = lb.get(target).await;
        assert!(!new.is_hit() && new.text() == body, "{target}: {new:?}");
        assert!(lb.get(target).await.is_hit());
    }
}

#[tokio::test]
async fn a_head_that_shows_the_same_makes_what_is_stored_fresh_again() {
    let said = |seen: &Seen, more: &str| tagged(seen, "\"a\"", "the body", "max-age=60").header("X-More", more);
    let (lb, origin) = start(move |seen| said(seen, "old")).await;
    fill(&lb, &Request::get("/a")).await;
    assert_eq!(lb.purge("url=/a&soft=true").await, 1);
    origin.set(move |seen| said(seen, "new"));
    assert_eq!(lb.send(&Request::head("/a")).await.status, 200);
    let hit = lb.get("/a").await;
    assert!(hit.is_hit() && hit.text() == "the body", "{hit:?}");
    assert_eq!((hit.header("x-more"), origin.count()), ("new", 2));
}

#[tokio::test]
async fn a_client_gets_its_304_for_what_is_not_stored() {
    let (lb, origin) = start(|seen| tagged(seen, "\"p\"", "a private page", "private")).await;
    assert_eq!(lb.get("/").await.status, 200);
    let again = Request::get("/").header("If-None-Match", "\"p\"");
    for _ in 0..2 {
        let answer = lb.send(&again).await;
        assert_eq!((answer.status, answer.text().as_str()), (304, ""));
        assert_eq!(origin.last().header("if-none-match"), "\"p\"");
    }
    origin.set(|seen| tagged(seen, "\"q\"", "for everybody", "max-age=60"));
    assert_eq!(lb.send(&again).await.text(), "for everybody");
    assert!(lb.get("/").await.is_hit());
}

#[tokio::test]
async fn a_304_for_one_who_is_logged_in_takes_nothing_from_the_others() {
    let (lb, origin) = start(|seen| tagged(seen, "\"a\"", "the body", "max-age=60")).await;
    fill(&lb, &Request::get("/")).await;
    let asked = origin.count();
    let theirs = Request::get("/")
        .header("Authorization", "Basic x")
        .header("Cache-Control", "no-cache");
    assert_eq!(lb.send(&theirs).await.text(), "the body");
    assert_eq!(origin.count(), asked + 1);
    assert!(lb.get("/").await.is_hit());
}
