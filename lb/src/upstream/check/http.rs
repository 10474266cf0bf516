//! `type = "http"`: whether a `GET` is answered with an expected status.
//!
//! The smallest HTTP/1.1 client that is right for this (RFC 9112): a connection of its own, `Connection: close`, nothing read beyond the
//! head. Interim answers are passed over. A head that does not end within 64 KiB fails the check, as does one that does not come
//! in time: the timeout is for connecting, asking and reading together.

use std::ops::RangeInclusive;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderValue;
use pingora::{Error, ErrorType};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::HealthCheck;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::Secured;
use super::tcp::{connect, within};
use crate::upstream::ResolvedAddress;

/// Bytes that are read in search of a head.
const MAX_HEAD: usize = 64 << 10;

/// See the module.
pub(super) struct HttpCheck {
    request: Vec<u8>,
    tls: Option<Secured>,
    expect: RangeInclusive<u16>,
    timeout: Duration,
    rise: usize,
    fall: usize,
}

impl HttpCheck {
    pub(super) fn new(
        check: &lb_config::HealthCheck,
        path: &str,
        host: Option<&HeaderValue>,
        expect: RangeInclusive<u16>,
        tls: Option<Secured>,
    ) -> Self {
        let host = host.map_or(&b"localhost"[..], HeaderValue::as_bytes);
        let mut request = Vec::new();
        for part in [b"GET ", path.as_bytes(), b" HTTP/1.1\r\nHost: ", host] {
            request.extend_from_slice(part);
        }
        request.extend_from_slice(b"\r\nUser-Agent: lb-health-check\r\nAccept: */*\r\nConnection: close\r\n\r\n");
        Self {
            request,
            tls,
            expect,
            timeout: check.timeout,
            rise: check.rise.get() as usize,
            fall: check.fall.get() as usize,
        }
    }

    async fn ask(&self, target: &Backend) -> pingora::Result<u16> {
        let mut connection = connect(target).await?;
        if let (Some(tls), Some(address)) = (&self.tls, ResolvedAddress::from_backend(target)) {
            connection = tls.meet(&address, connection).await?;
        }
        let failed = |error: std::io::Error| Error::explain(ErrorType::WriteError, format!("cannot send the request: {error}"));
        connection.write_all(&self.request).await.map_err(failed)?;
        connection.flush().await.map_err(failed)?;
        read_status(&mut connection).await
    }
}

#[async_trait]
impl HealthCheck for HttpCheck {
    async fn check(&self, target: &Backend) -> pingora::Result<()> {
        let status = within(self.timeout, self.ask(target)).await?;
        if self.expect.contains(&status) {
            return Ok(());
        }
        let (from, to) = (self.expect.start(), self.expect.end());
        Error::e_explain(ErrorType::HTTPStatus(status), format!("status {status}, expected {from}-{to}"))
    }

    fn health_threshold(&self, success: bool) -> usize {
        if success { self.rise } else { self.fall }
    }
}

/// The status of the first head that is no interim answer.
async fn read_status(connection: &mut (impl AsyncRead + Unpin)) -> pingora::Result<u16> {
    let mut bounded = connection.take(MAX_HEAD as u64);
    let mut bytes = Vec::with_capacity(1 << 10);
    let (mut start, mut searched) = (0, 0);
    loop {
        if let Some(end) = end_of_head(&bytes, start.max(searched)) {
            let status = status_of(&bytes[start..]);
            let status = status.ok_or_else(|| Error::explain(ErrorType::InvalidHTTPHeader, "the answer is not HTTP/1.1"))?;
            if !(100..200).contains(&status) || status == 101 {
                return Ok(status);
            }
            start = end;
            continue;
        }
        searched = bytes.len().saturating_sub(3);
        let failed = |error| Error::explain(ErrorType::ReadError, format!("cannot read the answer: {error}"));
        if bounded.read_buf(&mut bytes).await.map_err(failed)? == 0 {
            let why = if bounded.limit() == 0 {
                "no end of the answer's head within 64 KiB"
            } else {
                "closed before a whole head"
            };
            return Error::e_explain(ErrorType::ConnectionClosed, why);
        }
    }
}

/// Where the first head that ends at or after `from` ends.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    bytes[from..]
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|position| from + position + 4)
}

