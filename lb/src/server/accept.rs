//! Accepting clients on one socket, until it is told to stop, and then what the kernel holds already: those clients were let in before
//! anybody was turned away.
//!
//! The place of a connection comes before the connection: whom there is no room for waits in the kernel's queue.
//!
//! A client that opens a connection for each request pays for every system call that is made here, so there are two: one that accepts, in
//! the state that the connection is to have, and one that looks whether another client waits. Accepting until there is none would save the
//! look, but an accept that finds nobody makes a socket first and throws it away, which costs ten times as much.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::connections::{Connections, Slot};
use super::listeners::{Listener, Socket};

/// After so many connections in a row, those that are accepted get their turn.
const BURST: usize = 64;

/// A client's connection, as it was accepted: it does not block, and has TCP_NODELAY.
pub struct Accepted {
    /// The connection.
    pub stream: TcpStream,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// Where it came in.
    pub listener: Arc<Listener>,
    /// Its place.
    pub slot: Slot,
}

/// Accepts for worker number `worker`, and hands what comes to `serve`.
pub async fn accept(socket: Socket, connections: Arc<Connections>, worker: usize, serve: impl Fn(Accepted)) {
    // Dropped after the descriptor is.
    let Socket {
        socket,
        listener,
        open: _open,
    } = socket;
    #[expect(
        deprecated,
        reason = "the other way is unsafe; a TcpListener's descriptor is open for as long as it lives, which is all that is asked"
    )]
    let socket = match AsyncFd::with_interest(socket, Interest::READABLE) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, address = %listener.local, "cannot watch a listening socket"),
    };
    let mut stop = listener.stopped();
    let mut stop = pin!(stop.wait_for(|stop| *stop));
    let door = Door {
        socket: socket.get_ref(),
        listener: &listener,
        connections: &connections,
        worker,
        serve,
    };
    while let Some(Ok(mut ready)) = unless(stop.as_mut(), socket.readable()).await {
        match unless(stop.as_mut(), door.burst()).await {
            Some(Next::Nobody) => ready.clear_ready(),
            Some(Next::Somebody) => tokio::task::yield_now().await,
            None => break,
        }
    }
    while door.is_waiting() {
        door.one(connections.place(worker).await).await;
    }
}

/// Whether anybody waits to be accepted.
enum Next {
    Nobody,
    Somebody,
}

/// What accepting needs.
struct Door<'a, F> {
    socket: &'a TcpListener,
    listener: &'a Arc<Listener>,
    connections: &'a Arc<Connections>,
    worker: usize,
    serve: F,
}

impl<F: Fn(Accepted)> Door<'_, F> {
    /// Accepts those who wait, up to a number. There is one, as far as is known.
    async fn burst(&self) -> Next {
        for _ in 0..BURST {
            let slot = match self.connections.try_place(self.worker) {
                Some(slot) => slot,
                // Nobody is to make room for a connection that is not there.
                None if !self.is_waiting() => return Next::Nobody,
                None => self.connections.place(self.worker).await,
            };
            self.one(slot).await;
            if !self.is_waiting() {
                return Next::Nobody;
            }
        }
        Next::Somebody
    }

    async fn one(&self, slot: Slot) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accepted = acceptfrom_with(self.socket, flags).map_err(io::Error::from);
        match accepted.and_then(|(stream, peer)| Ok((stream, peer_address(peer)?))) {
            Ok((stream, peer)) => (self.serve)(Accepted {
                stream: stream.into(),
                peer,
                listener: self.listener.clone(),
                slot,
            }),
            Err(error) => {
                drop(slot);
                failed(&error).await;
            }
        }
    }

    /// Readiness as the runtime knows it is from the last time that somebody looked.
    fn is_waiting(&self) -> bool {
        let mut look = [PollFd::new(self.socket, PollFlags::IN)];
        matches!(rustix::event::poll(&mut look, Some(&Timespec::default())), Ok(1..))
    }
}

