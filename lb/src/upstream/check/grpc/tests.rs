//! Against a real health server, tonic's, and against some that are none.

use std::net::SocketAddr;

use lb_config::CheckKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::super::super::ResolvedAddress;
use super::super::super::fixture::health_check;
use super::super::text;
use super::*;

const LONG: Duration = Duration::from_secs(20);

fn probe(service: &str, timeout: Duration) -> GrpcCheck {
    let mut check = health_check(1_000);
    check.timeout = timeout;
    let service: Arc<str> = service.into();
    check.kind = CheckKind::Grpc {
        service: service.clone(),
        host: None,
    };
    GrpcCheck::new(&check, &service, Some(&HeaderValue::from_static("users:3000")), None)
}

async fn ask(probe: &GrpcCheck, address: SocketAddr) -> Result<(), String> {
    let target = ResolvedAddress::Ip(address).backend().expect("a backend");
    probe.check(&target).await.map_err(|error| text(&error))
}

/// tonic's health server, and what changes its mind.
async fn health_server() -> (SocketAddr, HealthReporter) {
    let (reporter, service) = tonic_health::server::health_reporter();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let incoming = futures::stream::unfold(listener, async |listener| {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        Some((accepted, listener))
    });
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    (address, reporter)
}

/// A server that answers every connection by these bytes and then waits.
async fn canned(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(bytes).await;
                let mut sink = Vec::new();
                let _ = stream.read_to_end(&mut sink).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn only_serving_passes() {
    let (address, reporter) = health_server().await;
    assert_eq!(ask(&probe("", LONG), address).await, Ok(()));
    reporter.set_service_status("users.v1.Users", ServingStatus::Serving).await;
    assert_eq!(ask(&probe("users.v1.Users", LONG), address).await, Ok(()));
    reporter.set_service_status("users.v1.Users", ServingStatus::NotServing).await;
    assert_eq!(
        ask(&probe("users.v1.Users", LONG), address).await,
        Err("status NOT_SERVING, expected SERVING".into())
    );
    reporter.set_service_status("users.v1.Users", ServingStatus::Unknown).await;
    assert_eq!(
        ask(&probe("users.v1.Users", LONG), address).await,
        Err("status UNKNOWN, expected SERVING".into())
    );
    assert_eq!(ask(&probe("", LONG), address).await, Ok(()), "the server as a whole");
}

#[tokio::test]
async fn a_service_that_the_server_does_not_know_fails() {
    let (address, _reporter) = health_server().await;
    let error = ask(&probe("orders", LONG), address).await;
    assert_eq!(error, Err("SERVICE_UNKNOWN: the server has no service \"orders\"".into()));
}

#[tokio::test]
async fn a_grpc_server_without_the_health_service_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let incoming = futures::stream::unfold(listener, async |listener| {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        Some((accepted, listener))
    });
    let routes = tonic::service::Routes::default();
    tokio::spawn(tonic::transport::Server::builder().add_routes(routes).serve_with_incoming(incoming));
    let error = ask(&probe("", LONG), address).await;
    assert_eq!(error, Err("the server does not implement grpc.health.v1.Health".into()));
}

#[tokio::test]
async fn a_server_that_hangs_fails_in_time_and_keeps_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let error = ask(&probe("", Duration::from_millis(200)), address).await;
    assert_eq!(error, Err("no result within 200ms".into()));
    let (mut stream, _) = listener.accept().await.expect("its connection");
    let mut sink = Vec::new();
    // Were it still open, this would not end.
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut sink)).await.expect("the end");
    assert!(sink.starts_with(b"PRI * HTTP/2.0"));
}

#[tokio::test]
async fn what_is_no_http2_fails() {
    let address = canned(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let error = ask(&probe("", LONG), address).await.expect_err("no gRPC");
    assert!(error.starts_with("HTTP/2 failed: "), "{error}");
}

#[tokio::test]
async fn nobody_there_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let error = ask(&probe("", LONG), address).await.expect_err("closed");
    assert!(error.starts_with("cannot connect: Connection refused"), "{error}");
}

#[test]
fn a_message_is_read_only_as_a_whole_and_uncompressed() {
    assert_eq!(serving(&[0, 0, 0, 0, 2, 8, 1]), Some(Status::Serving));
    assert_eq!(serving(&[0, 0, 0, 0, 0]), Some(Status::Unknown), "what is 0 is left out");
    assert_eq!(serving(&[0, 0, 0, 0, 2, 8, 9]), Some(Status::Unknown), "a status of the future");
    for wrong in [&[][..], &[0, 0, 0, 0, 2, 8], &[1, 0, 0, 0, 2, 8, 1], &[0, 0, 0, 0, 2, 0xff, 0xff]] {
        assert_eq!(serving(wrong), None, "{wrong:?}");
    }
}

#[test]
fn the_question_is_framed() {
    assert_eq!(&probe("ab", LONG).question[..], [0, 0, 0, 0, 4, 10, 2, b'a', b'b']);
    assert_eq!(&probe("", LONG).question[..], [0; 5]);
}
