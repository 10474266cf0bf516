//! What a client and `lb` agree on.

use std::time::{Duration, Instant};

use lb_tests::client::{Connection, Failure, Request};
use lb_tests::h2c::Client;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::tls::{Authority, ClientTls};
use lb_tests::wait::{DEADLINE, until};
use rustls::{HandshakeKind, ProtocolVersion};

use super::{SERVER, certificate, connect, send, start, to, with_files};

#[tokio::test]
async fn a_request_over_tls_is_served_and_the_server_is_told_so() {
    let origin = Origin::named("origin").await;
    let (lb, tls) = start(&origin, "").await;
    let mut connection = connect(&lb, &tls).await;
    for _ in 0..3 {
        let answer = connection.send(&Request::get("/x")).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.keeps_alive), ("origin", true));
    }
    let seen = origin.last();
    assert_eq!((seen.header("x-forwarded-proto"), seen.header("x-real-ip")), ("https", "127.0.0.1"));
    assert_eq!(lb.get("/plain").await.text(), "origin");
    assert_eq!(origin.last().header("x-forwarded-proto"), "http");
    assert_eq!(lb.log_lines(4).await[0]["scheme"], "https");
}

#[tokio::test]
async fn tls_1_3_and_1_2_are_spoken() {
    let origin = Origin::named("origin").await;
    let authority = Authority::new("lb's authority");
    let setup = Lb::setup(&[SERVER, &certificate("lb"), &to(&origin)].concat());
    let lb = with_files(setup, "lb", &authority.issue(&["lb.test"])).start().await;
    let client = ClientTls::trusting(&authority);
    for (tls, version) in [
        (client.clone(), ProtocolVersion::TLSv1_3),
        (client.clone().tls13(), ProtocolVersion::TLSv1_3),
        (client.tls12(), ProtocolVersion::TLSv1_2),
    ] {
        let mut connection = connect(&lb, &tls.build()).await;
        assert_eq!(connection.tls().protocol_version(), Some(version));
        assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "origin");
    }
}

#[tokio::test]
async fn the_protocol_is_agreed_on_by_alpn() {
    let origin = Origin::named("origin").await;
    let authority = Authority::new("lb's authority");
    let setup = Lb::setup(&[SERVER, &certificate("lb"), &to(&origin)].concat());
    let lb = with_files(setup, "lb", &authority.issue(&["lb.test"])).start().await;
    let client = ClientTls::trusting(&authority);
    for offered in [&["http/1.1"][..], &["spdy/3", "http/1.1"]] {
        let mut connection = connect(&lb, &client.clone().alpn(offered).build()).await;
        assert_eq!(connection.tls().alpn_protocol(), Some(b"http/1.1".as_slice()));
        assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "origin");
    }
    let mut connection = connect(&lb, &client.build()).await;
    assert_eq!(connection.tls().alpn_protocol(), None);
    assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "origin");
    for offered in [&["h2", "http/1.1"][..], &["http/1.1", "h2"], &["h2"]] {
        let mut over_2 = Client::connect_tls(lb.listen2(), &client.clone().alpn(offered).build(), "lb.test").await;
        let answer = over_2.request("GET", "/x", b"").await;
        assert_eq!((answer.status, answer.body.as_ref()), (200, b"origin".as_slice()));
        assert_eq!(origin.last().header("x-forwarded-proto"), "https");
    }
}

#[tokio::test]
async fn the_certificate_is_that_of_the_name_asked_for() {
    let origin = Origin::named("origin").await;
    let authority = Authority::new("lb's authority");
    let pairs = [
        ("first", authority.issue(&["lb.test"])),
        ("second", authority.issue(&["other.test", "another.test"])),
        ("third", authority.issue(&["*.wild.test"])),
    ];
    let listeners: String = pairs.iter().map(|(name, _)| certificate(name)).collect();
    let mut setup = Lb::setup(&[SERVER, &listeners, &to(&origin)].concat());
    for (name, pair) in &pairs {
        setup = with_files(setup, name, pair);
    }
    let lb = setup.start().await;
    let tls = ClientTls::trusting(&authority).build();
    for (name, index) in [
        ("lb.test", 0),
        ("other.test", 1),
        ("another.test", 1),
        ("OTHER.test", 1),
        ("a.wild.test", 2),
    ] {
        let mut connection = Connection::open_tls(lb.listen2(), &tls, name).await.unwrap();
        assert_eq!(connection.tls().peer_certificates().unwrap()[0], pairs[index].1.der, "{name}");
        let answer = connection.send(&Request::get("/").header("Host", name)).await.unwrap();
        assert_eq!(answer.text(), "origin");
    }
    // who names none gets the first one, which is right for a client that looks for its name
    let shy = ClientTls::trusting(&authority).without_sni().build();
    let connection = Connection::open_tls(lb.listen2(), &shy, "lb.test").await.unwrap();
    assert_eq!(connection.tls().peer_certificates().unwrap()[0], pairs[0].1.der);
    // a name that nobody has is never served by a certificate that says so
    assert!(Connection::open_tls(lb.listen2(), &tls, "stranger.test").await.is_err());
}

