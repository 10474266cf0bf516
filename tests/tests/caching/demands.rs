//! What clients may say of caching (RFC 9111 §5.2.1).

use lb_tests::client::Request;
use lb_tests::origin::Reply;

use super::{fill, fresh, start};

fn says(field: &str, value: &str) -> Request {
    Request::get("/").header(field, value)
}

#[tokio::test]
async fn a_reload_asks_the_origin_and_brings_the_news_to_all() {
    for (field, value) in [
        ("Cache-Control", "no-cache"),
        ("Cache-Control", "max-age=0"),
        ("Pragma", "no-cache"),
    ] {
        let (lb, origin) = start(|_| fresh("old")).await;
        fill(&lb, &Request::get("/")).await;
        let asked = origin.count();
        origin.set(|_| fresh("new"));
        // max-age=0 takes what is of this very moment
        let reloaded = super::until_text(&lb, &says(field, value), "new").await;
        assert!(
            reloaded.header("cache-status").starts_with("lb; fwd=request"),
            "{field} {value}: {:?}",
            reloaded.headers
        );
        assert!(origin.count() > asked, "{field}: {value}");
        let next = lb.get("/").await;
        assert_eq!((next.text().as_str(), next.is_hit()), ("new", true), "{field}: {value}");
    }
}

#[tokio::test]
async fn a_client_that_wants_it_fresher_gets_it_fresher() {
    let (lb, origin) = start(|_| fresh("a").header("Age", "30")).await;
    fill(&lb, &Request::get("/")).await;
    for (value, hit) in [
        ("max-age=1000", true),
        ("max-age=10", false),
        ("min-fresh=10", true),
        ("min-fresh=40", false),
        ("nothing-to-see-here", true),
    ] {
        let asked = origin.count();
        assert_eq!(lb.send(&says("Cache-Control", value)).await.is_hit(), hit, "{value}");
        assert_eq!(origin.count(), asked + usize::from(!hit), "{value}");
    }
}

#[tokio::test]
async fn a_client_that_takes_it_stale_gets_it_stale() {
    let (lb, origin) = start(|_| fresh("a").header("Age", "59").header("ETag", "\"a\"")).await;
    lb.get("/").await;
    let stale = super::until_stale(&lb, &says("Cache-Control", "max-stale=600")).await;
    assert_eq!(stale.text(), "a");
    assert!(stale.header("cache-status").ends_with("; detail=max-stale"), "{:?}", stale.headers);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn only_if_cached_is_answered_by_what_is_stored_or_by_504() {
    let (lb, origin) = start(|_| fresh("a")).await;
    let only = says("Cache-Control", "only-if-cached");
    let none = lb.send(&only).await;
    none.assert_problem(504);
    assert_eq!(none.header("cache-status"), "lb; detail=only-if-cached");
    assert_eq!(origin.count(), 0);
    fill(&lb, &Request::get("/")).await;
    assert!(lb.send(&only).await.is_hit());
}

#[tokio::test]
async fn no_store_goes_past_the_store() {
    let (lb, origin) = start(|_| Reply::text("a").header("Cache-Control", "max-age=60")).await;
    for round in 1..=2 {
        let answer = lb.send(&says("Cache-Control", "no-store")).await;
        assert_eq!((answer.header("cache-status"), origin.count()), ("lb; fwd=bypass", round));
    }
}
