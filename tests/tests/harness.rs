//! The harness itself: client and origins against each other, without a proxy between them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use lb_tests::client::{Connection, Ending, Failure, Request, send};
use lb_tests::framing::chunked;
use lb_tests::origin::{CHECK_PATH, Deaf, Origin, Refusing, Reply, Step};
use lb_tests::tls::{Authority, ClientTls, ServerTls};
use lb_tests::wait::until;

#[tokio::test]
async fn requests_are_recorded_with_their_bytes_and_their_connection() {
    let origin = Origin::named("a").await;
    let mut connection = Connection::open(origin.addr()).await.unwrap();
    let request = Request::post("/x?y", "hello").header("X-A", "1");
    assert_eq!(connection.send(&request).await.unwrap().text(), "a");
    assert_eq!(connection.send(&Request::get("/z")).await.unwrap().text(), "a");
    send(origin.addr(), &Request::get("/other")).await.unwrap();
    let seen = origin.requests();
    assert_eq!(seen.iter().map(|seen| seen.connection).collect::<Vec<_>>(), [0, 0, 1]);
    assert_eq!(
        (seen[0].method.as_str(), seen[0].target.as_str(), seen[0].header("x-a")),
        ("POST", "/x?y", "1")
    );
    assert_eq!((seen[0].body.as_slice(), seen[0].whole), (b"hello".as_slice(), true));
    assert_eq!(seen[0].raw_head.as_ref(), request.head_bytes());
    assert!(origin.raw(0).starts_with(&request.bytes()));
}

#[tokio::test]
async fn bodies_come_whole_whatever_their_framing() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/chunks" => Reply::new(200).chunked(&["one", "two"]),
        "/close" => Reply::new(200).until_close("onetwo"),
        _ => Reply::echo(),
    })
    .await;
    for target in ["/chunks", "/close"] {
        let answer = send(origin.addr(), &Request::get(target)).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.cut), ("onetwo", false));
    }
    let body = Bytes::from(vec![b'x'; 300_000]);
    let length = send(origin.addr(), &Request::post("/", body.clone())).await.unwrap();
    assert_eq!(length.body, body);
    let chunks = send(
        origin.addr(),
        &Request::new("POST", "/").chunks(vec![body.clone(), Bytes::from_static(b"end")]),
    )
    .await
    .unwrap();
    assert_eq!(chunks.body.len(), body.len() + 3);
}

#[tokio::test]
async fn head_has_no_body() {
    let origin = Origin::named("body").await;
    let mut connection = Connection::open(origin.addr()).await.unwrap();
    let answer = connection.send(&Request::head("/")).await.unwrap();
    assert_eq!((answer.header("content-length"), answer.body.len()), ("4", 0));
    assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "body");
}

#[tokio::test]
async fn a_cut_body_is_told_from_a_whole_one() {
    let origin = Origin::start(|seen| {
        let framing = if seen.target == "/length" {
            "Content-Length: 9\r\n\r\nshort"
        } else {
            "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"
        };
        Reply::script(vec![Step::write(format!("HTTP/1.1 200 OK\r\n{framing}")), Step::Close])
    })
    .await;
    for target in ["/length", "/chunks"] {
        let answer = send(origin.addr(), &Request::get(target)).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.cut), ("short", true));
    }
}

#[tokio::test]
async fn a_close_and_a_reset_are_seen_as_what_they_are() {
    let origin = Origin::start(|seen| if seen.target == "/reset" { Reply::reset() } else { Reply::close() }).await;
    for (target, ending) in [("/close", Ending::Closed), ("/reset", Ending::Reset)] {
        assert_eq!(send(origin.addr(), &Request::get(target)).await.unwrap_err(), Failure::Reset);
        let mut connection = Connection::open(origin.addr()).await.unwrap();
        connection.write(Request::get(target).bytes()).await;
        assert_eq!(connection.ended_within(Duration::from_secs(10)).await, Some(ending));
    }
}

