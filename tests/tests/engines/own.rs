//! Answers of `lb`'s own: fixed ones, redirects, refusals.

use lb_tests::client::Request;

use super::pair::{Case, Pair};

#[tokio::test]
async fn fixed_answers_and_redirects() {
    let mut cases = Vec::new();
    for target in [
        "/respond",
        "/teapot",
        "/nothing-to-say",
        "/redirect/a%20b?c=d",
        "/denied",
        "/posts/x",
    ] {
        for request in [
            Request::get(target),
            Request::head(target),
            Request::post(target, "x"),
            Request::get(target).http10(),
        ] {
            cases.push(Case::of(&format!("{request:?}"), &request));
        }
        cases.push(Case::of(target, &Request::get(target)).twice());
    }
    Pair::start().await.finish(cases).await;
}

#[tokio::test]
async fn refusals_of_heads() {
    let long = "x".repeat(9000);
    let many: String = (0..60).map(|number| format!("X-{number}: {number}\r\n")).collect();
    let cases = [
        ("no Host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx".into(),
        ),
        (
            "a length and a coding",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        ),
        (
            "an unknown coding",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n".into(),
        ),
        ("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".into()),
        ("TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("a version", "GET / HTTP/3.0\r\nHost: a\r\n\r\n".into()),
        ("a long target", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("a long field", format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")),
        ("many fields", format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")),
        ("no HTTP", "\x16\x03\x01\x02\0\x01\0\r\n\r\n".into()),
    ];
    let cases = cases.into_iter().map(|(name, bytes)| Case::raw(name, bytes, 2));
    Pair::start().await.finish(cases.collect()).await;
}
