//! A connection over real sockets.

mod answering;
mod heads;
mod leaving;
mod reading;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::engine::h1::error::HeadError;
use crate::engine::h1::head::HeadLimits;
use crate::engine::h1::parsed::Framing;
use crate::exchange::head::RequestHead as _;

pub(super) const LIMITS: HeadLimits = HeadLimits::new(8192, 32);
pub(super) const PATIENT: HeadTimeouts = HeadTimeouts {
    head: Duration::from_secs(20),
    idle: Duration::from_secs(20),
};
/// Longer than anything takes that works.
pub(super) const SOON: Duration = Duration::from_secs(10);
const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

/// Both ends of a connection.
pub(super) async fn pair() -> (ClientStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (server, peer) = accepted.expect("accept");
    let client = client.expect("connect");
    client.set_nodelay(true).expect("nodelay");
    (ClientStream::new(server, peer, address), client)
}

async fn next(stream: &mut ClientStream) -> Result<HeadRead, HeadFailure> {
    timeout(SOON, stream.read_head(&LIMITS, &PATIENT)).await.expect("in time")
}

/// Reads one head and lets its request begin.
async fn begin(stream: &mut ClientStream) -> BytesMut {
    assert_eq!(next(stream).await.expect("a head"), HeadRead::Request);
    stream.begin()
}

/// What reads give until they wait: only where all has been received that will be.
async fn read_until(stream: &mut ClientStream, len: usize) -> Vec<u8> {
    let mut body = vec![0; len];
    timeout(SOON, stream.read_exact(&mut body))
        .await
        .expect("in time")
        .expect("the body");
    body
}

/// Whether nothing comes at once, not even an end.
async fn waits(stream: &mut ClientStream) -> bool {
    let mut byte = [0];
    tokio::select! {
        biased;
        _ = stream.read(&mut byte) => false,
        () = tokio::task::yield_now() => true,
    }
}

/// What the other side sends until it closes.
async fn rest(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    timeout(SOON, client.read_to_end(&mut all)).await.expect("in time").map(|_| all)
}

/// Tells when it is dropped.
struct Flag(Arc<AtomicBool>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn flag(stream: &mut ClientStream) -> Arc<AtomicBool> {
    let dropped = Arc::new(AtomicBool::new(false));
    stream.hold(Flag(Arc::clone(&dropped)));
    dropped
}
