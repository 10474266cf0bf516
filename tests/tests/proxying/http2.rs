//! HTTP/2 with prior knowledge, on the same port as HTTP/1.1.

use lb_tests::client::Request;
use lb_tests::h2c::Client;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};

use super::smallest;

#[tokio::test]
async fn http_2_and_http_1_share_a_port() {
    let origin = Origin::start(|seen| {
        if seen.method == "POST" {
            Reply::echo()
        } else {
            Reply::text("origin")
        }
    })
    .await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut client = Client::connect(lb.listen()).await;
    let answer = client.request("GET", "/a?b", b"").await;
    assert_eq!((answer.status, answer.body.as_ref()), (200, b"origin".as_slice()));
    let seen = origin.last();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str(), seen.header("host")),
        ("GET", "/a?b", "lb.test")
    );
    assert_eq!(seen.header("x-real-ip"), "127.0.0.1");
    assert_eq!(answer.header("x-request-id"), seen.header("x-request-id"));
    let answer = client.request("POST", "/", b"a body").await;
    assert_eq!(answer.body.as_ref(), b"a body");
    assert_eq!(lb.get("/").await.text(), "origin");
}

#[tokio::test]
async fn errors_and_limits_are_the_same_over_http_2() {
    let origin = Origin::start(|seen| if seen.target == "/close" { Reply::close() } else { Reply::echo() }).await;
    let config = format!(
        "[limits]\nmax_body = \"1KB\"\n\n{}\n[[routes]]\npath = \"/\"\nmethods = [\"GET\", \"POST\"]\nupstream = \"app\"\n",
        smallest(&origin)
    );
    let lb = Lb::start(&config).await;
    let mut client = Client::connect(lb.listen()).await;
    static LONG: [u8; 5000] = [b'x'; 5000];
    for (method, target, body, status) in [
        ("GET", "/close", [].as_slice(), 502),
        ("POST", "/", LONG.as_slice(), 413),
        ("DELETE", "/", [].as_slice(), 405),
    ] {
        let over_2 = client.request(method, target, if body.is_empty() { b"" } else { &LONG }).await;
        assert_eq!(over_2.status, status, "{method} {target}");
        assert!(over_2.header("content-type").starts_with("application/problem+json"));
        let over_1 = lb.send(&Request::new(method, target).body(body)).await;
        over_1.assert_problem(status);
    }
    assert_eq!(client.request("POST", "/", b"still there").await.body.as_ref(), b"still there");
}

#[tokio::test]
async fn many_streams_of_one_connection_run_side_by_side() {
    let origin = Origin::held("late").await;
    let lb = Lb::start(&smallest(&origin)).await;
    let client = Client::connect(lb.listen()).await;
    let all: Vec<_> = (0..10)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.request("GET", "/", b"").await })
        })
        .collect();
    origin.wait_for(10).await;
    origin.release_all();
    for one in all {
        assert_eq!(one.await.unwrap().body.as_ref(), b"late");
    }
}

#[tokio::test]
async fn c22_a_body_from_http_2_ends_once_in_http_1() {
    let origin = Origin::start(|_| Reply::echo()).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut client = Client::connect(lb.listen()).await;
    for round in 0..5 {
        let answer = client.post_frames(&format!("/{round}"), &["hello"]).await.unwrap();
        assert_eq!((answer.status, answer.body.as_ref()), (200, b"hello".as_slice()), "round {round}");
        let answer = client.request("GET", "/next", b"").await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "round {round}");
    }
    let raw: Vec<u8> = (0..origin.connections()).flat_map(|number| origin.raw(number)).collect();
    let ends = raw.windows(7).filter(|bytes| bytes == b"\r\n0\r\n\r\n").count();
    assert_eq!(ends, 5, "last chunks in {:?}", String::from_utf8_lossy(&raw));
}
