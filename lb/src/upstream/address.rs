//! Where a server is, once its name has been looked up.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora_load_balancing::{Backend, Extensions};

/// An address that can be connected to without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResolvedAddress {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl ResolvedAddress {
    /// The same place on another port; a Unix socket has none.
    pub(super) fn with_port(&self, port: Option<u16>) -> Self {
        match (self, port) {
            (Self::Ip(address), Some(port)) => Self::Ip(SocketAddr::new(address.ip(), port)),
            _ => self.clone(),
        }
    }

    /// As pingora's health checks want it. A path that is too long for a socket is an error.
    pub(super) fn backend(&self) -> io::Result<Backend> {
        let addr = match self {
            Self::Ip(address) => PingoraAddr::Inet(*address),
            Self::Unix(path) => PingoraAddr::Unix(std::os::unix::net::SocketAddr::from_pathname(path)?),
        };
        Ok(Backend {
            addr,
            weight: 1,
            ext: Extensions::new(),
        })
    }

    /// Back from what pingora's discovery finds; `None` for a Unix socket without a path.
    pub(super) fn from_backend(backend: &Backend) -> Option<Self> {
        match &backend.addr {
            PingoraAddr::Inet(address) => Some(Self::Ip(*address)),
            PingoraAddr::Unix(address) => address.as_pathname().map(|path| Self::Unix(path.into())),
        }
    }
}

impl fmt::Display for ResolvedAddress {
    /// As the configuration file writes it: `127.0.0.1:3001`, `[::1]:3001`, `unix:/run/users.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_in_the_file() {
        assert_eq!(
            ResolvedAddress::Ip("[::1]:3001".parse().expect("an address")).to_string(),
            "[::1]:3001"
        );
        assert_eq!(ResolvedAddress::Unix("/run/users.sock".into()).to_string(), "unix:/run/users.sock");
    }

    #[test]
    fn the_way_through_pingora_changes_nothing() {
        for address in [
            ResolvedAddress::Ip("10.0.0.1:80".parse().expect("an address")),
            ResolvedAddress::Unix("/run/a.sock".into()),
        ] {
            let backend = address.backend().expect("a backend");
            assert_eq!(ResolvedAddress::from_backend(&backend), Some(address));
        }
        assert!(ResolvedAddress::Unix("x".repeat(200).into()).backend().is_err());
    }

    #[test]
    fn another_port_is_only_for_ip() {
        let ip = ResolvedAddress::Ip("10.0.0.1:80".parse().expect("an address"));
        assert_eq!(ip.with_port(Some(81)).to_string(), "10.0.0.1:81");
        let unix = ResolvedAddress::Unix("/run/a.sock".into());
        assert_eq!(unix.with_port(Some(81)), unix);
    }
}
