//! `type = "tcp"`: whether a connection can be made.

use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::HealthCheck;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// A connection of either kind.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Connects, with the reason in words where that fails.
pub(super) async fn connect(target: &Backend) -> pingora::Result<Box<dyn Connection>> {
    let failed = |error: std::io::Error| Error::explain(ErrorType::ConnectError, format!("cannot connect: {error}"));
    match &target.addr {
        SocketAddr::Inet(address) => Ok(Box::new(TcpStream::connect(address).await.map_err(failed)?)),
        SocketAddr::Unix(address) => match address.as_pathname() {
            Some(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(failed)?)),
            None => Error::e_explain(ErrorType::ConnectError, "cannot connect: a Unix socket without a path"),
        },
    }
}

/// Awaits a whole check, but no longer than this.
pub(super) async fn within<T>(timeout: Duration, check: impl Future<Output = pingora::Result<T>>) -> pingora::Result<T> {
    let late = |_| Error::explain(ErrorType::ReadTimedout, format!("no result within {timeout:?}"));
    tokio::time::timeout(timeout, check).await.map_err(late)?
}

/// See the module.
pub(super) struct TcpCheck {
    timeout: Duration,
    rise: usize,
    fall: usize,
}

impl TcpCheck {
    pub(super) fn new(check: &lb_config::HealthCheck) -> Self {
        Self {
            timeout: check.timeout,
            rise: check.rise.get() as usize,
            fall: check.fall.get() as usize,
        }
    }
}

#[async_trait]
impl HealthCheck for TcpCheck {
    async fn check(&self, target: &Backend) -> pingora::Result<()> {
        within(self.timeout, connect(target)).await.map(drop)
    }

    fn health_threshold(&self, success: bool) -> usize {
        if success { self.rise } else { self.fall }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::ResolvedAddress;
    use super::super::super::fixture::health_check;
    use super::super::text;
    use super::*;

    async fn check(address: &ResolvedAddress) -> Result<(), String> {
        let check = TcpCheck::new(&health_check(1_000));
        check
            .check(&address.backend().expect("a backend"))
            .await
            .map_err(|error| text(&error))
    }

    #[tokio::test]
    async fn an_open_port_passes_and_a_closed_one_does_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = ResolvedAddress::Ip(listener.local_addr().expect("an address"));
        assert_eq!(check(&address).await, Ok(()));
        drop(listener);
        let error = check(&address).await.expect_err("closed");
        assert!(error.starts_with("cannot connect: Connection refused"), "{error}");
    }

    #[tokio::test]
    async fn a_unix_socket_passes_while_somebody_listens() {
        let folder = std::env::temp_dir().join(format!("lb-tcp-check-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("a.sock");
        let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
        let address = ResolvedAddress::Unix(path);
        assert_eq!(check(&address).await, Ok(()));
        drop(listener);
        assert!(check(&address).await.is_err());
        std::fs::remove_dir_all(&folder).expect("the folder");
    }
}
