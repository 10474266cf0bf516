//! An HTTP/1.1 client on a raw socket.
//!
//! A comfortable client hides what these tests look for: it retries, completes and tidies up. This one writes the bytes it is given and
//! says exactly what came back: status and fields in order, whether the body was whole, whether the connection was closed, and when.

mod connection;
mod request;
mod response;
mod stream;

use std::net::SocketAddr;

pub use connection::{Connection, Ending};
pub use request::Request;
pub use response::{Head, Response};

/// Why there is no (whole) answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No connection.
    Connect(String),
    /// No TLS.
    Handshake(String),
    /// The connection was reset, or closed before a whole response head.
    Reset,
    /// The body ended before its length, or without its last chunk.
    Cut,
    /// Nothing came for too long.
    Timeout,
    /// What came is no HTTP.
    Malformed(String),
}

/// Sends one request on a connection of its own.
pub async fn send(to: SocketAddr, request: &Request) -> Result<Response, Failure> {
    Connection::open(to).await?.send(request).await
}

/// Sends raw bytes on a connection of their own and reads one answer.
pub async fn send_raw(to: SocketAddr, bytes: &[u8]) -> Result<(Response, Connection), Failure> {
    let mut connection = Connection::open(to).await?;
    connection.write(bytes).await;
    let response = connection.response("GET").await?;
    Ok((response, connection))
}
