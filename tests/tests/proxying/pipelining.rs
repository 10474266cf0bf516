//! Many requests in one write.

use lb_tests::client::Request;
use lb_tests::framing::chunked;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};

use super::smallest;

/// The `number`th request, its method and the answer's body.
fn request(number: usize) -> (Vec<u8>, &'static str, String) {
    let target = format!("/{number}");
    let text = format!("body {number}: {}", "x".repeat(number * 97 % 3000));
    match number % 5 {
        0 => (Request::get(&target).bytes(), "GET", target),
        1 => (Request::head(&target).bytes(), "HEAD", String::new()),
        2 => {
            let head = format!("PUT {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(100).collect();
            ([head.into_bytes(), chunked(&pieces)].concat(), "PUT", text)
        }
        _ => (Request::post(&target, text.clone()).bytes(), "POST", text),
    }
}

#[tokio::test]
async fn fifty_requests_in_one_write_are_answered_in_order() {
    let origin = Origin::start(|seen| {
        if seen.method == "GET" || seen.method == "HEAD" {
            Reply::text(&seen.target)
        } else {
            Reply::echo()
        }
    })
    .await;
    let lb = Lb::start(&smallest(&origin)).await;
    let all: Vec<_> = (0..50).map(request).collect();
    let mut connection = lb.connect().await;
    connection
        .write(all.iter().flat_map(|(bytes, ..)| bytes.clone()).collect::<Vec<u8>>())
        .await;
    for (number, (_, method, body)) in all.iter().enumerate() {
        let answer = connection.response(method).await.unwrap();
        assert_eq!((answer.status, &answer.text()), (200, body), "number {number}");
    }
    let targets: Vec<String> = origin.requests().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, (0..50).map(|number| format!("/{number}")).collect::<Vec<_>>());
    assert!(origin.requests().iter().all(|seen| seen.whole));
    assert_eq!(connection.send(&Request::get("/after")).await.unwrap().text(), "/after");
}

#[tokio::test]
async fn fifty_answers_of_lb_s_own_come_in_order_too() {
    let lb = Lb::start(
        "[[routes]]\npath = \"/a\"\nrespond = { status = 200, body = \"a\", content_type = \"text/plain\" }\n\n\
         [[routes]]\npath = \"/b\"\nredirect = { to = \"/a\", status = 302 }\n",
    )
    .await;
    let mut connection = lb.connect().await;
    let targets: Vec<&str> = (0..50).map(|number| ["/a", "/b", "/c"][number % 3]).collect();
    connection
        .write(targets.iter().flat_map(|target| Request::get(target).bytes()).collect::<Vec<u8>>())
        .await;
    for target in targets {
        let status = match target {
            "/a" => 200,
            "/b" => 302,
            _ => 404,
        };
        assert_eq!(connection.response("GET").await.unwrap().status, status, "{target}");
    }
}

#[tokio::test]
async fn what_follows_the_last_request_of_a_connection_is_not_served() {
    let origin = Origin::start(|seen| Reply::text(&seen.target)).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    let last = Request::get("/last").header("Connection", "close").bytes();
    connection
        .write([Request::get("/first").bytes(), last, Request::get("/beyond").bytes()].concat())
        .await;
    assert_eq!(connection.response("GET").await.unwrap().text(), "/first");
    assert_eq!(connection.response("GET").await.unwrap().text(), "/last");
    assert!(connection.response("GET").await.is_err(), "a third answer came");
    assert_eq!(origin.count_of("/beyond"), 0);
}
