//! A server's malformed answers: 502, and its connection is never used again.
//!
//! What a proxy reads wrongly from a server it hands to the next client: the answer to one request becomes part of the answer to another.
//! So what has no single reading is given up together with its connection.

use lb_tests::client::{Failure, Request};
use lb_tests::engine::lacks;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};
use lb_tests::wait::until;

use super::smallest;

/// A whole answer with these field lines.
fn with(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nhello")
}

/// A whole answer with this status line.
fn line(line: &str) -> String {
    format!("{line}\r\nContent-Length: 5\r\n\r\nhello")
}

/// What every parser of HTTP refuses.
fn malformed() -> Vec<(&'static str, String)> {
    vec![
        ("no HTTP", line("220 mail.example ESMTP")),
        ("another protocol", line("ICY 200 OK")),
        ("a status that is no number", line("HTTP/1.1 abc OK")),
        ("a status of two digits", line("HTTP/1.1 20 OK")),
        ("a status of four digits", line("HTTP/1.1 2000 OK")),
        ("no space before the status", line("HTTP/1.1200 OK")),
        ("a NUL in a name", with("Content-Length: 5\r\nX\0A: 1")),
        ("a NUL in a value", with("Content-Length: 5\r\nX-A: \0")),
        ("a bare CR in a value", with("Content-Length: 5\r\nX-A: 1\r2")),
        ("a field without a name", with("Content-Length: 5\r\n: 1")),
        ("a field without a colon", with("Content-Length: 5\r\nnonsense")),
    ]
}

/// What some let pass.
fn ambiguous() -> Vec<(&'static str, String)> {
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0";
    vec![
        ("a length and a coding", with(both)),
        ("two lengths that differ", with("Content-Length: 5\r\nContent-Length: 4")),
        ("lengths that differ in a list", with("Content-Length: 5, 4")),
        ("a signed length", with("Content-Length: +5")),
        ("a negative length", with("Content-Length: -5")),
        ("a hexadecimal length", with("Content-Length: 0x5")),
        ("an empty length", with("Content-Length:")),
        ("a length beyond all numbers", with("Content-Length: 99999999999999999999999")),
        ("an unknown coding", with("Transfer-Encoding: frobnicate")),
        ("chunked twice", with("Transfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0")),
        ("white space before a colon", with("Content-Length: 5\r\nX-A : 1")),
        ("white space before the first field", with(" X-A: 1\r\nContent-Length: 5")),
        ("a version to come", line("HTTP/3.0 200 OK")),
        ("a status below 100", line("HTTP/1.1 099 OK")),
        (
            "a switch of protocols that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello".into(),
        ),
    ]
}

/// Has a server give each of these answers, and looks at what the client and the server's connection come to.
async fn assert_given_up(cases: Vec<(&'static str, String)>) {
    let origin = Origin::named("good").await;
    let server = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\nthreads = 1\n\n";
    let lb = Lb::start(&format!("{server}{}passive_health = \"off\"\nretry = \"off\"\n", smallest(&origin))).await;
    let mut wrong = Vec::new();
    for (what, bytes) in cases {
        origin.set(move |_| Reply::raw(&bytes));
        match lb.try_send(&Request::get("/")).await {
            Ok(answer) if answer.status == 502 => answer.assert_problem(502),
            other => wrong.push(format!("{what}: {other:?} where 502 is due")),
        }
        let ended = origin.last().connection;
        origin.set(|_| Reply::text("good"));
        let next = lb.get("/next").await;
        if (next.status, next.text().as_str()) != (200, "good") {
            wrong.push(format!("{what}: then {next:?}"));
        }
        if origin.last().connection == ended {
            wrong.push(format!("{what}: its connection was used again"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    until("none of their connections is kept", async || origin.open_connections() <= 1).await;
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_502_and_ends_its_connection() {
    assert_given_up(malformed()).await;
}

#[tokio::test]
async fn an_answer_that_can_be_read_in_two_ways_is_502_and_ends_its_connection() {
    if lacks("strict answers") {
        return;
    }
    assert_given_up(ambiguous()).await;
}

#[tokio::test]
async fn an_answer_s_head_without_end_is_502() {
    let origin = Origin::start(|_| {
        let field = format!("X-Filler: {}\r\n", "x".repeat(8_000)).repeat(16);
        let mut steps = vec![Step::write("HTTP/1.1 200 OK\r\n")];
        steps.extend(vec![Step::write(field); 100]);
        steps.push(Step::Hold);
        Reply::script(steps)
    })
    .await;
    let lb = Lb::start(&format!("{}passive_health = \"off\"\nretry = \"off\"\n", smallest(&origin))).await;
    lb.get("/").await.assert_problem(502);
    until("its connection is closed", async || origin.open_connections() == 0).await;
}

#[tokio::test]
async fn a_chunk_that_breaks_in_an_answer_cuts_it_visibly() {
    let origin = Origin::named("good").await;
    let lb = Lb::start(&format!("{}passive_health = \"off\"\nretry = \"off\"\n", smallest(&origin))).await;
    for chunks in [
        "5\r\nhello\r\nnot a size\r\n",
        "5\r\nhelloX0\r\n\r\n",
        "5\r\nhello\r\n-5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    ] {
        origin.set(move |_| {
            let head = Step::write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            Reply::script(vec![head, Step::write(chunks)])
        });
        match lb.try_send(&Request::get("/")).await {
            Ok(answer) if answer.status == 200 => assert!(answer.cut, "{chunks:?} looked whole: {answer:?}"),
            // found before its head was sent on
            Ok(answer) => answer.assert_problem(502),
            Err(failure) => assert_eq!(failure, Failure::Reset, "{chunks:?}"),
        }
        let ended = origin.last().connection;
        origin.set(|_| Reply::text("good"));
        for _ in 0..3 {
            assert_eq!(lb.get("/").await.text(), "good");
            assert_ne!(origin.last().connection, ended, "{chunks:?}: its connection was used again");
        }
    }
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn a_body_where_none_may_be_is_nobody_s_answer() {
    let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
    let origin = Origin::named("true").await;
    let lb = Lb::start(&format!("{}passive_health = \"off\"\n", smallest(&origin))).await;
    for (request, head) in [
        (Request::head("/"), "HTTP/1.1 200 OK\r\nContent-Length: 46\r\n\r\n"),
        (Request::get("/"), "HTTP/1.1 204 No Content\r\n\r\n"),
        (Request::get("/"), "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"),
        (Request::get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ] {
        origin.set(move |_| Reply::raw([head, forged].concat()));
        let mut connection = lb.connect().await;
        let answer = connection.send(&request).await.unwrap();
        assert_eq!((answer.body.len(), answer.cut), (0, false), "{head:?} {answer:?}");
        origin.set(|_| Reply::text("true"));
        for _ in 0..3 {
            assert_eq!(lb.get("/").await.text(), "true", "after {head:?}");
        }
    }
}
