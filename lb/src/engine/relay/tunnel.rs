//! After a switch of protocols (101), bytes pass both ways as they are, until the server has said its last.
//!
//! Nothing in it has a time limit: a WebSocket may be quiet for hours. Whether the other side is still there is the kernel's to find out, so
//! keep-alive probes are switched on.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::StatusCode;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Ended;
use super::transport::{Socket, Transport};
use super::upstream::Connection;
use crate::engine::h1::ClientStream;
use crate::exchange::Exchange;

/// What one read takes.
const ROOM: usize = 16 << 10;
/// When a quiet connection is probed first.
const QUIET: Duration = Duration::from_secs(60);

/// Tells the client, and passes on until the end.
pub(super) async fn run(client: &mut ClientStream, exchange: &mut Exchange, server: &mut Connection, head: BytesMut) -> Ended {
    let (transport, early) = server.tunnel();
    probe(client, transport);
    client.become_tunnel();
    let head_length = head.len() as u64;
    let mut down = Direction::new(head);
    down.held.extend_from_slice(&early);
    let mut up = Direction::new(BytesMut::new());
    let passed = poll_fn(|cx| {
        // A client that has said its last may wait for an answer; a server that has said its last ends the session, as with nginx: what the
        // client has to say has nowhere to go then.
        let _ = up.poll(client, transport, cx)?;
        down.poll(transport, client, cx)
    });
    let passed: io::Result<()> = passed.await;
    tracing::debug!(
        request_id = exchange.id().as_str(),
        up = up.passed,
        down = down.passed,
        ?passed,
        "a tunnel ended"
    );
    exchange.tunnelled(up.passed);
    Ended {
        status: Some(StatusCode::SWITCHING_PROTOCOLS),
        sent: down.passed.saturating_sub(head_length),
        client_left: false,
        keep_alive: false,
    }
}

/// Where it fails, a peer that is lost without a word is noticed when something is sent to it.
fn probe(client: &ClientStream, server: &Transport) {
    let probes = TcpKeepalive::new().with_time(QUIET).with_interval(QUIET / 4);
    if let Some(tcp) = client.socket() {
        let _ = SockRef::from(tcp).set_tcp_keepalive(&probes);
    }
    if let Socket::Tcp(tcp) = server.socket() {
        let _ = SockRef::from(tcp).set_tcp_keepalive(&probes);
    }
}

/// Bytes one way.
struct Direction {
    held: BytesMut,
    passed: u64,
    ended: bool,
    over: bool,
}

impl Direction {
    const fn new(held: BytesMut) -> Self {
        Self {
            held,
            passed: 0,
            ended: false,
            over: false,
        }
    }

    /// Ready when this way has come to its end, and the other side knows.
    fn poll<R, W>(&mut self, from: &mut R, to: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while !self.over {
            while !self.held.is_empty() {
                match ready!(Pin::new(&mut *to).poll_write(cx, &self.held))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => {
                        self.held.advance(count);
                        self.passed += count as u64;
                    }
                }
            }
            if self.ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.over = true;
                break;
            }
            let mut room = [0; ROOM];
            let mut buf = ReadBuf::new(&mut room);
            match Pin::new(&mut *from).poll_read(cx, &mut buf) {
                Poll::Ready(read) => {
                    read?;
                    self.ended = buf.filled().is_empty();
                    self.held.extend_from_slice(buf.filled());
                }
                Poll::Pending => {
                    // What was written goes out while nothing more comes. An idle tunnel holds no buffer.
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    self.held = BytesMut::new();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