/// The status in `HTTP/1.x NNN …`.
fn status_of(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?;
    let (digits, rest) = rest.split_first_chunk::<3>()?;
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(rest.first(), Some(b' ' | b'\r')) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|status| *status >= 100)
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::health_check;
    use super::super::text;
    use super::*;
    use tokio::net::{TcpListener, UnixListener};

    fn probe(timeout: Duration) -> HttpCheck {
        let mut check = health_check(1_000);
        check.timeout = timeout;
        HttpCheck::new(&check, "/ready?deep=1", Some(&HeaderValue::from_static("users")), 200..=299, None)
    }

    async fn ask(probe: &HttpCheck, address: ResolvedAddress) -> Result<(), String> {
        probe
            .check(&address.backend().expect("a backend"))
            .await
            .map_err(|error| text(&error))
    }

    /// Against a server that reads the request, sends these pieces, and then closes or not. The result, and the request.
    async fn against(pieces: &[&[u8]], close: bool, timeout: Duration) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = ResolvedAddress::Ip(listener.local_addr().expect("an address"));
        let server = async {
            let (mut connection, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert!(connection.read_buf(&mut request).await.expect("a request") > 0);
            }
            for piece in pieces {
                if connection.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            (String::from_utf8(request).expect("text"), (!close).then_some(connection))
        };
        let probe = probe(timeout);
        let (result, (request, _open)) = tokio::join!(ask(&probe, address), server);
        (result, request)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn it_asks_as_it_was_told() {
        let (result, request) = against(&[b"HTTP/1.1 204 No Content\r\n\r\n"], true, LONG).await;
        assert_eq!(result, Ok(()));
        assert_eq!(
            request,
            "GET /ready?deep=1 HTTP/1.1\r\nHost: users\r\nUser-Agent: lb-health-check\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn the_status_must_be_in_the_range() {
        let (result, _) = against(&[b"HTTP/1.1 503 Service Unavailable\r\n\r\n"], true, LONG).await;
        assert_eq!(result, Err("status 503, expected 200-299".into()));
        let (result, _) = against(&[b"HTTP/1.0 299 \r\n\r\n"], true, LONG).await;
        assert_eq!(result, Ok(()));
    }

    #[tokio::test]
    async fn the_result_does_not_wait_for_the_body_or_the_end() {
        let (result, _) = against(&[b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", b"a part"], false, LONG).await;
        assert_eq!(result, Ok(()));
    }

    #[tokio::test]
    async fn interim_answers_are_passed_over_also_when_they_come_in_pieces() {
        let pieces: &[&[u8]] = &[
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n",
            b"\r",
            b"\nHTTP/1.",
            b"1 500 No\r\n\r\n",
        ];
        let (result, _) = against(pieces, true, LONG).await;
        assert_eq!(result, Err("status 500, expected 200-299".into()));
    }

    #[tokio::test]
    async fn what_is_not_http_fails() {
        for answer in ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/2 200\r\n\r\n", "\r\n\r\n"] {
            assert_eq!(
                against(&[answer.as_bytes()], true, LONG).await.0,
                Err("the answer is not HTTP/1.1".into())
            );
        }
    }

    #[tokio::test]
    async fn a_head_that_is_cut_off_fails() {
        let (result, _) = against(&[b"HTTP/1.1 200 OK\r\nx: y\r\n"], true, LONG).await;
        assert_eq!(result, Err("closed before a whole head".into()));
    }

    #[tokio::test]
    async fn a_server_that_never_answers_fails_in_time() {
        let (result, _) = against(&[], false, Duration::from_millis(100)).await;
        assert_eq!(result, Err("no result within 100ms".into()));
    }

    #[tokio::test]
    async fn a_server_that_drips_fails_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = ResolvedAddress::Ip(listener.local_addr().expect("an address"));
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.expect("a connection");
            connection.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.expect("a start");
            while connection.write_all(b"y").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert_eq!(
            ask(&probe(Duration::from_millis(200)), address).await,
            Err("no result within 200ms".into())
        );
        server.await.expect("the server ends, since the connection was closed");
    }

    #[tokio::test]
    async fn a_head_without_an_end_is_read_up_to_a_bound() {
        let line = vec![b'x'; 1 << 20];
        let (result, _) = against(&[b"HTTP/1.1 200 OK\r\nx: ", &line], true, LONG).await;
        assert_eq!(result, Err("no end of the answer's head within 64 KiB".into()));
    }

    #[tokio::test]
    async fn endless_interim_answers_are_read_up_to_a_bound() {
        let many = vec![&b"HTTP/1.1 100 Continue\r\n\r\n"[..]; 10_000];
        let (result, _) = against(&many, true, LONG).await;
        assert_eq!(result, Err("no end of the answer's head within 64 KiB".into()));
    }

    #[tokio::test]
    async fn a_unix_socket_is_asked_too() {
        let folder = std::env::temp_dir().join(format!("lb-http-check-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let listener = UnixListener::bind(folder.join("a.sock")).expect("a socket");
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.expect("a connection");
            connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("an answer");
        });
        assert_eq!(ask(&probe(LONG), ResolvedAddress::Unix(folder.join("a.sock"))).await, Ok(()));
        server.await.expect("the server");
        std::fs::remove_dir_all(&folder).expect("the folder");
    }
}
