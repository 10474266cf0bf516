//! An unsafe method that succeeds invalidates its target (RFC 9111 §4.4).

use lb_tests::client::Request;
use lb_tests::origin::Reply;

use super::{fill, fresh, start};

#[tokio::test]
async fn a_write_that_succeeds_takes_its_target_out() {
    for (method, status, gone) in [
        ("POST", 201, true),
        ("PUT", 200, true),
        ("PATCH", 204, true),
        ("DELETE", 204, true),
        ("POST", 303, true),
        ("PUT", 409, false),
        ("POST", 500, false),
        ("OPTIONS", 200, false),
    ] {
        let (lb, _origin) = start(move |seen| if seen.method == "GET" { fresh("a") } else { Reply::new(status) }).await;
        fill(&lb, &Request::get("/a")).await;
        fill(&lb, &Request::get("/b")).await;
        assert_eq!(lb.send(&Request::new(method, "/a").body("x")).await.status, status);
        assert_eq!(!lb.get("/a").await.is_hit(), gone, "{method} {status}");
        assert!(lb.get("/b").await.is_hit(), "{method} {status} took something else out");
    }
}