fn peer_address(peer: Option<rustix::net::SocketAddrAny>) -> io::Result<SocketAddr> {
    let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok(SocketAddr::try_from(peer)?)
}

/// A client that is gone already is nothing; without descriptors or memory a pause lets connections end.
async fn failed(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    if !matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | WouldBlock) {
        tracing::error!(%error, "cannot accept a connection");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What comes, unless the end comes first.
async fn unless<T>(end: Pin<&mut impl Future>, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        _ = end => None,
        value = future => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Mutex;

    use super::*;
    use crate::server::listener::ListenerSpec;
    use crate::server::listeners::Listeners;

    /// One address, and the one worker's socket there.
    async fn listening() -> (Listeners, Socket) {
        let (listeners, mut outboxes) = Listeners::new(1);
        let address = "127.0.0.1:0".parse().unwrap();
        let change = listeners.bind(&[ListenerSpec { address, tls: false }]).unwrap();
        listeners.switch(change).await;
        let socket = outboxes[0].recv().await.unwrap();
        (listeners, socket)
    }

    #[tokio::test]
    async fn more_than_a_burst_at_once_are_all_accepted_as_they_are_to_be() {
        let (listeners, socket) = listening().await;
        let address = socket.listener.local;
        let clients: Vec<_> = (0..BURST * 2 + 3).map(|_| TcpStream::connect(address).unwrap()).collect();
        let accepted = Mutex::new(Vec::new());
        let connections = Connections::new(1000, 1);
        let accepting = accept(socket, connections.clone(), 0, |connection| {
            accepted.lock().unwrap().push(connection)
        });
        let stopping = async {
            while accepted.lock().unwrap().len() < clients.len() {
                tokio::task::yield_now().await;
            }
            listeners.stop().await;
        };
        tokio::join!(accepting, stopping);
        assert_eq!(connections.open(), clients.len());
        for (client, connection) in clients.iter().zip(&*accepted.lock().unwrap()) {
            assert_eq!(connection.peer, client.local_addr().unwrap());
            assert!(connection.stream.nodelay().unwrap());
            let nothing_yet = (&connection.stream).read(&mut [0]).unwrap_err();
            assert_eq!(nothing_yet.kind(), io::ErrorKind::WouldBlock);
        }
        assert!(TcpStream::connect(address).is_err(), "it is closed");
    }

    #[tokio::test]
    async fn whom_the_kernel_let_in_before_the_end_is_accepted() {
        let (listeners, socket) = listening().await;
        let clients: Vec<_> = (0..5).map(|_| TcpStream::connect(socket.listener.local).unwrap()).collect();
        let connections = Connections::new(1000, 1);
        let accepted = Mutex::new(Vec::new());
        let accepting = async {
            // Told to stop before it has begun.
            tokio::task::yield_now().await;
            accept(socket, connections.clone(), 0, |connection| {
                accepted.lock().unwrap().push(connection)
            })
            .await;
        };
        tokio::join!(listeners.stop(), accepting);
        assert_eq!(accepted.lock().unwrap().len(), clients.len());
    }

    #[tokio::test]
    async fn whom_there_is_no_room_for_waits_and_takes_no_place() {
        let (listeners, socket) = listening().await;
        let _clients: Vec<_> = (0..3).map(|_| TcpStream::connect(socket.listener.local).unwrap()).collect();
        let connections = Connections::new(2, 1);
        let accepted = Mutex::new(Vec::new());
        let accepting = accept(socket, connections.clone(), 0, |connection| {
            accepted.lock().unwrap().push(connection)
        });
        let ending = async {
            while accepted.lock().unwrap().len() < 2 {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
            assert_eq!((connections.open(), accepted.lock().unwrap().len()), (2, 2));
            accepted.lock().unwrap().clear();
            listeners.stop().await;
        };
        tokio::join!(accepting, ending);
        assert_eq!(accepted.lock().unwrap().len(), 1);
    }
}
