//! Listening sockets: one for each address and worker, joined by SO_REUSEPORT, so that the kernel spreads connections over the workers
//! and no worker waits for another one's accept.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel keeps for a listener that is slow to accept. It is cut to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// An address at which clients are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerSpec {
    /// As configured.
    pub address: SocketAddr,
    /// Whether clients speak TLS there.
    pub tls: bool,
}

/// All addresses of a configuration, each once.
pub fn specs(server: &lb_config::Server) -> Vec<ListenerSpec> {
    let plain = server.listen.iter().map(|&address| ListenerSpec { address, tls: false });
    let mut specs: Vec<ListenerSpec> = Vec::new();
    let tls = server.tls.iter().map(|entry| ListenerSpec {
        address: entry.listen,
        tls: true,
    });
    for spec in plain.chain(tls) {
        if specs.iter().all(|other| other.address != spec.address) {
            specs.push(spec);
        }
    }
    specs
}

/// The address of each of [`specs`]; one may come twice.
pub fn addresses(server: &lb_config::Server) -> impl Iterator<Item = SocketAddr> + Clone {
    server.listen.iter().copied().chain(server.tls.iter().map(|entry| entry.listen))
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    pub(super) spec: ListenerSpec,
    pub(super) error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.spec.tls { "server.tls" } else { "server.listen" };
        write!(f, "{key}: cannot listen on {}: {}", self.spec.address, self.error)
    }
}

/// Whether a client that connects to some address could be meant for both.
pub(super) fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && (any || a.ip() == b.ip())
}

/// Whether whoever connects to `narrow` is meant for `wide` too, which has every address of its port and family.
pub(super) fn covers(wide: SocketAddr, narrow: SocketAddr) -> bool {
    wide.port() != 0 && wide.ip().is_unspecified() && !narrow.ip().is_unspecified() && overlap(wide, narrow)
}

/// Binds `address` once for each of `workers`. `beside_ours`: the process itself has sockets that overlap with it, and may.
///
/// # Errors
/// What the system says, for example that the address is in use, also by a process that would share it.
pub(super) fn bind(address: SocketAddr, workers: usize, beside_ours: bool) -> io::Result<Vec<TcpListener>> {
    let address = if beside_ours { address } else { probe(address)? };
    (0..workers)
        .map(|_| {
            let socket = socket(address, true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect()
}

/// SO_REUSEPORT would join the group of whatever else of this user listens there, and take half of its clients. A bind without it fails as
/// a user expects. It also picks the port where the file says 0.
fn probe(address: SocketAddr) -> io::Result<SocketAddr> {
    let probe = socket(address, false)?;
    probe.bind(&address.into())?;
    Ok(probe.local_addr()?.as_socket().unwrap_or(address))
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Writes are gathered by whoever makes them, so the kernel need not hold them back. Linux hands this on to accepted connections.
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        // As nginx does: "[::]" and "0.0.0.0" are two listeners.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_is_refused_although_ports_are_shared() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 2, false).unwrap();
        let taken = first[0].local_addr().unwrap();
        assert_eq!(first[1].local_addr().unwrap(), taken);
        assert_eq!(bind(taken, 1, false).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let error = bind(taken, 1, false).unwrap_err();
        let spec = ListenerSpec {
            address: taken,
            tls: false,
        };
        let text = BindError { spec, error }.to_string();
        assert!(
            text.starts_with(&format!("server.listen: cannot listen on {taken}: Address already in use")),
            "{text}"
        );
    }

    #[test]
    fn an_address_may_stand_beside_one_of_ours_that_has_it_too() {
        let all = bind("0.0.0.0:0".parse().unwrap(), 1, false).unwrap();
        let one = SocketAddr::from(([127, 0, 0, 1], all[0].local_addr().unwrap().port()));
        assert!(bind(one, 1, false).is_err());
        bind(one, 1, true).unwrap();
    }

    #[test]
    fn what_overlaps_has_a_port_and_a_family_in_common() {
        let overlap = |a: &str, b: &str| overlap(a.parse().unwrap(), b.parse().unwrap());
        assert!(overlap("127.0.0.1:80", "127.0.0.1:80"));
        assert!(overlap("0.0.0.0:80", "127.0.0.1:80") && overlap("[::1]:80", "[::]:80"));
        assert!(!overlap("0.0.0.0:80", "127.0.0.1:81"));
        assert!(!overlap("0.0.0.0:80", "[::1]:80"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.2:80"));
    }

    #[test]
    fn what_covers_has_every_address() {
        let covers = |a: &str, b: &str| covers(a.parse().unwrap(), b.parse().unwrap());
        assert!(covers("0.0.0.0:80", "127.0.0.1:80") && covers("[::]:80", "[::1]:80"));
        assert!(!covers("127.0.0.1:80", "0.0.0.0:80") && !covers("0.0.0.0:80", "0.0.0.0:80"));
        assert!(!covers("0.0.0.0:0", "127.0.0.1:0"), "the system picks another port for each");
    }

    #[test]
    fn accepted_connections_inherit_no_delay() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), 1, false).unwrap().remove(0);
        listener.set_nonblocking(false).unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
        assert!(!client.nodelay().unwrap(), "it is not the system's default");
    }
}
