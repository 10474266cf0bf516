//! Every refusal has the same shape, wherever it comes from.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{Api, on_both, problem};

on_both!(
    every_mistake_in_a_body_is_named,
    where_nobody_can_log_in_there_are_no_passwords,
    a_body_that_is_not_json_is_refused,
    what_the_router_refuses_has_the_same_shape,
    a_body_over_10_mb_is_refused_however_it_is_sent,
    a_body_that_breaks_off_is_refused,
    what_a_client_sent_as_its_id_is_in_the_error,
);

async fn every_mistake_in_a_body_is_named(api: Api) {
    let long = "x".repeat(101);
    let email = format!(
        "{}@{}.example",
        "a".repeat(60),
        ["b".repeat(63), "c".repeat(63), "d".repeat(63)].join(".")
    );
    let cases: [(Value, &[&str]); 9] = [
        (json!({}), &["name", "email"]),
        (json!({"name": null, "email": 5}), &["name", "email"]),
        (json!({"name": "  ", "email": "nobody"}), &["name", "email"]),
        (json!({"name": long, "email": "a@example.com"}), &["name"]),
        (json!({"name": "a\u{0}b", "email": "a@example.com"}), &["name"]),
        (json!({"name": "a", "email": email}), &["email"]),
        (json!({"name": "a", "email": "a@example.com", "role": "admin"}), &["role"]),
        (json!({"id": 1, "name": "", "mail": "x"}), &["id", "mail", "name", "email"]),
        (json!({"name": ["a"], "email": {"x": 1}}), &["name", "email"]),
    ];
    for (body, wrong) in cases {
        let answer = api.ask("POST", "/users").json(&body).await;
        let mut fields = answer.wrong_fields();
        let mut expected = wrong.to_vec();
        fields.sort();
        expected.sort_unstable();
        assert_eq!(fields, expected, "{body}");
        problem(&answer, 422);
    }
    for not_an_object in ["[]", "1", "null", "\"x\"", "true"] {
        problem(
            &api.ask("POST", "/users")
                .header("content-type", "application/json")
                .body(not_an_object)
                .await,
            422,
        );
    }
    assert_eq!(api.get("/users").await.json()["total"], 0);
}

async fn where_nobody_can_log_in_there_are_no_passwords(api: Api) {
    let answer = api
        .ask("POST", "/users")
        .json(&json!({"name": "Ada", "email": "ada@example.com", "password": "a secret"}))
        .await;
    assert_eq!(answer.wrong_fields(), ["password"]);
    assert!(
        answer.text().contains("JWT_SECRET") && !answer.text().contains("a secret"),
        "{}",
        answer.text()
    );
    for call in ["register", "login", "refresh", "logout"] {
        problem(&api.ask("POST", &format!("/auth/{call}")).json(&json!({})).await, 404);
    }
    problem(&api.get("/auth/me").await, 404);
}

async fn a_body_that_is_not_json_is_refused(api: Api) {
    let post = || api.ask("POST", "/users");
    for broken in [
        "",
        "{",
        "{\"name\":\"a\",}",
        "{} {}",
        "name=a",
        "{\"name\":\"\\ud800\"}",
        "{\"name\": 1e999}",
    ] {
        problem(&post().header("content-type", "application/json").body(broken).await, 400);
    }
    problem(
        &post()
            .header("content-type", "application/json")
            .body(&b"{\"name\":\"\xff\"}"[..])
            .await,
        400,
    );
    let body = json!({"name": "a", "email": "a@example.com"}).to_string();
    problem(&post().body(body.clone()).await, 415);
    problem(&post().header("content-type", "text/plain").body(body.clone()).await, 415);
    problem(
        &post()
            .header("content-type", "application/json")
            .header("content-encoding", "gzip")
            .body(body.clone())
            .await,
        415,
    );
    assert_eq!(
        post()
            .header("content-type", "application/json; charset=utf-8")
            .body(body)
            .await
            .status,
        201
    );
}

async fn what_the_router_refuses_has_the_same_shape(api: Api) {
    for path in ["/", "/user", "/users/", "/users/1/x", "/Users", "//users"] {
        problem(&api.get(path).await, 404);
    }
    problem(&api.ask("HEAD", "/nope").await, 404);
    let cases = [
        ("PATCH", "/users", "GET,HEAD,POST"),
        ("DELETE", "/users", "GET,HEAD,POST"),
        ("OPTIONS", "/users", "GET,HEAD,POST"),
        ("POST", "/users/1", "GET,HEAD,PUT,PATCH,DELETE"),
        ("BREW", "/users/1", "GET,HEAD,PUT,PATCH,DELETE"),
        ("POST", "/health", "GET,HEAD"),
    ];
    for (method, path, allow) in cases {
        let answer = api.ask(method, path).await;
        problem(&answer, 405);
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
}

/// Sends raw bytes and returns the whole answer.
async fn raw(api: &Api, parts: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(api.addr).await.expect("it listens");
    for part in parts {
        stream.write_all(part).await.expect("the server reads on until it has answered");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer is text");
    answer
}

const POST: &str = "POST /users HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\n";

async fn a_body_over_10_mb_is_refused_however_it_is_sent(api: Api) {
    // Just as large as may be: it is read, and found to be no JSON.
    problem(
        &api.ask("POST", "/users")
            .header("content-type", "application/json")
            .body(vec![b'x'; 10_000_000])
            .await,
        400,
    );
    problem(
        &api.ask("POST", "/users")
            .header("content-type", "application/json")
            .body(vec![b'x'; 10_000_001])
            .await,
        413,
    );
    problem(&api.ask("DELETE", "/users/1").body(vec![b'x'; 10_000_001]).await, 413);
    problem(&api.get("/nope").body(vec![b'x'; 10_000_001]).await, 413);

    let head = format!("{POST}transfer-encoding: chunked\r\n\r\n");
    let chunk = [format!("{:x}\r\n", 1_000_000).as_bytes(), &vec![b' '; 1_000_000], b"\r\n"].concat();
    let mut parts = vec![head.as_bytes()];
    parts.extend(std::iter::repeat_n(chunk.as_slice(), 11));
    parts.push(b"0\r\n\r\n");
    let answer = raw(&api, &parts).await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("application/problem+json"),
        "{answer}"
    );

    // Who waits for a go-ahead hears at once that there is none.
    let answer = raw(
        &api,
        &[format!("{POST}expect: 100-continue\r\ncontent-length: 10000001\r\n\r\n").as_bytes()],
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

async fn a_body_that_breaks_off_is_refused(api: Api) {
    let answer = raw(&api, &[format!("{POST}transfer-encoding: chunked\r\n\r\nx\r\n").as_bytes()]).await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("application/problem+json"),
        "{answer}"
    );
    assert_eq!(api.get("/users").await.json()["total"], 0);
}

async fn what_a_client_sent_as_its_id_is_in_the_error(api: Api) {
    let with = |id: &str| api.get("/nope").header("x-request-id", id);
    assert_eq!(with("abc-1.2_3").await.json()["request_id"], "abc-1.2_3");
    for insane in ["a b", "a\"b", &"x".repeat(129)] {
        let id = with(insane).await.json()["request_id"].as_str().expect("text").to_owned();
        assert!(uuid::Uuid::parse_str(&id).is_ok(), "{id}");
    }
}
