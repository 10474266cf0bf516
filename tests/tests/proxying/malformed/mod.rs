//! What RFC 9112 calls malformed or ambiguous never reaches a server.

mod bodies;
mod heads;

use std::time::Duration;

use lb_tests::client::{Connection, Failure};
use lb_tests::wait::DEADLINE;

use super::plain;

/// A request that is in order. Behind one that is not, it must never be answered.
const BEHIND: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends each with a request behind it. Its answer has that status, is the only one, and closes the connection; the server hears of nothing.
async fn assert_refused(cases: Vec<heads::Case>) {
    let (lb, origin) = plain().await;
    let mut wrong = Vec::new();
    for (what, bytes, status) in cases {
        let mut connection = Connection::open(lb.listen()).await.unwrap().patience(Duration::from_secs(10));
        connection.write([&bytes, BEHIND].concat()).await;
        match connection.response("GET").await {
            Ok(answer) if answer.status == status => {
                answer.assert_problem(status);
                if answer.keeps_alive {
                    wrong.push(format!("{what}: the answer does not say that the connection ends"));
                }
            }
            Ok(answer) => wrong.push(format!("{what}: {} where {status} is due", answer.status)),
            Err(failure) => wrong.push(format!("{what}: {failure:?} where {status} is due")),
        }
        if let Ok(second) = connection.response("GET").await {
            wrong.push(format!("{what}: a second answer came: {second:?}"));
        } else if connection.ended_within(DEADLINE).await.is_none() {
            wrong.push(format!("{what}: the connection stayed open"));
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
async fn heads_that_frame_their_body_wrongly_or_twice_are_refused() {
    assert_refused(heads::framing()).await;
}

#[tokio::test]
async fn heads_with_malformed_lines_are_refused() {
    assert_refused(heads::lines()).await;
}

#[tokio::test]
async fn request_lines_that_are_not_exact_are_refused() {
    assert_refused(heads::request_lines()).await;
}

#[tokio::test]
async fn a_host_that_is_missing_repeated_or_invalid_is_refused() {
    assert_refused(heads::hosts()).await;
}

#[tokio::test]
async fn a_malformed_head_behind_a_good_request_is_refused_too() {
    let (lb, origin) = plain().await;
    let mut connection = lb.connect().await;
    let bad = "GET /bad HTTP/1.1\r\nHost: a\r\nX-A : 1\r\n\r\n";
    connection
        .write([b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n", bad.as_bytes(), BEHIND].concat())
        .await;
    assert_eq!(connection.response("GET").await.unwrap().text(), "origin");
    connection.response("GET").await.unwrap().assert_problem(400);
    assert!(connection.response("GET").await.is_err(), "a third answer came");
    assert_eq!(
        origin.requests().iter().map(|seen| seen.target.as_str()).collect::<Vec<_>>(),
        ["/good"]
    );
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
