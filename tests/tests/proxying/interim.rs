//! Interim answers: 1xx (RFC 9110 §15.2), and `Expect: 100-continue` (§10.1.1).

use lb_tests::client::{Connection, Head, Request};
use lb_tests::engine::lacks;
use lb_tests::h2c::Client;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};
use lb_tests::wait::{DEADLINE, until};

use super::smallest;

/// Interim answers as servers should not send them, and then the final one.
const ODD: &str = "HTTP/1.1 100 Continue\r\nContent-Length: 40\r\n\r\n\
    HTTP/1.1 102 Processing\r\n\r\n\
    HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\r\n\
    HTTP/1.1 103 Early Hints\r\nLink: </b>; rel=preload\r\n\r\n\
    HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal";

/// The interim heads up to the final one.
async fn heads(connection: &mut Connection, method: &str) -> (Vec<Head>, Head) {
    let mut interim = Vec::new();
    loop {
        let head = connection.head(method).await.unwrap();
        if head.status >= 200 {
            return (interim, head);
        }
        interim.push(head);
    }
}

async fn body(connection: &mut Connection) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = connection.data().await.unwrap() {
        all.extend_from_slice(&piece);
    }
    all
}

fn odd_or(text: &'static str) -> impl Fn(&lb_tests::origin::Seen) -> Reply {
    move |seen| {
        if seen.target == "/odd" {
            Reply::raw(ODD)
        } else {
            Reply::text(text)
        }
    }
}

#[tokio::test]
async fn c18_an_interim_answer_never_has_a_body() {
    if lacks("strict interim answers") {
        return;
    }
    let origin = Origin::start(odd_or("own")).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    for _ in 0..3 {
        connection.write(Request::get("/odd").bytes()).await;
        let (interim, last) = heads(&mut connection, "GET").await;
        assert_eq!((last.status, body(&mut connection).await.as_slice()), (200, b"final".as_slice()));
        for head in interim {
            assert!([100, 102, 103].contains(&head.status), "{head:?}");
            for name in ["content-length", "transfer-encoding", "connection", "x-hop", "keep-alive"] {
                assert!(!head.headers.has(name), "{name} in {head:?}");
            }
        }
        assert_eq!(connection.send(&Request::get("/next")).await.unwrap().text(), "own");
        assert_eq!(lb.get("/other").await.text(), "own");
    }
}

#[tokio::test]
async fn c18_nor_has_it_one_over_http_2() {
    let origin = Origin::start(odd_or("own")).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut client = Client::connect(lb.listen()).await;
    for _ in 0..3 {
        let answer = client.request("GET", "/odd", b"").await;
        assert_eq!((answer.status, answer.body.as_ref()), (200, b"final".as_slice()));
        assert_eq!(client.request("GET", "/next", b"").await.body.as_ref(), b"own");
    }
}

#[tokio::test]
async fn early_hints_reach_the_client_before_the_answer() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
    let origin =
        Origin::start(move |_| Reply::script(vec![Step::write(hints), Step::Hold, Step::write("HTTP/1.1 204 No Content\r\n\r\n")])).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    connection.write(Request::get("/").bytes()).await;
    let head = connection.head("GET").await.unwrap();
    assert_eq!((head.status, head.headers.get("link")), (103, Some("</style.css>; rel=preload")));
    origin.release(1);
    assert_eq!(connection.response("GET").await.unwrap().status, 204);
}

#[tokio::test]
async fn an_http_1_0_client_gets_none() {
    if lacks("strict interim answers") {
        return;
    }
    let origin = Origin::start(odd_or("own")).await;
    let lb = Lb::start(&smallest(&origin)).await;
    let answer = lb.send(&Request::get("/odd").http10()).await;
    assert_eq!(
        (answer.status, answer.interim.as_slice(), answer.text().as_str()),
        (200, [].as_slice(), "final")
    );
    // nor one to an expectation, which HTTP/1.0 does not know
    let answer = lb.send(&Request::post("/", "x").http10().header("Expect", "100-continue")).await;
    assert_eq!((answer.status, answer.interim.as_slice()), (200, [].as_slice()));
}

#[tokio::test]
async fn who_waits_for_100_gets_the_server_s_refusal_without_sending_a_byte() {
    let origin = Origin::start(|_| Reply::new(403).header("Connection", "close").body("no").early().then(Step::Close)).await;
    let lb = Lb::start(&format!("[limits]\nbody_timeout = \"1s\"\n\n{}", smallest(&origin))).await;
    let mut connection = lb.connect().await;
    connection
        .write(
            Request::post("/", vec![b'x'; 100_000])
                .header("Expect", "100-continue")
                .head_bytes(),
        )
        .await;
    let (interim, last) = heads(&mut connection, "POST").await;
    assert_eq!((last.status, body(&mut connection).await.as_slice()), (403, b"no".as_slice()));
    assert!(interim.iter().all(|head| head.status == 100), "{interim:?}");
    // what would follow on this connection is half a body, so it ends, or says that it goes on and means it
    if last.keeps_alive("POST") {
        connection.write(vec![b'x'; 100_000]).await;
        assert_eq!(connection.send(&Request::get("/next")).await.unwrap().status, 403);
    } else {
        assert!(connection.ended_within(DEADLINE).await.is_some());
    }
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn a_client_gets_100_once_even_when_the_server_says_it_too() {
    let origin = Origin::start(|_| {
        let go_on = Step::write("HTTP/1.1 100 Continue\r\n\r\n");
        Reply::script(vec![go_on, Step::write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]).early()
    })
    .await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    let request = Request::post("/", "the body").header("Expect", "100-continue");
    connection.write(request.head_bytes()).await;
    assert_eq!(connection.head("POST").await.unwrap().status, 100);
    connection.write("the body").await;
    let answer = connection.response("POST").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    until("the body arrived", async || origin.last().whole).await;
    assert_eq!(origin.last().body, b"the body");
}

#[tokio::test]
async fn who_announces_no_body_is_not_told_to_go_on() {
    if lacks("strict interim answers") {
        return;
    }
    let origin = Origin::named("own").await;
    let lb = Lb::start(&smallest(&origin)).await;
    let mut connection = lb.connect().await;
    let answer = connection.send(&Request::get("/").header("Expect", "100-continue")).await.unwrap();
    assert_eq!((answer.status, answer.interim.as_slice()), (200, [].as_slice()));
}
