//! What passes over TLS is what passes without it.

use std::time::Duration;

use bytes::Bytes;
use lb_tests::client::{Failure, Request};
use lb_tests::framing::chunked;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};
use lb_tests::tls::{Authority, ClientTls, ServerTls};
use lb_tests::wait::{DEADLINE, until};

use super::{SERVER, certificate, connect, send, start, with_files};

/// Bytes that do not repeat, so that a piece lost, doubled or out of place shows.
fn unlike(length: usize) -> Bytes {
    let words = (0..length.div_ceil(4) as u32).map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes());
    let mut bytes: Vec<u8> = words.flatten().collect();
    bytes.truncate(length);
    bytes.into()
}

#[tokio::test]
async fn large_bodies_pass_byte_by_byte_over_tls_on_either_side_and_on_both() {
    let answer = |seen: &lb_tests::origin::Seen| match seen.target.as_str() {
        "/length" => Reply::new(200).body(unlike(5_000_000)),
        "/chunks" => {
            let body = unlike(5_000_000);
            let pieces: Vec<&[u8]> = body.chunks(70_001).collect();
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            Reply::raw([head, chunked(&pieces)].concat())
        }
        _ => Reply::echo(),
    };
    let authority = Authority::new("all");
    let plain = Origin::start(answer).await;
    let secure = Origin::tls(ServerTls::showing(authority.issue(&["app.internal"])), answer).await;
    let upstreams = format!(
        "[upstreams.plain]\nservers = [\"{}\"]\n\n[upstreams.secure]\nservers = [\"{}\"]\nprotocol = \"https\"\n\n[upstreams.secure.tls]\nca = \"ca.pem\"\nsni = \"app.internal\"\n\n\
         [[routes]]\nhost = \"plain.test\"\nupstream = \"plain\"\n\n[[routes]]\nhost = \"secure.test\"\nupstream = \"secure\"\n",
        plain.addr(),
        secure.addr()
    );
    let setup = Lb::setup(&[SERVER, &certificate("lb"), &upstreams].concat()).file("ca.pem", authority.pem());
    let lb = with_files(setup, "lb", &authority.issue(&["lb.test"])).start().await;
    let tls = ClientTls::trusting(&authority).build();
    let body = unlike(5_000_000);
    for host in ["plain.test", "secure.test"] {
        let mut over_tls = connect(&lb, &tls).await;
        let mut over_tcp = lb.connect().await;
        for connection in [&mut over_tls, &mut over_tcp] {
            let pieces = body.chunks(99_991).map(Bytes::copy_from_slice).collect();
            for request in [
                Request::get("/length"),
                Request::get("/chunks"),
                Request::post("/", body.clone()),
                Request::new("PUT", "/").chunks(pieces),
            ] {
                let answer = connection.send(&request.header("Host", host)).await.unwrap();
                assert!(
                    answer.status == 200 && answer.body == body && !answer.cut,
                    "{host}: {} with {} bytes",
                    answer.status,
                    answer.body.len()
                );
            }
        }
    }
}

