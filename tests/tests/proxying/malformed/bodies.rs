//! Chunked bodies with one thing wrong each (RFC 9112 §7.1), and such as look odd and are in order.

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::{DEADLINE, until};

use super::super::smallest;

/// What is wrong, and the body.
fn malformed() -> Vec<(&'static str, String)> {
    let padded = format!("1;{}\r\nx\r\n", "e".repeat(2000)).repeat(200);
    [
        ("a size that is no number", "zz\r\nhello\r\n0\r\n\r\n"),
        ("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
        ("a signed size", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a prefix of hexadecimal numbers", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        ("a size over 64 bits", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("a size that wraps round to 5", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("a space before the size", " 5\r\nhello\r\n0\r\n\r\n"),
        ("a space after the size", "5 \r\nhello\r\n0\r\n\r\n"),
        ("an underscore in the size", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("a bare LF after the size", "5\nhello\r\n0\r\n\r\n"),
        ("a bare CR after the size", "5\rhello\r\n0\r\n\r\n"),
        ("data longer than the size", "5\r\nhelloX0\r\n\r\n"),
        ("data shorter than the size", "5\r\nhell\r\n0\r\n\r\n"),
        ("a bare LF after the data", "5\r\nhello\n0\r\n\r\n"),
        ("a bare LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ("a NUL in an extension", "5;a\0\r\nhello\r\n0\r\n\r\n"),
        ("a bare LF at the end", "5\r\nhello\r\n0\r\n\n"),
        ("a trailer without a colon", "0\r\nnonsense\r\n\r\n"),
        ("a trailer without a name", "0\r\n: 1\r\n\r\n"),
        ("white space before a trailer's colon", "0\r\nX-A : 1\r\n\r\n"),
        ("a folded trailer", "0\r\nX-A: 1\r\n 2\r\n\r\n"),
        ("a NUL in a trailer", "0\r\nX-A: \0\r\n\r\n"),
        ("a length as a trailer", "0\r\nContent-Length: 5\r\n\r\n"),
        ("a coding as a trailer", "0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("a host as a trailer", "0\r\nHost: b\r\n\r\n"),
        ("credentials as a trailer", "0\r\nAuthorization: Basic eA==\r\n\r\n"),
    ]
    .map(|(what, body)| (what, body.to_owned()))
    .into_iter()
    .chain([
        ("a line of extensions without end", format!("5;{}", "e".repeat(100_000))),
        ("more extensions than data", format!("{padded}0\r\n\r\n")),
        ("trailers without end", format!("0\r\n{}", "X-A: 1\r\n".repeat(20_000))),
    ])
    .collect()
}

const HEAD: &str = "POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn malformed_chunks_are_refused_and_never_make_a_whole_request() {
    let origin = Origin::start(|_| Reply::echo()).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut wrong = Vec::new();
    for (what, body) in malformed() {
        let mut connection = lb.connect().await;
        connection.write([HEAD, body.as_str(), SMUGGLED].concat()).await;
        match connection.response("POST").await {
            Ok(answer) if answer.status == 400 => answer.assert_problem(400),
            other => wrong.push(format!("{what}: {other:?} where 400 is due")),
        }
        if let Ok(second) = connection.response("GET").await {
            wrong.push(format!("{what}: a second answer came: {second:?}"));
        }
        if connection.ended_within(DEADLINE).await.is_none() {
            wrong.push(format!("{what}: the connection stayed open"));
        }
        if origin.requests().iter().any(|seen| seen.whole || seen.target != "/chunks") {
            wrong.push(format!("{what}: the server was sent {:?}", origin.last()));
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    until("no half request stays open at the server", async || origin.open_connections() == 0).await;
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn odd_chunks_that_are_in_order_arrive_whole() {
    let origin = Origin::start(|_| Reply::echo()).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    let many = "1\r\nx\r\n".repeat(5_000);
    for (body, data) in [
        ("0\r\n\r\n", ""),
        ("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
        ("0005\r\nhello\r\n0000\r\n\r\n", "hello"),
        ("5;name=value;other=\"a;b\"\r\nhello\r\n0;last\r\n\r\n", "hello"),
        ("4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"),
        ("5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
        ("5\r\nhello\r\n0\r\nX-Checksum: 1\r\n\r\n", "hello"),
        (&format!("{many}0\r\n\r\n"), &"x".repeat(5_000)),
    ] {
        connection.write([HEAD, body].concat()).await;
        let answer = connection.response("POST").await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, data), "{body:?}");
        let seen = origin.last();
        assert!(seen.whole && !seen.headers.has("x-checksum"), "{seen:?}");
    }
    assert_eq!(connection.send(&Request::post("/", "next")).await.unwrap().text(), "next");
}

#[tokio::test]
async fn a_chunk_that_breaks_after_the_answer_has_begun_ends_both_connections() {
    let origin = Origin::start(|_| Reply::new(200).body("early").early()).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    connection.write([HEAD, "5\r\nhello\r\n"].concat()).await;
    assert_eq!(connection.response("POST").await.unwrap().text(), "early");
    connection.write(["not a size\r\n", SMUGGLED].concat()).await;
    assert!(connection.response("GET").await.is_err(), "a second answer came");
    assert!(connection.ended_within(DEADLINE).await.is_some());
    until("the request is given up at the server", async || origin.open_connections() == 0).await;
    assert_eq!(origin.count_of("/smuggled"), 0);
}
