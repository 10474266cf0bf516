//! What clients have already (RFC 9110 §13, answered as RFC 9111 §4.3.2 has it).

use lb_tests::client::Request;

use super::{fill, fresh, start};

const MODIFIED: &str = "Wed, 01 Jan 2025 00:00:00 GMT";

#[tokio::test]
async fn a_304_from_the_store_has_what_a_cache_needs_and_no_more() {
    let (lb, origin) = start(|_| {
        fresh("body")
            .header("ETag", "W/\"one\"")
            .header("Last-Modified", MODIFIED)
            .header("Content-Location", "/here")
            .header("Content-Language", "en")
            .header("Vary", "Accept")
            .header("Access-Control-Allow-Origin", "*")
    })
    .await;
    fill(&lb, &Request::get("/")).await;
    for request in [Request::get("/"), Request::head("/")] {
        let answer = lb.send(&request.header("If-None-Match", "\"other\", \"one\"")).await;
        assert_eq!((answer.status, answer.body.len(), answer.is_hit()), (304, 0, true));
        for name in [
            "etag",
            "content-location",
            "date",
            "vary",
            "cache-control",
            "age",
            "cache-status",
            "access-control-allow-origin",
        ] {
            assert!(answer.headers.has(name), "no {name} in {:?}", answer.headers);
        }
        for name in ["content-type", "content-language", "content-length", "last-modified"] {
            assert!(!answer.headers.has(name), "{name} in {:?}", answer.headers);
        }
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_tag_is_heard_before_a_date() {
    let (lb, _origin) = start(|_| fresh("body").header("ETag", "\"one\"").header("Last-Modified", MODIFIED)).await;
    fill(&lb, &Request::get("/")).await;
    let since = |request: Request| request.header("If-Modified-Since", "Thu, 02 Jan 2025 00:00:00 GMT");
    let dated = lb.send(&since(Request::get("/"))).await;
    assert_eq!((dated.status, dated.headers.has("etag")), (304, true));
    let other = lb.send(&since(Request::get("/").header("If-None-Match", "\"two\""))).await;
    assert_eq!((other.status, other.text().as_str()), (200, "body"));
    assert_eq!(lb.send(&Request::get("/").header("If-None-Match", "*")).await.status, 304);
}

#[tokio::test]
async fn what_only_the_origin_can_judge_goes_there() {
    let (lb, origin) = start(|_| fresh("body").header("ETag", "\"one\"")).await;
    fill(&lb, &Request::get("/")).await;
    for (name, value) in [("If-Match", "\"one\""), ("If-Unmodified-Since", MODIFIED)] {
        let asked = origin.count();
        assert!(!lb.send(&Request::get("/").header(name, value)).await.is_hit());
        assert_eq!((origin.count(), origin.last().header(name)), (asked + 1, value));
    }
}
