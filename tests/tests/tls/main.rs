//! TLS from clients and to servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod handshakes;
mod mutual;
mod renewal;
mod servers;
mod traffic;

use std::sync::Arc;

use lb_tests::client::{Connection, Request, Response};
use lb_tests::lb::{Lb, Setup};
use lb_tests::origin::Origin;
use lb_tests::tls::{Authority, ClientTls, Pair};
use rustls::ClientConfig;

/// A listener without TLS at `@LISTEN@`, and one with it at `@LISTEN2@`.
const SERVER: &str = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\n\n";

/// A certificate of that TLS listener's.
fn certificate(name: &str) -> String {
    format!("[[server.tls]]\nlisten = \"@LISTEN2@\"\ncertificate = \"{name}.pem\"\nkey = \"{name}.key\"\n\n")
}

/// Everything to one server.
fn to(origin: &Origin) -> String {
    format!("[upstreams.app]\nservers = [\"{}\"]\n\n", origin.addr())
}

/// The files of a certificate, beside the configuration.
fn with_files(setup: Setup, name: &str, pair: &Pair) -> Setup {
    setup
        .file(&format!("{name}.pem"), &pair.certificate)
        .file(&format!("{name}.key"), &pair.key)
}

/// An `lb` with one certificate for `lb.test` before that server, and a client that trusts it.
async fn start(origin: &Origin, more: &str) -> (Lb, Arc<ClientConfig>) {
    let authority = Authority::new("lb's authority");
    let setup = Lb::setup(&[SERVER, &certificate("lb"), more, &to(origin)].concat());
    let lb = with_files(setup, "lb", &authority.issue(&["lb.test"])).start().await;
    (lb, ClientTls::trusting(&authority).build())
}

/// A TLS connection to `lb`.
async fn connect(lb: &Lb, tls: &Arc<ClientConfig>) -> Connection {
    Connection::open_tls(lb.listen2(), tls, "lb.test").await.expect("a handshake")
}

/// A request on a TLS connection of its own.
async fn send(lb: &Lb, tls: &Arc<ClientConfig>, request: &Request) -> Response {
    let answer = connect(lb, tls).await.send(request).await;
    answer.unwrap_or_else(|failure| panic!("{failure:?} to {request:?}"))
}