#[tokio::test]
async fn a_session_is_taken_up_again_in_either_version() {
    let origin = Origin::named("origin").await;
    let authority = Authority::new("lb's authority");
    let setup = Lb::setup(&[SERVER, &certificate("lb"), &to(&origin)].concat());
    let lb = with_files(setup, "lb", &authority.issue(&["lb.test"])).start().await;
    for client in [ClientTls::trusting(&authority).tls13(), ClientTls::trusting(&authority).tls12()] {
        let tls = client.build();
        // more than there are workers: whoever takes the connection knows the ticket
        for number in 0..8 {
            let mut connection = connect(&lb, &tls).await;
            // the ticket comes before the answer
            assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "origin");
            let kind = connection.tls().handshake_kind();
            let expected = if number == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
            assert_eq!(kind, Some(expected), "connection {number}");
        }
    }
}

#[tokio::test]
async fn what_is_no_tls_is_closed_and_harms_nobody() {
    let origin = Origin::named("origin").await;
    let (lb, tls) = start(&origin, "").await;
    let mut plain = Connection::open(lb.listen2()).await.unwrap();
    plain.write(Request::get("/").bytes()).await;
    assert!(plain.ended_within(DEADLINE).await.is_some(), "it stayed open");
    let hello: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage";
    let mut garbage = Connection::open(lb.listen2()).await.unwrap();
    garbage.write([hello, &[0xff; 600]].concat()).await;
    assert!(garbage.ended_within(DEADLINE).await.is_some(), "it stayed open");
    assert_eq!(origin.count(), 0);
    assert_eq!(send(&lb, &tls, &Request::get("/")).await.text(), "origin");
    until("their connections are not counted any more", async || {
        lb.metrics().await.sum("lb_connections", &[]) == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_handshake_has_a_deadline_as_a_head_has() {
    let origin = Origin::named("origin").await;
    let (lb, tls) = start(&origin, "[limits]\nheader_timeout = \"1s\"\n\n").await;
    let start = Instant::now();
    let mut silent = Connection::open(lb.listen2()).await.unwrap();
    let mut half = Connection::open(lb.listen2()).await.unwrap();
    half.write(b"\x16\x03\x01").await;
    for connection in [&mut silent, &mut half] {
        assert!(connection.ended_within(Duration::from_secs(20)).await.is_some(), "it stayed open");
    }
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    // and then the head has its own
    let mut connection = connect(&lb, &tls).await;
    connection.write("GET / HTTP/1.1\r\nHo").await;
    connection.response("GET").await.unwrap().assert_problem(408);
}

#[tokio::test]
async fn malformed_requests_are_refused_over_tls_too() {
    let origin = Origin::named("origin").await;
    let (lb, tls) = start(&origin, "").await;
    for (bytes, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    ] {
        let mut connection = connect(&lb, &tls).await;
        connection.write(bytes).await;
        connection.response("GET").await.unwrap().assert_problem(status);
        assert!(connection.response("GET").await.is_err());
    }
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_listener_with_tls_is_enough() {
    let origin = Origin::start(|_| Reply::text("origin")).await;
    let authority = Authority::new("lb's authority");
    // the one address that the harness waits for is the one with TLS
    let text = [
        "[server]\nadmin = \"@ADMIN@\"\n\n",
        &certificate("lb").replace("LISTEN2", "LISTEN"),
        &to(&origin),
    ]
    .concat();
    let lb = with_files(Lb::setup(&text), "lb", &authority.issue(&["lb.test"])).start().await;
    let tls = ClientTls::trusting(&authority).build();
    let mut connection = Connection::open_tls(lb.listen(), &tls, "lb.test").await.unwrap();
    assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "origin");
    assert!(matches!(
        Connection::open_tls(lb.listen(), &tls, "other.test").await,
        Err(Failure::Handshake(_))
    ));
}
