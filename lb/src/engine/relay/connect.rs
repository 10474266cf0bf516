//! The server whose turn it is, and a connection to it: one that was idle, or a new one.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

use super::Relay;
use super::pool::Key;
use super::transport::{Socket, Transport};
use super::upstream::Connection;
use crate::engine::h1::ClientStream;
use crate::exchange::{Exchange, Failure, Turn, Wait};
use crate::reject::Refusal;
use crate::tls::UpstreamTls;
use crate::upstream::Server;

/// Why there is no connection.
pub(super) enum ConnectError {
    /// The server's.
    Server(Failure),
    /// The client has gone meanwhile, and nobody else needs the answer.
    Gone,
}

/// Why no server is asked.
pub(super) enum NoTurn {
    /// There is none for it.
    Refused(Refusal),
    /// The client has gone meanwhile, and nobody else needs the answer.
    Gone,
}

impl Relay {
    /// What connections to this server have in common.
    pub(super) fn key(exchange: &Exchange, server: &Server) -> Key {
        Key {
            address: server.address().clone(),
            identity: exchange.upstream_tls().map_or(0, |tls| tls.identity(server)),
        }
    }

    /// The server to ask, once it is this request's turn.
    pub(super) async fn server(client: &mut ClientStream, exchange: &mut Exchange) -> Result<Arc<Server>, NoTurn> {
        loop {
            match exchange.server() {
                Turn::Ask(server) => return Ok(server),
                Turn::Refuse(refusal) => return Err(NoTurn::Refused(refusal)),
                Turn::Wait(wait) => Self::wait_for_turn(client, exchange, wait).await?,
            }
        }
    }

    async fn wait_for_turn(client: &mut ClientStream, exchange: &Exchange, wait: Wait) -> Result<(), NoTurn> {
        let mut over = pin!(wait.over());
        poll_fn(|cx| {
            if over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if client.has_client() && client.poll_gone(cx).is_ready() {
                // What is still to come of the request will not come.
                if !exchange.leads() || !client.is_body_done() {
                    return Poll::Ready(Err(NoTurn::Gone));
                }
                client.give_up();
            }
            Poll::Pending
        })
        .await
    }

    /// A connection to the server that the exchange has chosen.
    pub(super) async fn connect(
        &self,
        client: &mut ClientStream,
        exchange: &Exchange,
        server: &Server,
        key: &Key,
    ) -> Result<Connection, ConnectError> {
        if let Some(connection) = self.pool.take(key, !exchange.is_repeatable()) {
            return Ok(connection);
        }
        let limit = exchange.timeouts().map(|timeouts| timeouts.connect).unwrap_or_default();
        let limit = exchange.within_deadline(limit);
        let mut dialling = pin!(dial(server, exchange.upstream_tls(), limit));
        poll_fn(|cx| {
            if let Poll::Ready(dialled) = dialling.as_mut().poll(cx) {
                return Poll::Ready(dialled.map_err(ConnectError::Server));
            }
            if client.has_client() && client.is_body_done() && client.poll_gone(cx).is_ready() {
                if !exchange.leads() {
                    return Poll::Ready(Err(ConnectError::Gone));
                }
                client.give_up();
            }
            Poll::Pending
        })
        .await
    }
}

/// A new connection, within `limit`.
pub(super) async fn dial(server: &Server, tls: Option<&Arc<UpstreamTls>>, limit: Duration) -> Result<Connection, Failure> {
    match timeout(limit, open(server, tls)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(Failure::ConnectTimeout),
        Ok(Err(_)) => Err(Failure::Connect),
        Err(_) => Err(Failure::ConnectTimeout),
    }
}

pub(super) async fn open(server: &Server, tls: Option<&Arc<UpstreamTls>>) -> io::Result<Connection> {
    let socket = Socket::connect(server.address()).await?;
    let transport = match tls {
        None => Transport::Plain(socket),
        Some(tls) => match Box::pin(tls.connect(server, socket)).await {
            Ok(stream) => Transport::Tls(Box::new(stream)),
            Err(error) => {
                tracing::warn!(server = &**server.name(), %error, "the TLS handshake with a server failed");
                return Err(error);
            }
        },
    };
    Ok(Connection::new(transport))
}
