//! An unsafe method that succeeds invalidates its target (RFC 9111 §4.4).

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::servers;

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

#[tokio::test]
async fn a_write_takes_out_what_its_answer_points_to_on_the_same_origin() {
    for (name, there, gone) in [
        ("Location", "/b?q=1", true),
        ("Location", "b?q=1", true),
        ("Location", "http://LB.test:80/b?q=1", true),
        ("Content-Location", "//lb.test/x/../b?q=1", true),
        ("Location", "http://other.test/b?q=1", false),
        ("Location", "https://lb.test/b?q=1", false),
        ("Location", "/b", false),
        ("Link", "/b?q=1", false),
    ] {
        let (lb, _origin) = start(move |seen| match seen.method.as_str() {
            "GET" => fresh("a"),
            _ => Reply::new(201).header(name, there),
        })
        .await;
        for target in ["/a?x", "/b?q=1"] {
            fill(&lb, &Request::get(target)).await;
        }
        lb.send(&Request::post("/a?x", "x")).await;
        assert!(!lb.get("/a?x").await.is_hit(), "the target goes with its query");
        assert_eq!(!lb.get("/b?q=1").await.is_hit(), gone, "{name}: {there}");
    }
}

#[tokio::test]
async fn a_failed_write_takes_nothing_out_whatever_it_points_to() {
    let (lb, _origin) = start(|seen| match seen.method.as_str() {
        "GET" => fresh("a"),
        _ => Reply::new(400).header("Location", "/b"),
    })
    .await;
    fill(&lb, &Request::get("/b")).await;
    lb.send(&Request::post("/a", "x")).await;
    assert!(lb.get("/b").await.is_hit());
}

#[tokio::test]
async fn reads_that_go_another_way_than_writes_see_them_too() {
    let answer = |seen: &lb_tests::origin::Seen| if seen.method == "GET" { fresh("a") } else { Reply::new(204) };
    let (reads, writes) = (Origin::start(answer).await, Origin::start(answer).await);
    let lb = Lb::start(&format!(
        "[upstreams.reads]\nservers = [{}]\n\n[upstreams.writes]\nservers = [{}]\n\n\
         [[routes]]\npath = \"/\"\nmethods = [\"POST\"]\nupstream = \"writes\"\n\n\
         [[routes]]\npath = \"/\"\nmethods = [\"GET\"]\nupstream = \"reads\"\ncache = {{ ttl = \"0s\", key = \"{{path}}\" }}\n",
        servers(&[reads.addr()]),
        servers(&[writes.addr()])
    ))
    .await;
    fill(&lb, &Request::get("/a")).await;
    assert_eq!(lb.send(&Request::post("/a", "x")).await.status, 204);
    assert!(!lb.get("/a").await.is_hit());
}
