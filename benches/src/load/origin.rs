//! An origin that lives in the loop of the load. Where latencies are what is measured, an origin in a process of its own would compete with the
//! load for their core, and the scheduler's slices of milliseconds would be all that is seen.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::Timespec;

use crate::origin::answer;
use crate::peers::free_port;

/// Listeners on loopback addresses, and the proxies' connections to them.
pub struct LocalOrigin {
    poll: OwnedFd,
    listeners: Vec<TcpListener>,
    connections: HashMap<u64, TcpStream>,
    next: u64,
    events: Vec<epoll::Event>,
    answer: Vec<u8>,
}

impl LocalOrigin {
    /// Listens on `count` addresses.
    pub fn listen(count: u8) -> anyhow::Result<LocalOrigin> {
        let (poll, port) = (epoll::create(epoll::CreateFlags::CLOEXEC)?, free_port()?);
        let mut listeners = Vec::new();
        for index in 0..count {
            let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 8, 1 + index), port))?;
            listener.set_nonblocking(true)?;
            epoll::add(&poll, &listener, epoll::EventData::new_u64(u64::from(index)), epoll::EventFlags::IN)?;
            listeners.push(listener);
        }
        Ok(LocalOrigin {
            poll,
            listeners,
            connections: HashMap::new(),
            next: u64::from(count),
            events: Vec::with_capacity(256),
            answer: answer(1024),
        })
    }

    /// Where it listens.
    pub fn servers(&self) -> anyhow::Result<Vec<SocketAddrV4>> {
        let mut servers = Vec::new();
        for listener in &self.listeners {
            if let std::net::SocketAddr::V4(address) = listener.local_addr()? {
                servers.push(address);
            }
        }
        Ok(servers)
    }

    /// Answers what has come, without waiting.
    pub fn serve(&mut self) -> anyhow::Result<()> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        epoll::wait(&self.poll, spare_capacity(&mut events), Some(&Timespec::default()))?;
        for event in &events {
            let token = event.data.u64();
            if let Some(listener) = usize::try_from(token).ok().and_then(|index| self.listeners.get(index)) {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                epoll::add(&self.poll, &stream, epoll::EventData::new_u64(self.next), epoll::EventFlags::IN)?;
                self.connections.insert(self.next, stream);
                self.next += 1;
            } else if !self.connections.get_mut(&token).is_none_or(|stream| reply(stream, &self.answer)) {
                self.connections.remove(&token);
            }
        }
        self.events = events;
        Ok(())
    }
}

impl AsFd for LocalOrigin {
    /// Readable when there is something to serve.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

/// Answers one request; proxies send a small one whole, and the next one after the answer. Whether the connection goes on.
fn reply(stream: &mut TcpStream, answer: &[u8]) -> bool {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => false,
        Ok(read) if buffer[..read].ends_with(b"\r\n\r\n") => stream.write_all(answer).is_ok(),
        Ok(_) => false,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}
