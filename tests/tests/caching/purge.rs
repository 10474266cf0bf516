//! `DELETE /api/cache`.

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;

use super::{fill, fresh, start};

async fn filled() -> (Lb, Origin) {
    let (lb, origin) =
        start(|seen| fresh("a").header("Cache-Tag", if seen.target.starts_with("/users") { "users, all" } else { "all" })).await;
    for target in ["/users", "/users/1", "/users/1?x=1", "/usersabc", "/other"] {
        fill(&lb, &Request::get(target)).await;
    }
    (lb, origin)
}

async fn hits(lb: &Lb) -> Vec<&'static str> {
    let mut hits = Vec::new();
    for target in ["/users", "/users/1", "/users/1?x=1", "/usersabc", "/other"] {
        if lb.get(target).await.is_hit() {
            hits.push(target);
        }
    }
    hits
}

#[tokio::test]
async fn by_url_it_is_exactly_that_one() {
    let (lb, _origin) = filled().await;
    assert_eq!(lb.purge("url=/users/1").await, 1);
    assert_eq!(hits(&lb).await, ["/users", "/users/1?x=1", "/usersabc", "/other"]);
    let (lb, _origin) = filled().await;
    assert_eq!(lb.purge("url=http%3A%2F%2Flb.test%2Fusers%2F1%3Fx%3D1").await, 1);
    assert_eq!(hits(&lb).await, ["/users", "/users/1", "/usersabc", "/other"]);
    assert_eq!(lb.purge("url=http%3A%2F%2Felsewhere.test%2Fusers").await, 0);
    assert_eq!(lb.purge("url=/nowhere").await, 0);
}

#[tokio::test]
async fn by_prefix_it_is_all_that_begin_so() {
    let (lb, _origin) = filled().await;
    assert_eq!(lb.purge("prefix=/users/").await, 2);
    assert_eq!(hits(&lb).await, ["/users", "/usersabc", "/other"]);
}

#[tokio::test]
async fn by_tag_it_is_all_that_bear_it() {
    let (lb, _origin) = filled().await;
    assert_eq!(lb.purge("tag=users").await, 4);
    assert_eq!(hits(&lb).await, ["/other"]);
}

#[tokio::test]
async fn all_is_all() {
    let (lb, origin) = filled().await;
    assert_eq!(lb.purge("all=true").await, 5);
    assert_eq!(lb.metrics().await.value("lb_cache_objects", &[]), Some(0.0));
    let asked = origin.count();
    assert!(!lb.get("/other").await.is_hit());
    assert_eq!(origin.count(), asked + 1);
}

#[tokio::test]
async fn without_a_parameter_it_is_400_and_nothing_is_purged() {
    let (lb, _origin) = filled().await;
    for target in ["/api/cache", "/api/cache?", "/api/cache?nonsense=1", "/api/cache?all=false"] {
        let answer = lb.admin(&Request::new("DELETE", target)).await;
        assert_eq!(answer.status, 400, "{target}: {}", answer.text());
    }
    assert_eq!(hits(&lb).await.len(), 5);
}

#[tokio::test]
async fn softly_it_is_marked_stale_and_the_origin_is_asked_again() {
    let (lb, origin) = filled().await;
    assert_eq!(lb.purge("prefix=/users/&soft=true").await, 2);
    assert_eq!(lb.purge("prefix=/users/&soft=true").await, 0, "once");
    assert_eq!(lb.metrics().await.value("lb_cache_objects", &[]), Some(5.0), "nothing is taken out");
    let asked = origin.count();
    let answer = lb.get("/users/1").await;
    assert!(
        !answer.is_hit() && answer.header("cache-status").contains("fwd=stale"),
        "{answer:?}"
    );
    assert_eq!(origin.count(), asked + 1);
    assert!(lb.get("/users/1").await.is_hit(), "what came is fresh");
    assert!(lb.get("/users").await.is_hit(), "the others are as they were");
}

#[tokio::test]
async fn what_is_empty_is_refused_rather_than_taken_for_everything() {
    let (lb, _origin) = filled().await;
    for query in ["prefix=", "url=", "tag="] {
        let answer = lb.admin(&Request::new("DELETE", &format!("/api/cache?{query}"))).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.text().contains("all=true"), "{query}: {}", answer.text());
    }
    assert_eq!(hits(&lb).await.len(), 5);
}
