//! Sends copies of requests, for both engines: each in a task of its own, over the worker's idle connections or a new one.
//!
//! The engine hands over a head and a body that are whole already; see [`crate::exchange`] for what is copied and what bounds it. The answer is
//! read as strictly as any other, and thrown away.

use std::future::poll_fn;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, StatusCode};
use tokio::time::timeout;

use super::Relay;
use super::connect::open;
use super::forward::INTERIM;
use super::heads::write_head;
use super::pool::{Key, Pool};
use super::upload::Upload;
use super::upstream::{Connection, READ_LARGE};
use crate::engine::h1::{Body, Piece, Request};
use crate::exchange::{Copy, Exchange, Failure};

/// Bytes of an answer's body that are read so that the connection may serve again.
const DRAINED: u64 = 1 << 20;

/// See the [module](self).
#[derive(Clone)]
pub struct Mirror {
    pool: Arc<Pool>,
}

/// A copy as it goes out.
pub struct Message {
    /// The head, its empty line included.
    pub head: Bytes,
    /// The body, framed as the head says.
    pub body: Bytes,
    /// It is a HEAD: what answers it has no body.
    pub is_head: bool,
}

impl Mirror {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    /// Sends a copy. Returns at once.
    pub fn send(&self, copy: Copy, message: Message) {
        tokio::spawn(deliver(self.pool.clone(), copy, message));
    }
}

impl Relay {
    /// The request has gone whole to a server: its copy follows, if there is to be one.
    #[inline]
    pub(super) fn copy(&self, request: &Request, exchange: &mut Exchange, upload: &Upload) {
        if exchange.is_copied() && upload.is_done() {
            self.send_copy(request, exchange, upload);
        }
    }

    fn send_copy(&self, request: &Request, exchange: &mut Exchange, upload: &Upload) {
        let body = upload.kept_body();
        let (Some(copy), Some(body)) = (exchange.copy(&request.head(), body.is_some()), body) else {
            return;
        };
        let mut head = BytesMut::with_capacity(1 << 10);
        write_head(&mut head, request, exchange, copy.kept_connections() > 0, |received, editor| {
            exchange.edit_copy(&copy, received, editor);
        });
        let message = Message {
            head: head.freeze(),
            body: Bytes::copy_from_slice(body),
            is_head: request.parsed().method() == Method::HEAD,
        };
        self.mirror.send(copy, message);
    }
}

async fn deliver(pool: Arc<Pool>, copy: Copy, message: Message) {
    let key = Key {
        address: copy.server().address().clone(),
        identity: copy.tls().map_or(0, |tls| tls.identity(copy.server())),
    };
    let within = copy.timeouts().request.unwrap_or(Duration::MAX);
    let answered = timeout(within, answer(&pool, &copy, &key, &message)).await;
    let (mut connection, status) = match answered.unwrap_or(Err((Failure::Timeout, false))) {
        Ok(answered) => answered,
        Err((failure, reused)) => return copy.failed(failure, reused),
    };
    copy.answered(status);
    let (most, idle) = (copy.kept_connections(), copy.timeouts().idle);
    let drained = timeout(copy.timeouts().read, drain(&mut connection, message.is_head)).await;
    if most > 0 && drained == Ok(true) {
        pool.give(key, connection, most, idle);
    }
    copy.over();
}

/// A connection by which the head of an answer has come, and its status; or how there is none, and whether the connection had served before.
async fn answer(pool: &Pool, copy: &Copy, key: &Key, message: &Message) -> Result<(Connection, StatusCode), (Failure, bool)> {
    let mut connection = connect(pool, copy, key).await.map_err(|failure| (failure, false))?;
    match ask(&mut connection, copy, message).await {
        Ok(status) => Ok((connection, status)),
        Err(failure) => Err((failure, connection.reused)),
    }
}

/// A connection that was idle, and that the kernel knows to be good, since there is no second try; or a new one.
async fn connect(pool: &Pool, copy: &Copy, key: &Key) -> Result<Connection, Failure> {
    if let Some(connection) = pool.take(key, true) {
        return Ok(connection);
    }
    match timeout(copy.timeouts().connect, open(copy.server(), copy.tls())).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::TimedOut => Err(Failure::ConnectTimeout),
        Ok(Err(_)) => Err(Failure::Connect),
        Err(_) => Err(Failure::ConnectTimeout),
    }
}

/// Sends the request and reads the head of its final answer.
async fn ask(connection: &mut Connection, copy: &Copy, message: &Message) -> Result<StatusCode, Failure> {
    match timeout(copy.timeouts().write, write(connection, message)).await {
        // A server that does not take all of it may have answered all the same.
        Ok(Ok(()) | Err(_)) => {}
        Err(_) => return Err(Failure::Timeout),
    }
    timeout(copy.timeouts().read, head(connection))
        .await
        .unwrap_or(Err(Failure::Timeout))
}

async fn write(connection: &mut Connection, message: &Message) -> std::io::Result<()> {
    let mut left = message.head.clone().chain(message.body.clone());
    while left.has_remaining() {
        let pieces = [IoSlice::new(left.first_ref()), IoSlice::new(left.last_ref())];
        let sent = poll_fn(|cx| connection.poll_write(&pieces, cx)).await?;
        left.advance(sent);
    }
    poll_fn(|cx| connection.poll_flush(cx)).await
}

/// Reads the head of a final answer.
pub(super) async fn head(connection: &mut Connection) -> Result<StatusCode, Failure> {
    for _ in 0..INTERIM {
        poll_fn(|cx| connection.poll_head(cx)).await?;
        match connection.parsed().status() {
            StatusCode::SWITCHING_PROTOCOLS => break,
            status if !status.is_informational() => return Ok(status),
            _ => connection.expect_another(),
        }
    }
    Err(Failure::Invalid)
}

/// Reads the answer's body. Whether the connection may serve again.
async fn drain(connection: &mut Connection, is_head: bool) -> bool {
    let mut body = Body::from_response(connection.parsed().framing(is_head));
    connection.drop_head();
    while body.decoded() <= DRAINED {
        match body.next(connection.received()) {
            Ok(Piece::Done) => return connection.parsed().keep_alive() && connection.received().is_empty(),
            Ok(Piece::More) => match poll_fn(|cx| connection.poll_read(READ_LARGE, cx)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return false,
            },
            Ok(piece) => connection.discard(piece.len()),
            Err(_) => return false,
        }
    }
    false
}