#[tokio::test]
async fn hits_are_served_over_tls_and_are_not_those_of_plain_http() {
    let origin = Origin::start(|seen| {
        let body = if seen.target == "/large" {
            unlike(300_000)
        } else {
            Bytes::from_static(b"stored")
        };
        Reply::new(200).header("Cache-Control", "max-age=600").body(body)
    })
    .await;
    let route = "[[routes]]\npath = \"/\"\nupstream = \"app\"\ncache = { ttl = \"0s\" }\n\n";
    let (lb, tls) = start(&origin, route).await;
    let mut connection = connect(&lb, &tls).await;
    for (target, body) in [("/small", Bytes::from_static(b"stored")), ("/large", unlike(300_000))] {
        until("it is a hit", async || {
            connection.send(&Request::get(target)).await.unwrap().is_hit()
        })
        .await;
        let before = origin.count();
        for _ in 0..5 {
            let answer = connection.send(&Request::get(target)).await.unwrap();
            assert!(
                answer.is_hit() && answer.body == body && answer.headers.has("age"),
                "{:?}",
                answer.headers
            );
            let head = connection.send(&Request::head(target)).await.unwrap();
            assert!(head.is_hit() && head.body.is_empty(), "{head:?}");
        }
        assert_eq!(origin.count(), before);
        // the scheme is part of the key
        assert!(!lb.get(target).await.is_hit());
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_over_tls_too() {
    let origin = Origin::start(|seen| {
        if seen.method == "POST" {
            Reply::echo()
        } else {
            Reply::text(&seen.target)
        }
    })
    .await;
    let (lb, tls) = start(&origin, "").await;
    let mut connection = connect(&lb, &tls).await;
    let all: Vec<u8> = (0..20)
        .flat_map(|number| match number % 2 {
            0 => Request::get(&format!("/{number}")).bytes(),
            _ => Request::post("/", format!("/{number}")).bytes(),
        })
        .collect();
    connection.write(all).await;
    for number in 0..20 {
        assert_eq!(connection.response("GET").await.unwrap().text(), format!("/{number}"));
    }
}

#[tokio::test]
async fn a_websocket_runs_over_tls() {
    let origin = Origin::start(|_| Reply::tunnel("websocket")).await;
    let (lb, tls) = start(&origin, "").await;
    let mut connection = connect(&lb, &tls).await;
    let upgrade = Request::get("/").header("Connection", "Upgrade").header("Upgrade", "websocket");
    assert_eq!(connection.send(&upgrade).await.unwrap().status, 101);
    for message in [b"\x81\x05hello".to_vec(), vec![0xff; 300_000]] {
        connection.write(&message).await;
        assert_eq!(connection.exactly(message.len()).await.unwrap(), message);
    }
    until("it is counted", async || lb.server("app", origin.addr()).await.in_flight == 1).await;
    drop(connection);
    until("it ends at the server", async || origin.open_connections() == 0).await;
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn events_arrive_one_by_one_over_tls() {
    let origin = Origin::start(|_| {
        let event = |number: usize| Step::write(format!("9\r\ndata: {number}\n\n\r\n"));
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        Reply::script(vec![Step::write(head), Step::Hold, event(0), Step::Hold, event(1), Step::Hold])
    })
    .await;
    let (lb, tls) = start(&origin, "").await;
    let mut connection = connect(&lb, &tls).await;
    connection.write(Request::get("/").bytes()).await;
    assert_eq!(connection.head("GET").await.unwrap().status, 200);
    for number in 0..2 {
        origin.release(1);
        assert_eq!(connection.data().await.unwrap().unwrap(), format!("data: {number}\n\n"));
    }
    drop(connection);
    until("the client's leaving reaches the server", async || origin.open_connections() == 0).await;
}

#[tokio::test]
async fn lb_says_goodbye_before_it_closes_and_not_after_what_was_cut() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/cut" => Reply::script(vec![
            Step::write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nstart"),
            Step::Close,
        ]),
        _ => Reply::text("whole"),
    })
    .await;
    let (lb, tls) = start(&origin, "").await;
    let mut connection = connect(&lb, &tls).await;
    let answer = connection.send(&Request::get("/").header("Connection", "close")).await.unwrap();
    assert_eq!(answer.text(), "whole");
    // without close_notify, rustls reports an error
    assert_eq!(connection.ended_within(DEADLINE).await, Some(lb_tests::client::Ending::Closed));
    let answer = connect(&lb, &tls).await.send(&Request::get("/cut")).await;
    assert!(
        matches!(&answer, Ok(answer) if answer.cut || answer.status == 502) || matches!(answer, Err(Failure::Reset)),
        "{answer:?}"
    );
}

#[tokio::test]
async fn requests_under_way_over_tls_end_well_at_sigterm() {
    let origin = Origin::held("late").await;
    let (mut lb, tls) = start(&origin, "").await;
    let mut idle = connect(&lb, &tls).await;
    let mut connection = connect(&lb, &tls).await;
    connection.write(Request::get("/").bytes()).await;
    origin.wait_for(1).await;
    lb.terminate();
    assert!(
        idle.ended_within(Duration::from_secs(20)).await.is_some(),
        "an idle connection stays open"
    );
    origin.release(1);
    assert_eq!(connection.response("GET").await.unwrap().text(), "late");
    assert_eq!(lb.exit_within(DEADLINE).await.code(), Some(0));
}

#[tokio::test]
async fn a_slow_reader_over_tls_costs_no_memory() {
    let body = unlike(64 << 20);
    let large = body.clone();
    let origin = Origin::start(move |seen| {
        if seen.target == "/large" {
            Reply::new(200).body(large.clone())
        } else {
            Reply::text("small")
        }
    })
    .await;
    let (lb, tls) = start(&origin, "[limits]\nbody_timeout = \"60s\"\n\n").await;
    assert_eq!(send(&lb, &tls, &Request::get("/small")).await.text(), "small");
    let before = lb.process.footprint().resident_kib;
    let mut connection = connect(&lb, &tls).await;
    connection.write(Request::get("/large").bytes()).await;
    assert_eq!(connection.head("GET").await.unwrap().status, 200);
    lb_tests::wait::throughout(Duration::from_secs(1), "memory stays bounded", async || {
        lb.process.footprint().resident_kib < before + (16 << 10)
    })
    .await;
    let mut at = 0;
    while let Some(piece) = connection.data().await.unwrap() {
        assert!(body[at..].starts_with(&piece), "another byte after {at}");
        at += piece.len();
    }
    assert_eq!(at, body.len());
}
