//! Request bodies.

use bytes::Bytes;
use lb_tests::client::Request;

use super::pair::{Case, Pair};

fn chunked(name: &str, body: &str) -> Case {
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    Case::raw(name, [head, body].concat(), 1)
}

#[tokio::test]
async fn with_a_length() {
    let mut cases = Vec::new();
    for length in [0, 1, 100, 16_383, 16_384, 65_535, 65_536, 65_537, 300_000, 1_000_000] {
        let body = Bytes::from(vec![b'x'; length]);
        cases.push(Case::of(&format!("POST of {length}"), &Request::post("/echo", body.clone())));
        cases.push(Case::of(&format!("GET of {length}"), &Request::get("/echo").body(body.clone())));
    }
    cases.push(Case::of("one over the limit", &Request::post("/echo", vec![b'x'; 1_000_001])));
    cases.push(Case::of("one over the route's limit", &Request::post("/small/echo", "12345678901")));
    cases.push(Case::of("HTTP/1.0", &Request::post("/echo", "body").http10()));
    cases.push(Case::raw(
        "zeros before the length",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 004\r\n\r\nbody",
        1,
    ));
    Pair::start().await.finish(cases).await;
}

#[tokio::test]
async fn in_chunks() {
    let tiny = format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(3000));
    let pieces = |size: usize| Request::new("PUT", "/echo").chunks(vec![Bytes::from(vec![b'x'; size]); 3]);
    Pair::start()
        .await
        .finish(vec![
            chunked("no data", "0\r\n\r\n"),
            chunked("one chunk", "5\r\nhello\r\n0\r\n\r\n"),
            chunked("sizes in odd spellings", "00A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n"),
            chunked("extensions", "5;a=b;c=\"d\"\r\nhello\r\n0;x\r\n\r\n"),
            chunked("tiny chunks", &tiny),
            Case::of("three of 20 kB", &pieces(20_000)),
            Case::of("three of 200 kB", &pieces(200_000)),
            Case::of("more than the limit", &pieces(400_000)),
            Case::raw(
                "more than the route's limit",
                "POST /small/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n",
                1,
            ),
        ])
        .await;
}

#[tokio::test]
async fn expected_or_not_wanted() {
    let expecting = |target: &str| Request::post(target, "the body").header("Expect", "100-continue");
    Pair::start()
        .await
        .finish(vec![
            Case::of("an expectation", &expecting("/echo")),
            Case::of("an expectation over HTTP/1.0", &expecting("/echo").http10()),
            Case::of("an expectation that lb answers", &expecting("/respond")),
            Case::of("an expectation that lb refuses", &expecting("/denied")),
            Case::of("an expectation over the limit", &expecting("/small/echo").body("12345678901")),
            Case::of("a body that lb does not need", &Request::post("/respond", "body")),
            Case::of("a body that lb refuses", &Request::post("/denied", "body")),
            Case::of("a body that the server does not read", &Request::post("/early", vec![b'x'; 1000])),
            Case::of("a body for a redirect", &Request::post("/redirect", "body")).twice(),
        ])
        .await;
}

#[tokio::test]
async fn in_malformed_chunks() {
    let mut pair = Pair::start().await;
    for body in ["zz\r\nhello\r\n0\r\n\r\n", "5\r\nhelloX", "0\r\nHost: b\r\n\r\n"] {
        pair.send(chunked(body, body)).await;
    }
    pair.assert_same();
}
