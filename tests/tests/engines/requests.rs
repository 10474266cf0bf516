//! Request heads in every shape that is in order, and what the server gets of them.

use lb_tests::client::Request;

use super::pair::{Case, Pair};

fn get(name: &str, fields: &str) -> Case {
    Case::raw(name, format!("GET /x HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"), 1)
}

#[tokio::test]
async fn methods_and_versions() {
    let mut cases: Vec<Case> = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "PURGE", "frob",
    ]
    .iter()
    .flat_map(|method| {
        let bare = Request::new(method, "/x");
        [
            Case::of(method, &bare),
            Case::of(&format!("{method} over HTTP/1.0"), &bare.http10()),
        ]
    })
    .collect();
    cases.extend([
        Case::raw("OPTIONS for the server as a whole", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        Case::raw("HTTP/1.0 with a host", "GET /x HTTP/1.0\r\nHost: a\r\n\r\n", 1),
        Case::raw(
            "HTTP/1.0 that asks to go on",
            "GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
            1,
        ),
        Case::raw(
            "HTTP/1.0 that asks for chunks to go on",
            "GET /chunked HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
            1,
        ),
        Case::raw("HTTP/1.1 that ends", "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 1),
        Case::raw("empty lines before", "\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", 1),
    ]);
    Pair::start().await.finish(cases).await;
}

#[tokio::test]
async fn targets() {
    let long = format!("/{}", "x".repeat(4000));
    let cases = [
        "/",
        "/?",
        "/?a=b&c",
        "/a/b/../c/./d",
        "/a//b",
        "//a",
        "/a%2Fb",
        "/a%2fb?%00",
        "/%7Euser",
        "/a/%2e%2e/b",
        "/a;b=c",
        "/a?b?c/..",
        "/:80",
        "/a?q={\"x\":[1|2]}`",
        "/!$&'()*+,;=:@-._~",
        "http://a/x?y",
        "http://a",
        "http://A?x",
        "HTTP://a/",
        "https://a/x",
        &long,
    ]
    .map(|target| Case::raw(target, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), 1));
    let strip = ["/strip", "/strip/a?b", "/strip/../x", "/strip?x"].map(|target| Case::of(target, &Request::get(target)));
    Pair::start().await.finish(cases.into_iter().chain(strip).collect()).await;
}

#[tokio::test]
async fn fields() {
    let many: String = (0..40).map(|number| format!("X-{number}: {number}\r\n")).collect();
    Pair::start()
        .await
        .finish(vec![
            get("none", ""),
            get("white space around a value", "X-A:1\r\nX-B:   2   \r\nX-C:\t3\t\r\nX-D: a  b\r\n"),
            get("an empty value", "X-A:\r\nX-B: \r\n"),
            get("odd case", "x-LoWeR: 1\r\nUSER-AGENT: x\r\naCCept: */*\r\n"),
            get("repeated", "X-A: 1\r\nX-B: 2\r\nx-a: 3\r\nX-A: 1\r\n"),
            get("odd names", "!#$%&'*+-.^_`|~09: 1\r\n"),
            get("underscores", "X_A: 1\r\nx-a: 2\r\n"),
            get("cookies", "Cookie: a=1\r\nCookie: b=2\r\n"),
            get("many", &many),
            get("credentials", "Authorization: Basic eDp5\r\nProxy-Authorization: Basic eDp5\r\n"),
            get(
                "conditions",
                "If-None-Match: \"a\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nRange: bytes=0-1\r\n",
            ),
            get("Accept-Encoding", "Accept-Encoding: gzip, br;q=0.5\r\n"),
            Case::raw("bytes over 127", b"GET /x HTTP/1.1\r\nHost: a\r\nX-A: caf\xc3\xa9 \xff\r\n\r\n", 1),
            Case::raw("a host with a port", "GET /x HTTP/1.1\r\nHost: A.Example:8080\r\n\r\n", 1),
            Case::raw("a host that is an address", "GET /x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 1),
            Case::raw("a host of the upstream's", "GET /named/x HTTP/1.1\r\nHost: a\r\n\r\n", 1),
            Case::raw(
                "edited fields",
                "GET /edited/cookies HTTP/1.1\r\nHost: a\r\nX-Set: old\r\nX-Add: old\r\nX-Gone: 1\r\nx-gone: 2\r\n\r\n",
                1,
            ),
        ])
        .await;
}

#[tokio::test]
async fn fields_for_this_hop_only() {
    Pair::start()
        .await
        .finish(vec![
            get("Connection names one", "Connection: X-Secret\r\nX-Secret: 1\r\nX-Stays: 1\r\n"),
            get(
                "Connection names several",
                "Connection: x-a , ,keep-alive,\tX-B\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\n",
            ),
            get("Connection twice", "Connection: X-A\r\nConnection: X-B\r\nX-A: 1\r\nX-B: 2\r\n"),
            get(
                "Connection names what lb sets",
                "Connection: x-real-ip, x-forwarded-for, host, x-request-id\r\n",
            ),
            get("Connection names a field that is not there", "Connection: X-None\r\n"),
            get(
                "Keep-Alive and Proxy-Connection",
                "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n",
            ),
            get("TE", "TE: gzip\r\n"),
            get("Upgrade without Connection", "Upgrade: websocket\r\n"),
            get("Connection without Upgrade", "Connection: upgrade\r\n"),
            get(
                "HTTP2-Settings",
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            ),
        ])
        .await;
}

#[tokio::test]
async fn what_a_client_says_about_itself() {
    Pair::start()
        .await
        .finish(vec![
            get(
                "X-Forwarded-For",
                "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 198.51.100.2, 198.51.100.3\r\n",
            ),
            get("in odd case", "x-FORWARDED-for: 198.51.100.1\r\nX-real-IP: 198.51.100.1\r\n"),
            get(
                "by underscores",
                "X_Forwarded_For: 198.51.100.1\r\nX_Real_IP: 1\r\nX-Forwarded_Proto: https\r\nx_request_id: a\r\n",
            ),
            get(
                "X-Forwarded-Proto and -Host",
                "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 1\r\n",
            ),
            get("Forwarded", "Forwarded: for=198.51.100.1;proto=https\r\n"),
            get("X-Request-ID", "X-Request-ID: chosen\r\nX-Request-ID: chosen-again\r\n"),
            get("Via", "Via: 1.1 other\r\nMax-Forwards: 3\r\n"),
            get(
                "a trace",
                "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\ntracestate: a=1\r\ntracestate: b=2\r\n",
            ),
            get("no trace", "traceparent: 00-0-0-01\r\ntracestate: a=1\r\n"),
        ])
        .await;
}

#[tokio::test]
async fn many_requests_of_a_connection() {
    let get = |target: &str| Request::get(target).bytes();
    let post = |body: &'static str| Request::post("/echo", body).bytes();
    Pair::start()
        .await
        .finish(vec![
            Case::of("twice in one write", &Request::get("/x")).twice(),
            Case::of("a body twice in one write", &Request::post("/echo", "body")).twice(),
            Case::raw(
                "all kinds in one write",
                [
                    get("/chunked"),
                    post("a"),
                    get("/204"),
                    get("/respond"),
                    get("/404"),
                    post(""),
                    get("/large"),
                    get("/teapot"),
                ]
                .concat(),
                8,
            ),
            Case::raw(
                "one that ends before another",
                [Request::get("/x").header("Connection", "close").bytes(), get("/beyond")].concat(),
                2,
            ),
        ])
        .await;
}
