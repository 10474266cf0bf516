//! What makes two requests the same.

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::servers;

use super::{cached_as, fill, fresh, start};

#[tokio::test]
async fn host_path_and_query_tell_answers_apart() {
    let (lb, _origin) = start(|seen| fresh(&format!("{} {}", seen.header("host"), seen.target))).await;
    for round in 0..2 {
        for (host, target) in [
            ("a", "/x"),
            ("b", "/x"),
            ("a", "/X"),
            ("a", "/x?"),
            ("a", "/x?y"),
            ("a", "/x?y=1"),
            ("a", "//x"),
            ("a", "/x/"),
        ] {
            let answer = lb.send(&Request::get(target).header("Host", host)).await;
            assert_eq!(answer.text(), format!("{host} {target}"), "round {round}");
        }
    }
}

#[tokio::test]
async fn dot_segments_are_not_another_object() {
    let (lb, origin) = start(|seen| fresh(&seen.target)).await;
    fill(&lb, &Request::get("/a")).await;
    let answer = lb.get("/x/../a").await;
    assert_eq!((answer.text().as_str(), answer.is_hit()), ("/a", true));
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_key_of_one_s_own_can_leave_things_out() {
    let origin = Origin::start(|seen| fresh(&seen.target)).await;
    let lb = Lb::start(&cached_as(&origin, "ttl = \"0s\", key = \"{scheme}://{host}{path}\"")).await;
    fill(&lb, &Request::get("/a?utm=1")).await;
    assert_eq!(lb.get("/a?utm=2").await.text(), "/a?utm=1");
    assert_eq!(lb.get("/b?utm=1").await.text(), "/b?utm=1");
}

#[tokio::test]
async fn the_upstream_is_always_part_of_the_key() {
    let (a, b) = (Origin::start(|_| fresh("a")).await, Origin::start(|_| fresh("b")).await);
    let route = |name: &str, header: &str| {
        format!(
            "[[routes]]\nname = \"{name}\"\npath = \"/\"\n{header}upstream = \"{name}\"\ncache = {{ ttl = \"0s\", key = \"same\" }}\n\n"
        )
    };
    let lb = Lb::start(&format!(
        "[upstreams.a]\nservers = [{}]\n\n[upstreams.b]\nservers = [{}]\n\n{}{}",
        servers(&[a.addr()]),
        servers(&[b.addr()]),
        route("a", "headers = { x-to = \"a\" }\n"),
        route("b", "")
    ))
    .await;
    for _ in 0..2 {
        fill(&lb, &Request::get("/").header("X-To", "a")).await;
        fill(&lb, &Request::get("/")).await;
        assert_eq!(lb.send(&Request::get("/").header("X-To", "a")).await.text(), "a");
        assert_eq!(lb.get("/").await.text(), "b");
    }
}

#[tokio::test]
async fn vary_keeps_one_answer_for_each_value() {
    let (lb, origin) = start(|seen| {
        let language = seen.headers.get("accept-language").unwrap_or("none").to_owned();
        fresh(&language).header("Vary", "Accept-Language")
    })
    .await;
    let ask = |language: &str| Request::get("/").header("Accept-Language", language);
    for language in ["en", "de", "fr"] {
        fill(&lb, &ask(language)).await;
    }
    fill(&lb, &Request::get("/")).await;
    assert_eq!(origin.count(), 4);
    for language in ["en", "de", "fr"] {
        let answer = lb.send(&ask(language)).await;
        assert_eq!((answer.text().as_str(), answer.is_hit()), (language, true));
    }
    assert_eq!(lb.get("/").await.text(), "none");
    assert_eq!(origin.count(), 4);
}

#[tokio::test]
async fn authorization_never_shows_one_s_answer_to_another() {
    let (lb, _origin) = start(|seen| fresh(seen.headers.get("authorization").unwrap_or("nobody"))).await;
    for _ in 0..2 {
        for who in ["alice", "bob"] {
            // What was stored for everybody may be shown to one who says who they are (RFC 9111 §3.5), but nothing of anybody else's.
            let text = lb.send(&Request::get("/").header("Authorization", who)).await.text();
            assert!(text == who || text == "nobody", "{who} was shown {text}");
        }
        assert_eq!(lb.get("/").await.text(), "nobody");
    }
}
