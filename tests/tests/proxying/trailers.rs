//! Trailers (RFC 9110 §6.5): fields after a chunked body, for those who said that they understand them.

use lb_tests::client::Request;
use lb_tests::engine::lacks;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};

use super::smallest;

/// A chunked answer with these trailer lines.
fn trailing(lines: &str) -> Reply {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum\r\n\r\n";
    Reply::raw(format!("{head}5\r\nhello\r\n0\r\n{lines}\r\n"))
}

#[tokio::test]
async fn an_answer_s_trailers_reach_a_client_that_takes_them() {
    if lacks("trailers") {
        return;
    }
    let origin = Origin::start(|_| trailing("X-Checksum: 1\r\nX-Other: 2\r\n")).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    for te in ["trailers", "gzip;q=0.5, Trailers"] {
        let request = Request::get("/").header("TE", te).header("Connection", "TE");
        let answer = connection.send(&request).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.cut), ("hello", false));
        assert_eq!(answer.trailers, ["X-Checksum: 1", "X-Other: 2"], "{te}");
    }
}

#[tokio::test]
async fn and_no_other_one_which_gets_the_body_whole() {
    let origin = Origin::start(|_| trailing("X-Checksum: 1\r\n")).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    for request in [Request::get("/"), Request::get("/").header("TE", "gzip").header("Connection", "TE")] {
        let answer = connection.send(&request).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.cut), ("hello", false));
        assert!(answer.trailers.is_empty() && !answer.headers.has("x-checksum"), "{answer:?}");
    }
    let answer = lb.send(&Request::get("/").http10()).await;
    assert_eq!((answer.text().as_str(), answer.cut), ("hello", false));
}

#[tokio::test]
async fn a_field_that_frames_or_routes_is_no_trailer_of_an_answer_s() {
    for line in [
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Set-Cookie: a=b\r\n",
        "X-A : 1\r\n",
    ] {
        let origin = Origin::start(move |_| trailing(line)).await;
        let lb = Lb::start(&smallest(&origin)).await;
        let request = Request::get("/").header("TE", "trailers").header("Connection", "TE");
        if let Ok(answer) = lb.try_send(&request).await {
            assert!(answer.trailers.is_empty(), "{answer:?}");
            assert!(answer.cut || answer.text() == "hello" || answer.status == 502, "{answer:?}");
        }
        origin.set(|_| Reply::text("next"));
        assert_eq!(lb.get("/").await.text(), "next");
    }
}

#[tokio::test]
async fn a_request_s_trailers_never_become_header_fields() {
    let origin = Origin::start(|_| Reply::echo()).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n";
    connection
        .write([head, "5\r\nhello\r\n0\r\nX-Late: 1\r\nX-User: root\r\n\r\n"].concat())
        .await;
    assert_eq!(connection.response("POST").await.unwrap().text(), "hello");
    let seen = origin.last();
    assert!(seen.whole && !seen.headers.has("x-late") && !seen.headers.has("x-user"), "{seen:?}");
    assert_eq!(connection.send(&Request::post("/", "next")).await.unwrap().text(), "next");
}
