//! Bodies come whole, or visibly cut, in both directions.

use bytes::Bytes;
use lb_tests::client::{Failure, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};

use super::{plain, smallest};

/// Bytes that do not repeat, so that a piece lost, doubled or out of place shows.
fn unlike(length: usize) -> Bytes {
    (0..length)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect::<Vec<_>>()
        .into()
}

#[tokio::test]
async fn a_large_body_with_its_length_passes_both_ways_byte_by_byte() {
    let origin = Origin::start(|_| Reply::echo()).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let body = unlike(3_000_000);
    let answer = lb.send(&Request::post("/", body.clone())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        origin.last().body == body && answer.body == body,
        "{} bytes there, {} back",
        origin.last().body.len(),
        answer.body.len()
    );
    assert_eq!(answer.header("content-length"), "3000000");
}

#[tokio::test]
async fn a_chunked_body_passes_to_the_server() {
    let origin = Origin::start(|_| Reply::echo()).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let body = unlike(300_000);
    let pieces = [1, 2, 100, 70_000]
        .iter()
        .fold((Vec::new(), body.clone()), |(mut pieces, mut rest), size| {
            pieces.push(rest.split_to(*size));
            (pieces, rest)
        });
    let answer = lb
        .send(&Request::new("POST", "/").chunks([pieces.0, vec![pieces.1]].concat()))
        .await;
    assert!(answer.body == body, "{} of {} bytes", answer.body.len(), body.len());
    assert!(origin.last().whole);
}

#[tokio::test]
async fn a_chunked_answer_passes_to_the_client() {
    let origin = Origin::start(|_| Reply::new(200).chunked(&["first ", "second ", "third"])).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    for _ in 0..2 {
        let answer = connection.send(&Request::get("/")).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.cut), ("first second third", false));
        assert!(answer.headers.lists("transfer-encoding", "chunked"));
        assert!(!answer.headers.has("content-length"));
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_whole_for_the_client() {
    let origin = Origin::start(|_| Reply::new(200).until_close(unlike(100_000))).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let answer = lb.get("/").await;
    assert!(answer.body == unlike(100_000), "{} bytes", answer.body.len());
}

#[tokio::test]
async fn an_answer_that_the_server_cut_is_visibly_cut_for_the_client() {
    let origin = Origin::start(|seen| {
        let framing = if seen.target == "/length" {
            "Content-Length: 100\r\n\r\nstart"
        } else {
            "Transfer-Encoding: chunked\r\n\r\n5\r\nstart\r\n"
        };
        let last = if seen.headers.has("x-reset") { Step::Reset } else { Step::Close };
        Reply::script(vec![Step::write(format!("HTTP/1.1 200 OK\r\n{framing}")), last])
    })
    .await;
    let lb = Lb::start(&format!("{}passive_health = \"off\"\n", smallest(&origin))).await;
    for target in ["/length", "/chunks"] {
        for request in [Request::get(target), Request::get(target).header("X-Reset", "1")] {
            match lb.try_send(&request).await {
                Ok(answer) if answer.status == 200 => assert!(answer.cut, "a cut body looked whole: {answer:?}"),
                // cut before its head was sent on: then it is an error of lb's own
                Ok(answer) => answer.assert_problem(502),
                Err(failure) => assert_eq!(failure, Failure::Reset),
            }
        }
    }
}

#[tokio::test]
async fn an_answer_longer_than_it_says_does_not_spill_into_the_next_one() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/long" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodyHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"),
        _ => Reply::text("true"),
    })
    .await;
    let lb = Lb::start(&format!("{}passive_health = \"off\"\n", smallest(&origin))).await;
    let mut connection = lb.connect().await;
    let first = connection.send(&Request::get("/long")).await.unwrap();
    assert_eq!((first.status, first.text().as_str()), (200, "body"));
    for _ in 0..3 {
        assert_eq!(lb.get("/next").await.text(), "true");
    }
}

#[tokio::test]
async fn head_keeps_the_length_and_has_no_body() {
    let (lb, origin) = plain().await;
    let mut connection = lb.connect().await;
    let head = connection.send(&Request::head("/")).await.unwrap();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "6", 0));
    assert_eq!(origin.last().method, "HEAD");
    assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "origin");
}

#[tokio::test]
async fn answers_without_a_body_end_at_their_head() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/204" => Reply::new(204).header("X-Status", "204"),
        "/304" => Reply::new(304).header("ETag", "\"a\""),
        "/empty" => Reply::new(200),
        _ => Reply::text("next"),
    })
    .await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    for (target, status) in [("/204", 204), ("/304", 304), ("/empty", 200)] {
        let answer = connection.send(&Request::get(target)).await.unwrap();
        assert_eq!(
            (answer.status, answer.body.len(), answer.keeps_alive),
            (status, 0, true),
            "{target}"
        );
        assert!(status == 200 || !answer.headers.has("transfer-encoding"), "{:?}", answer.headers);
        assert_eq!(
            connection.send(&Request::get("/next")).await.unwrap().text(),
            "next",
            "after {target}"
        );
    }
}

#[tokio::test]
async fn expect_100_continue_is_answered_and_the_body_follows() {
    let origin = Origin::start(|_| Reply::echo()).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    let request = Request::post("/", "the body").header("Expect", "100-continue");
    connection.write(request.head_bytes()).await;
    // a client that waits for 100 gets it, whoever says it; the origin does not
    assert_eq!(connection.head("POST").await.unwrap().status, 100);
    connection.write("the body").await;
    assert_eq!(connection.response("POST").await.unwrap().text(), "the body");
    // and one that does not wait is served too
    assert_eq!(lb.send(&request).await.text(), "the body");
}

#[tokio::test]
async fn a_refused_expectation_costs_no_body() {
    let origin = Origin::start(|_| Reply::echo()).await;
    let lb = Lb::start(&format!("[limits]\nmax_body = \"1KB\"\n\n{}", smallest(&origin))).await;
    let mut connection = lb.connect().await;
    connection
        .write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let answer = connection.response("POST").await.unwrap();
    assert_eq!((answer.status, answer.interim.len()), (413, 0));
}

#[tokio::test]
async fn interim_answers_do_not_disturb_the_final_one() {
    let origin = Origin::start(|_| {
        Reply::raw("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal")
    })
    .await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    for _ in 0..2 {
        let answer = connection.send(&Request::get("/")).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "final"));
    }
}
