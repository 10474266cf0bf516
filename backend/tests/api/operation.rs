//! Health, metrics, security headers, CORS.

use backend::settings::{Cors, HttpSettings};
use http::HeaderValue;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{Api, Kind, http_settings, on_both, problem};

on_both!(
    health_tells_the_time,
    ready_is_ready,
    a_request_may_have_256_fields,
    what_is_no_request_has_a_bare_answer,
    security_headers_are_on_every_answer,
    without_origins_there_are_no_cors_headers,
    metrics_count_by_route_and_not_by_path,
);

async fn health_tells_the_time(api: Api) {
    let answer = api.get("/health").await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
    let json = answer.json();
    assert_eq!(json["status"], "healthy");
    let time = json["time"].as_str().expect("text");
    let format = &time::format_description::well_known::Rfc3339;
    assert!(time::OffsetDateTime::parse(time, format).is_ok(), "{time}");
}

/// The head of the answer to these bytes.
async fn head_of_answer(api: &Api, request: &str) -> String {
    let mut stream = TcpStream::connect(api.addr).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it closes");
    answer.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase()
}

fn with_fields(fields: usize) -> String {
    let fields: String = (2..fields).map(|n| format!("x-{n}: {n}\r\n")).collect();
    format!("GET /users HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{fields}\r\n")
}

async fn a_request_may_have_256_fields(api: Api) {
    for fields in [100, 101, 150, 256] {
        let head = head_of_answer(&api, &with_fields(fields)).await;
        assert!(head.starts_with("http/1.1 200 "), "{fields}: {head}");
    }
}

async fn what_is_no_request_has_a_bare_answer(api: Api) {
    let long = format!("GET /users?{} HTTP/1.1\r\nhost: test\r\n\r\n", "x".repeat(70_000));
    let cases = [
        (with_fields(257), "431"),
        (long, "414"),
        ("GET /us ers HTTP/1.1\r\nhost: test\r\n\r\n".to_owned(), "400"),
        ("GET /users HTTP/1.1\r\nho st: test\r\n\r\n".to_owned(), "400"),
    ];
    for (request, status) in cases {
        let head = head_of_answer(&api, &request).await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        assert!(head.contains("\r\ncontent-length: 0") && !head.contains("content-type"), "{head}");
    }
}

async fn ready_is_ready(api: Api) {
    assert_eq!(api.get("/ready").await.status, 200);
}

async fn security_headers_are_on_every_answer(api: Api) {
    let expected = [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("origin-agent-cluster", "?1"),
        ("referrer-policy", "no-referrer"),
        ("strict-transport-security", "max-age=31536000; includeSubDomains"),
        ("x-content-type-options", "nosniff"),
        ("x-dns-prefetch-control", "off"),
        ("x-download-options", "noopen"),
        ("x-frame-options", "SAMEORIGIN"),
        ("x-permitted-cross-domain-policies", "none"),
        ("x-xss-protection", "0"),
    ];
    for path in ["/users", "/users/1", "/health", "/metrics", "/nope"] {
        let answer = api.get(path).await;
        for (name, value) in expected {
            assert_eq!(answer.header(name), value, "{path}");
        }
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'self';base-uri 'self';") && policy.ends_with(";upgrade-insecure-requests"),
            "{policy}"
        );
        assert_eq!(answer.header("x-powered-by"), "");
    }
}

async fn without_origins_there_are_no_cors_headers(api: Api) {
    let answer = api.get("/users").header("origin", "https://app.example").await;
    assert!(
        answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")),
        "{:?}",
        answer.headers
    );
}

async fn metrics_count_by_route_and_not_by_path(api: Api) {
    let id = api.user("Ada", "ada@example.com").await;
    for _ in 0..3 {
        api.get(&format!("/users/{id}")).await;
    }
    api.get("/a").await;
    api.ask("BREW", "/b").await;
    let answer = api.get("/metrics").await;
    assert!(
        answer.header("content-type").starts_with("text/plain; version=0.0.4"),
        "{}",
        answer.header("content-type")
    );
    let text = answer.text();
    for line in [
        r#"backend_http_requests_total{method="GET",route="/users/{id}",status="200"} 3"#,
        r#"backend_http_requests_total{method="POST",route="/users",status="201"} 1"#,
        r#"backend_http_requests_total{method="GET",route="none",status="404"} 1"#,
        r#"backend_http_requests_total{method="other",route="none",status="404"} 1"#,
        r#"backend_http_request_duration_seconds_count{method="GET",route="/users/{id}"} 3"#,
        "backend_db_connections_max 20",
        "backend_db_connections_used 0",
        "backend_db_queries_total 4",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn listed_origins_may_call_and_others_may_not() {
    let origins = vec![
        HeaderValue::from_static("https://app.example"),
        HeaderValue::from_static("http://localhost:5173"),
    ];
    let api = Api::with(
        Kind::Sqlite,
        HttpSettings {
            cors: Cors::Origins(origins),
            ..http_settings()
        },
    )
    .await;
    let mine = api.get("/users").header("origin", "http://localhost:5173").await;
    assert_eq!(
        (mine.status, mine.header("access-control-allow-origin")),
        (200, "http://localhost:5173")
    );
    assert_eq!(mine.header("vary"), "origin", "a cache must keep the answers apart");
    let foreign = api.get("/users").header("origin", "https://evil.example").await;
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (200, ""));
    let preflight = api
        .ask("OPTIONS", "/users/1")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "PATCH")
        .await;
    assert_eq!(
        (preflight.status, preflight.header("access-control-allow-origin")),
        (200, "https://app.example")
    );
    assert!(
        preflight.header("access-control-allow-methods").contains("PATCH"),
        "{:?}",
        preflight.headers
    );
    let error = api
        .ask("POST", "/users")
        .header("origin", "https://app.example")
        .json(&json!({}))
        .await;
    assert_eq!(
        (error.status, error.header("access-control-allow-origin")),
        (422, "https://app.example"),
        "errors can be read too"
    );
    let too_large = api
        .ask("POST", "/users")
        .header("origin", "https://app.example")
        .header("content-type", "application/json")
        .body(vec![b' '; 10_000_001])
        .await;
    problem(&too_large, 413);
    assert_eq!(
        [too_large.header("access-control-allow-origin"), too_large.header("vary")],
        ["https://app.example", "origin"],
        "also one that comes before all others"
    );
}

#[tokio::test]
async fn with_a_star_every_origin_may_call() {
    let api = Api::with(
        Kind::Sqlite,
        HttpSettings {
            cors: Cors::Any,
            ..http_settings()
        },
    )
    .await;
    let answer = api.get("/users").header("origin", "https://any.example").await;
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), ("*", ""));
}