#[tokio::test]
async fn a_held_answer_waits_until_it_is_released_and_counts_as_active() {
    let origin = Origin::held("a").await;
    let waiting = tokio::spawn({
        let address = origin.addr();
        async move { send(address, &Request::get("/")).await }
    });
    until("the request is under way", async || origin.active() == 1).await;
    assert!(!waiting.is_finished());
    origin.release(1);
    assert_eq!(waiting.await.unwrap().unwrap().text(), "a");
    until("it is over", async || origin.active() == 0).await;
    assert_eq!(origin.most_active(), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_a_held_answer() {
    let origin = Origin::held("a").await;
    let mut connection = Connection::open(origin.addr()).await.unwrap();
    connection.write(Request::get("/").bytes()).await;
    until("the request is under way", async || origin.active() == 1).await;
    connection.reset();
    until("it is over", async || origin.active() == 0 && origin.open_connections() == 0).await;
}

#[tokio::test]
async fn checks_are_answered_and_counted_apart() {
    let origin = Origin::named("a").await;
    assert_eq!(send(origin.addr(), &Request::get(CHECK_PATH)).await.unwrap().status, 200);
    origin.set_check(Reply::new(503));
    assert_eq!(send(origin.addr(), &Request::get(CHECK_PATH)).await.unwrap().status, 503);
    assert_eq!((origin.count(), origin.checks().len()), (0, 2));
}

#[tokio::test]
async fn a_stopped_origin_refuses_until_it_is_started_again() {
    let origin = Origin::named("a").await;
    let mut kept = Connection::open(origin.addr()).await.unwrap();
    kept.send(&Request::get("/")).await.unwrap();
    origin.stop().await;
    assert!(kept.ended_within(Duration::from_secs(10)).await.is_some());
    assert!(matches!(send(origin.addr(), &Request::get("/")).await, Err(Failure::Connect(_))));
    origin.restart().await;
    assert_eq!(send(origin.addr(), &Request::get("/")).await.unwrap().text(), "a");
}

#[tokio::test]
async fn a_refusing_address_refuses_and_a_deaf_one_does_not_answer() {
    let refusing = Refusing::start();
    assert!(matches!(Connection::open(refusing.addr()).await, Err(Failure::Connect(_))));
    let deaf = Deaf::start().await.unwrap();
    let attempt = tokio::time::timeout(Duration::from_millis(500), Connection::open(deaf.addr())).await;
    assert!(attempt.is_err(), "connected to a full queue: {attempt:?}");
}

#[tokio::test]
async fn a_tunnel_sends_everything_back() {
    let origin = Origin::start(|_| Reply::tunnel("echo")).await;
    let mut connection = Connection::open(origin.addr()).await.unwrap();
    let answer = connection
        .send(&Request::get("/").header("Connection", "Upgrade").header("Upgrade", "echo"))
        .await
        .unwrap();
    assert_eq!(answer.status, 101);
    connection.write("ping").await;
    assert_eq!(connection.exactly(4).await.unwrap(), "ping");
}

#[tokio::test]
async fn an_early_answer_comes_before_the_body() {
    let origin = Origin::start(|_| Reply::text("early").early()).await;
    let mut connection = Connection::open(origin.addr()).await.unwrap();
    connection.write(Request::post("/", "body").head_bytes()).await;
    assert_eq!(connection.response("POST").await.unwrap().text(), "early");
    connection.write("body").await;
    until("the body is recorded", async || origin.last().whole).await;
}

#[tokio::test]
async fn pieces_of_a_body_are_seen_before_its_end() {
    let origin = Origin::start(|_| {
        let wire = chunked(&["first", "last"]);
        let head = Step::write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        Reply::script(vec![head, Step::write(&wire[..10]), Step::Hold, Step::write(&wire[10..])])
    })
    .await;
    let mut connection = Connection::open(origin.addr()).await.unwrap();
    connection.write(Request::get("/").bytes()).await;
    assert_eq!(connection.head("GET").await.unwrap().status, 200);
    assert_eq!(connection.data().await.unwrap().unwrap(), "first");
    origin.release(1);
    assert_eq!(connection.data().await.unwrap().unwrap(), "last");
    assert_eq!(connection.data().await.unwrap(), None);
}

#[tokio::test]
async fn interim_answers_are_kept_apart_from_the_final_one() {
    let origin = Origin::start(|_| Reply::raw("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")).await;
    let answer = send(origin.addr(), &Request::get("/")).await.unwrap();
    assert_eq!((answer.status, answer.interim), (204, vec![103]));
}

#[tokio::test]
async fn a_pause_is_a_pause() {
    let origin = Origin::start(|_| Reply::text("late").after(Duration::from_millis(200))).await;
    let start = Instant::now();
    assert_eq!(send(origin.addr(), &Request::get("/")).await.unwrap().text(), "late");
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_stalled_origin_reads_nothing_until_it_is_released() {
    let origin = Origin::start(|_| Reply::script(vec![Step::Stall, Step::write("HTTP/1.1 204 No Content\r\n\r\n")]).early()).await;
    let mut connection = Connection::open(origin.addr()).await.unwrap();
    connection.write(Request::post("/", "body").head_bytes()).await;
    origin.wait_for(1).await;
    connection.write("body").await;
    assert!(!connection.ready_within(Duration::from_millis(100)).await);
    assert!(!origin.raw(0).ends_with(b"body"));
    origin.release(1);
    assert_eq!(connection.response("POST").await.unwrap().status, 204);
    until("the body is read", async || origin.last().whole).await;
}

#[tokio::test]
async fn either_side_may_end_before_the_other_has_said_all() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/listens" => Reply::script(vec![Step::ReadToEnd, Step::write("heard"), Step::Close]),
        _ => Reply::script(vec![Step::write("said"), Step::FinishWriting, Step::ReadToEnd, Step::Close]),
    })
    .await;
    let mut connection = Connection::open(origin.addr()).await.unwrap();
    connection.write([Request::get("/listens").bytes(), b"all".to_vec()].concat()).await;
    connection.finish_writing().await;
    assert_eq!(connection.exactly(5).await.unwrap(), "heard");
    assert!(origin.raw(0).ends_with(b"all"));
    let mut connection = Connection::open(origin.addr()).await.unwrap();
    connection.write(Request::get("/speaks").bytes()).await;
    assert_eq!(connection.exactly(4).await.unwrap(), "said");
    assert_eq!(connection.exactly(1).await, Err(Failure::Cut));
    connection.write("more").await;
    until("it came", async || origin.raw(1).ends_with(b"more")).await;
}

#[tokio::test]
async fn client_and_origin_speak_tls_and_a_missing_goodbye_shows() {
    let authority = Authority::new("a");
    let tls = ClientTls::trusting(&authority).build();
    for says_goodbye in [true, false] {
        let server = ServerTls::showing(authority.issue(&["a.test"]));
        let server = if says_goodbye { server } else { server.without_goodbye() };
        let origin = Origin::tls(server, |_| Reply::new(200).until_close("body")).await;
        let mut connection = Connection::open_tls(origin.addr(), &tls, "a.test").await.unwrap();
        let answer = connection.send(&Request::get("/")).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.cut), ("body", !says_goodbye));
        assert_eq!(origin.last().sni.as_deref(), Some("a.test"));
        assert!(matches!(
            Connection::open_tls(origin.addr(), &tls, "b.test").await,
            Err(Failure::Handshake(_))
        ));
    }
}
