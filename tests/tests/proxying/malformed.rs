//! What RFC 9112 calls malformed or ambiguous never reaches a server.

use std::time::Duration;

use lb_tests::client::{Connection, Failure};
use lb_tests::wait::DEADLINE;

use super::plain;

/// What each of these gets. All but one line is right.
const MALFORMED: &[(&str, &str, u16)] = &[
    (
        "Content-Length and Transfer-Encoding",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "the same the other way round",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "two lengths that differ",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        400,
    ),
    (
        "a signed length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
        400,
    ),
    (
        "a negative length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello",
        400,
    ),
    (
        "a hexadecimal length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello",
        400,
    ),
    (
        "a length beyond all numbers",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\nhello",
        400,
    ),
    (
        "an unknown transfer coding",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: frobnicate\r\n\r\n0\r\n\r\n",
        501,
    ),
    ("no Host", "GET / HTTP/1.1\r\n\r\n", 400),
    ("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("a Host that is none", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("white space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX-A : 1\r\n\r\n", 400),
    ("a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n  2\r\n\r\n", 400),
    ("white space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("a field without a name", "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n", 400),
    ("a field without a colon", "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", 400),
    ("a NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\x002\r\n\r\n", 400),
    ("a bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r2\r\n\r\n", 400),
    ("bare LF as line ends", "GET / HTTP/1.1\nHost: a\n\n", 400),
    ("a method that is no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a target that is no path", "GET nonsense HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("no HTTP at all", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    ("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501),
    ("a version that is none of ours", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    ("a version to come", "GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505),
];

#[tokio::test]
async fn malformed_heads_are_refused_and_the_connection_is_closed() {
    let (lb, origin) = plain().await;
    let mut wrong = Vec::new();
    for (what, bytes, status) in MALFORMED {
        let mut connection = Connection::open(lb.listen()).await.unwrap().patience(Duration::from_secs(5));
        connection.write(bytes).await;
        match connection.response("GET").await {
            Ok(answer) if answer.status == *status => {
                answer.assert_problem(*status);
                if connection.ended_within(DEADLINE).await.is_none() {
                    wrong.push(format!("{what}: the connection stayed open"));
                }
            }
            Ok(answer) => wrong.push(format!("{what}: {} where {status} is due", answer.status)),
            Err(failure) => wrong.push(format!("{what}: {failure:?} where {status} is due")),
        }
        if let Some(seen) = origin.requests().last() {
            wrong.push(format!(
                "{what}: reached the server as {:?}",
                String::from_utf8_lossy(&seen.raw_head)
            ));
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_request_smuggled_into_a_body_is_never_answered() {
    let (lb, origin) = plain().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let outer = format!(
        "POST /outer HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        smuggled.len() + 5
    );
    let (answer, mut connection) = lb.send_raw([outer.as_str(), smuggled].concat()).await;
    answer.assert_problem(400);
    assert_eq!(
        connection.response("GET").await.unwrap_err(),
        Failure::Reset,
        "a second answer came"
    );
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_broken_chunk_never_makes_a_whole_request() {
    let (lb, origin) = plain().await;
    for chunks in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    ] {
        let mut connection = lb.connect().await;
        connection
            .write(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"))
            .await;
        if let Ok(answer) = connection.response("POST").await {
            assert_eq!(answer.status, 400, "{chunks:?}");
        }
        assert!(
            connection.ended_within(DEADLINE).await.is_some(),
            "{chunks:?}: the connection stayed open"
        );
    }
    assert!(origin.requests().iter().all(|seen| !seen.whole), "{:?}", origin.requests());
}

#[tokio::test]
async fn good_requests_beside_them_are_served() {
    let (lb, origin) = plain().await;
    for bytes in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhOST: a\r\nX-Empty:\r\n\r\n",
        "GET /?q=%00 HTTP/1.1\r\nHost:a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "FROB / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    ] {
        let (answer, _) = lb.send_raw(bytes).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "origin"), "{bytes:?}");
    }
    assert_eq!(origin.count(), 8);
}
